package transport

import "errors"

const (
	// maxSegments and maxRun bound a run: what every kernel with UDP_SEGMENT takes, and the largest
	// payload of an IPv4 datagram, as which a run passes through it.
	maxSegments = 64
	maxRun      = 65_507
	// maxRefusals is how many runs in a row the kernel may refuse before no more are sent. One client
	// with an odd route must not decide for all.
	maxRefusals = 16
)

// Batch gathers RTP packets for many connections and hands them to the kernel with few system calls.
// It is used by one goroutine at a time, takes no lock, allocates nothing and never waits: what a
// socket has no room for is dropped, and counted. The zero value drops everything. A Batch must not be
// copied.
//
// What is queued reaches the network by the next Flush, even if its connection is closed in
// between: whoever must send nothing after a certain moment flushes before it.
type Batch struct {
	server *Server
	socket *udpSocket
	tally  tally
	messages
}

// tally is what a Batch has done since its counts were last added to those of the Server.
type tally struct{ sent, runs, calls, refused, dropped, failed uint64 }

// NewBatch returns an empty Batch, which sends through the socket with that number, modulo
// Server.Sockets. Clients cannot tell the sockets apart: any may serve each of them.
func (s *Server) NewBatch(socket int) *Batch {
	b := &Batch{server: s, socket: s.sockets[socket%len(s.sockets)]}
	b.init(b)
	return b
}

// Queue queues packets for the client, sealed and back to back, each of segment bytes but the last,
// which may be shorter. They must not change until Flush. To a client on TCP they are written at once.
// A connection without a path yet, or that has ended, is skipped.
func (c *Conn) Queue(b *Batch, packets []byte, segment int) {
	p := c.ice.path.Load()
	if b.socket == nil || p == nil || c.closed.Load() {
		return
	}
	most := segment
	if p.tcp == nil && b.server.segmenting() {
		most *= max(1, min(maxSegments, maxRun/segment))
	}
	for len(packets) > 0 {
		n := min(most, len(packets))
		if p.tcp != nil {
			b.count(p.tcp.write(packets[:n]))
		} else {
			b.add(p.addr, packets[:n], segment)
		}
		packets = packets[n:]
	}
}

// Runs reports whether equal segments save anything: the client is on UDP, and the kernel cuts runs
// (UDP generic segmentation offload). It may change with the path.
func (c *Conn) Runs() bool {
	p := c.ice.path.Load()
	return p != nil && p.tcp == nil && c.server.segmenting()
}

// Flush sends what is queued.
func (b *Batch) Flush() {
	if b.socket == nil {
		return
	}
	b.send()
	t, c := &b.tally, &b.server.counters
	c.Sent.Add(t.sent)
	c.SentRuns.Add(t.runs)
	c.SendCalls.Add(t.calls)
	c.RunsRefused.Add(t.refused)
	c.SendDropped.Add(t.dropped)
	c.SendFailed.Add(t.failed)
	*t = tally{}
}

// count counts one packet that was written by itself.
func (b *Batch) count(err error) {
	switch {
	case err == nil:
		b.tally.sent++
	case errors.Is(err, ErrWouldBlock):
		b.tally.dropped++
	default:
		b.tally.failed++
	}
}
