package transport

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
)

// numbered returns count packets back to back, each of size bytes but the last, which has rest. The first
// bytes of each are its number, from first on.
func numbered(first, count, size, rest int) []byte {
	packets := make([]byte, 0, count*size)
	for i := range count {
		n := size
		if i == count-1 {
			n = rest
		}
		packet := bytes.Repeat([]byte{byte(first + i)}, n)
		binary.BigEndian.PutUint32(packet, uint32(first+i))
		packets = append(packets, packet...)
	}
	return packets
}

// expect reads what numbered returned, packet by packet and in order.
func (h *host) expect(packets []byte, size int) {
	h.t.Helper()
	_ = h.conn.SetReadDeadline(time.Now().Add(transporttest.Patience))
	buf := make([]byte, 1<<16)
	for i := 0; len(packets) > 0; i++ {
		n, err := h.conn.Read(buf)
		if err != nil {
			h.t.Fatalf("packet %d did not come: %v", i, err)
		}
		want := packets[:min(size, len(packets))]
		if !bytes.Equal(buf[:n], want) {
			h.t.Fatalf("packet %d has %d bytes, %x...; want %d, %x...", i, n, buf[:min(n, 8)], len(want), want[:min(len(want), 8)])
		}
		packets = packets[len(want):]
	}
}

// reached is a connection whose path leads to a host.
func reached(t *testing.T, s *Server, server netip.AddrPort) (*Conn, *host) {
	t.Helper()
	c, _ := waiting(t, s)
	h := newHostOf(t, server)
	h.check(c.ice.current, useCandidate())
	return c, h
}

// Whatever the families and sizes, the client gets the same packets in the same order.
func TestBatch(t *testing.T) {
	for _, tc := range []struct{ name, listen, client string }{
		{"IPv4", "127.0.0.1:0", "127.0.0.1"},
		{"IPv6", "[::1]:0", "::1"},
		{"IPv4 through a socket of both", "[::]:0", "127.0.0.1"},
		{"IPv6 through a socket of both", "[::]:0", "::1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.name != "IPv4" {
				needIPv6(t)
			}
			s := newServerOn(t, Config{Listen: netip.MustParseAddrPort(tc.listen), Sockets: 1})
			c, h := reached(t, s, netip.AddrPortFrom(netip.MustParseAddr(tc.client), s.Addr().Port()))
			b := s.NewBatch(0)
			sent := uint64(0)
			for _, run := range []struct{ count, size, rest int }{
				{1, 120, 120},
				{1, 120, 7}, // shorter than a segment
				{3, 120, 120},
				{3, 120, 50},
				{maxSegments, 20, 20},
				{2*maxSegments + 5, 20, 9},
				{60, 1200, 1200}, // more bytes than one run may have
			} {
				packets := numbered(int(sent), run.count, run.size, run.rest)
				c.Queue(b, packets, run.size)
				b.Flush()
				h.expect(packets, run.size)
				sent += uint64(run.count)
			}
			if n := s.counters.Sent.Load(); n != sent {
				t.Errorf("%d packets are counted, %d were sent", n, sent)
			}
			if n := s.counters.SendDropped.Load() + s.counters.SendFailed.Load() + s.counters.RunsRefused.Load(); n != 0 {
				t.Errorf("%d failures are counted", n)
			}
		})
	}
}

// Many clients share a batch, and a full one sends itself.
func TestBatchOfManyClients(t *testing.T) {
	s := newServer(t)
	const clients = 3
	conns, hosts := make([]*Conn, clients), make([]*host, clients)
	for i := range clients {
		conns[i], hosts[i] = reached(t, s, s.Addr())
	}
	b := s.NewBatch(1)
	arena := numbered(0, 4*clients*50, 60, 60)
	rest := arena
	took := make([][]byte, clients)
	for round := range 50 {
		for i, c := range conns {
			n := 60 * (1 + (round+i)%4) // one to four packets
			c.Queue(b, rest[:n], 60)
			took[i] = append(took[i], rest[:n]...)
			rest = rest[n:]
		}
	}
	b.Flush()
	for i, h := range hosts {
		h.expect(took[i], 60)
	}
}

// What is queued for nobody goes nowhere, and harms nobody else.
func TestBatchSkips(t *testing.T) {
	s := newServer(t)
	var zero Batch
	lost, _ := waiting(t, s) // no path yet
	gone, h1 := reached(t, s, s.Addr())
	stays, h2 := reached(t, s, s.Addr())
	packets := numbered(0, 3, 100, 100)
	stays.Queue(&zero, packets, 100)
	zero.Flush()

	b := s.NewBatch(0)
	lost.Queue(b, packets, 100)
	gone.Close(ErrLost)
	gone.Queue(b, packets, 100)
	stays.Queue(b, nil, 100)
	stays.Queue(b, packets, 100)
	b.Flush()
	b.Flush() // of nothing
	h2.expect(packets, 100)
	if n := s.counters.Sent.Load(); n != 3 {
		t.Errorf("%d packets were sent, want 3", n)
	}
	if err := s.sockets[0].write(h1.addr, []byte("marker")); err != nil {
		t.Fatal(err)
	}
	h1.expect([]byte("marker"), 100)
	if lost.Runs() {
		t.Error("runs for a client whose path is not known")
	}
}

// A client on TCP gets every packet in a frame of its own.
func TestBatchTCP(t *testing.T) {
	s := newServer(t)
	c, _ := waiting(t, s)
	conn := dialTCP(t, s)
	if _, err := conn.Write(frameOf(request(c.ice.current, c.ice.current.pwd, useCandidate()))); err != nil {
		t.Fatal(err)
	}
	in, buf := bufio.NewReader(conn), make([]byte, maxDatagram)
	if _, err := readFrame(in, buf); err != nil {
		t.Fatalf("no response: %v", err)
	}
	b := s.NewBatch(0)
	packets := numbered(0, 3, 100, 40)
	c.Queue(b, packets, 100)
	b.Flush()
	_ = conn.SetReadDeadline(time.Now().Add(transporttest.Patience))
	for _, want := range [][]byte{packets[:100], packets[100:200], packets[200:]} {
		if frame, err := readFrame(in, buf); err != nil || !bytes.Equal(frame, want) {
			t.Fatalf("frame of %d bytes, %v; want %d", len(frame), err, len(want))
		}
	}
	if c.Runs() || s.counters.Sent.Load() != 3 {
		t.Errorf("runs: %v; %d packets counted", c.Runs(), s.counters.Sent.Load())
	}
}

func TestBatchAllocates(t *testing.T) {
	s := newServer(t)
	c, _ := reached(t, s, s.Addr())
	b := s.NewBatch(0)
	packets := numbered(0, 3, 120, 120)
	if n := testing.AllocsPerRun(100, func() {
		for range 3 {
			c.Queue(b, packets, 120)
		}
		b.Flush()
	}); n != 0 {
		t.Errorf("%v allocations for each batch", n)
	}
}

// After the sockets are closed nothing leaves, and nothing breaks.
func TestBatchAfterClose(t *testing.T) {
	s := newServer(t)
	c, _ := reached(t, s, s.Addr())
	b := s.NewBatch(0)
	c.Queue(b, numbered(0, 3, 100, 100), 100)
	s.Close()
	b.Flush()
	if n := s.counters.SendFailed.Load(); n < 3 {
		t.Errorf("%d packets failed, want 3", n)
	}
}
