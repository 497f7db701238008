//go:build linux

package client

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtp"
)

const (
	// SampleEvery is how many packets come to one whose latency is looked at.
	SampleEvery = 32
	// maxSamples bounds the latencies that nobody has taken yet.
	maxSamples = 1 << 16
	// stampOffset is where in a frame its time lies: after the byte that says what frame it is.
	stampOffset, stampSize = 1, 8
	// sane is the longest latency that is one: whatever says more is no time stamp.
	sane = 10 * time.Second
)

// Counts are what a client received.
type Counts struct {
	Packets  uint64 // of RTP, of all streams
	Expected uint64 // as many as their numbers say that there were
	Bytes    uint64 // of RTP
	Strange  uint64 // packets of no stream that was announced
	Messages uint64 // on the data channel
}

// Add adds d to a.
func (a *Counts) Add(d Counts) {
	a.Packets += d.Packets
	a.Expected += d.Expected
	a.Bytes += d.Bytes
	a.Strange += d.Strange
	a.Messages += d.Messages
}

// Since is what a has more than before.
func (a Counts) Since(before Counts) Counts {
	return Counts{a.Packets - before.Packets, a.Expected - before.Expected, a.Bytes - before.Bytes, a.Strange - before.Strange, a.Messages - before.Messages}
}

// Lost is the share of packets that did not come, 0 to 1.
func (a Counts) Lost() float64 {
	if a.Expected <= a.Packets {
		return 0
	}
	return float64(a.Expected-a.Packets) / float64(a.Expected)
}

// stream is what came of one SSRC.
type stream struct {
	ssrc     uint32
	started  bool
	first    uint32 // sequence number, extended by the times that it wrapped
	highest  uint32
	received uint64

	// For reports.
	reported  struct{ expected, received uint64 }
	senderNTP uint32 // the middle bits of the last sender report
	senderAt  time.Time
}

func (s *stream) expected() uint64 {
	if !s.started {
		return 0
	}
	return uint64(s.highest-s.first) + 1
}

func (s *stream) note(sequence uint16) {
	s.received++
	if !s.started {
		s.started, s.first, s.highest = true, 1<<16|uint32(sequence), 1<<16|uint32(sequence)
		return
	}
	if ahead := int16(sequence - uint16(s.highest)); ahead > 0 {
		s.highest += uint32(ahead)
	}
}

// Counts are what came since the client was made.
func (c *Client) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counts
	for _, s := range c.streams {
		n.Packets += s.received
		n.Expected += s.expected()
	}
	return n
}

// Latencies are those of the sampled packets, which are forgotten here: from when Send stamped a frame
// until the kernel had the packet for this client.
func (c *Client) Latencies() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.samples
	c.samples = nil
	return taken
}

// Next returns a channel that gets the time at which the next packet of RTP arrives. It takes the place of
// one that was returned before and has got nothing yet.
func (c *Client) Next() <-chan time.Time {
	next := make(chan time.Time, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = next
	return next
}

// media counts a packet of RTP, or takes a report. It is called with c.mu held.
func (c *Client) media(b []byte, at time.Time) {
	if b[1] >= 192 && b[1] <= 223 { // RFC 5761, section 4
		c.heedReport(b, at)
		return
	}
	c.counts.Bytes += uint64(len(b))
	s := c.streamOf(binary.BigEndian.Uint32(b[8:]))
	if s == nil {
		c.counts.Strange++
		return
	}
	s.note(binary.BigEndian.Uint16(b[2:]))
	if c.next != nil {
		c.next <- at
		c.next = nil
	}
	if c.open != nil && s.received%SampleEvery == 0 && len(c.samples) < maxSamples {
		c.sample(b, at)
	}
}

func (c *Client) streamOf(ssrc uint32) *stream {
	for _, s := range c.streams {
		if s.ssrc == ssrc {
			return s
		}
	}
	return nil
}

// sample notes how long a packet was on its way, if it says when it left.
func (c *Client) sample(b []byte, at time.Time) {
	var header rtp.Header
	n, err := header.Unmarshal(b)
	if err != nil {
		return
	}
	if c.plain, err = c.open.DecryptRTP(c.plain[:0], b, &header); err != nil || len(c.plain) < n+stampOffset+stampSize {
		return
	}
	left := time.Unix(0, int64(binary.BigEndian.Uint64(c.plain[n+stampOffset:])))
	if took := at.Sub(left); took > 0 && took < sane {
		c.samples = append(c.samples, took)
	}
}

// stamped is a copy of a frame that says when it left.
func stamped(frame []byte, now time.Time) []byte {
	b := append([]byte(nil), frame...)
	binary.BigEndian.PutUint64(b[stampOffset:stampOffset+stampSize], uint64(now.UnixNano()))
	return b
}

// message counts a message of the data channel.
func (c *Client) message(int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Messages++
}
