package transport

import (
	"sync"
	"time"

	"github.com/pion/srtp/v3"
)

const (
	// maxSources bounds the SSRCs a client may send media from in its life: SRTP keeps state for each.
	maxSources = 4
	// maxReporters bounds those it may send RTCP from: some clients use one for each m-line.
	maxReporters = 2*MaxSlots + maxSources
)

// receiver unprotects and sorts what a client sends. A client may be heard on several flows and so
// by several reading goroutines, hence the mutex; it is free in all but the moment of a move.
type receiver struct {
	mu        sync.Mutex
	ctx       *srtp.Context
	on        bool // from after Handler.Connected until before Handler.Closed
	uplink    bool
	pt        uint8 // of Opus
	red       uint8 // of RED, 0: not negotiated
	levelExt  uint8
	sources   sourceSet
	reporters sourceSet
	handed    handed

	// Its own mutex, for mu is held while the handler is called: Stats may be called under a lock
	// that the handler takes.
	statsMu sync.Mutex
	stats   uplinkStats
}

func (r *receiver) init(o *Offer) {
	r.sources.limit, r.reporters.limit = maxSources, maxReporters
	for i := range o.media {
		if m := &o.media[i]; m.uplink {
			r.uplink, r.pt, r.red, r.levelExt = true, m.pt, m.red, m.levelExt
		}
	}
}

func (r *receiver) setContext(ctx *srtp.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ctx = ctx
}

func (r *receiver) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = true
}

// stop waits for a running RTP or NACK callback, and lets no other begin.
func (r *receiver) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = false
}

// sourceSet is a small set of SSRCs that authenticated.
type sourceSet struct {
	limit int
	known []uint32
}

func (s *sourceSet) has(ssrc uint32) bool {
	for _, k := range s.known {
		if k == ssrc {
			return true
		}
	}
	return false
}

// admits reports whether ssrc is known or could still become so.
func (s *sourceSet) admits(ssrc uint32) bool { return len(s.known) < s.limit || s.has(ssrc) }

func (s *sourceSet) add(ssrc uint32) {
	if !s.has(ssrc) {
		s.known = append(s.known, ssrc)
	}
}

// receive handles one SRTP or SRTCP packet of c.
func (rd *reader) receive(c *Conn, b []byte, now time.Time) {
	r, counters := &c.recv, &rd.server.counters
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.on:
		counters.DroppedEarly.Add(1)
	case len(b) < rtcpHead+4:
		counters.DroppedMalformed.Add(1)
	case b[1] >= 192 && b[1] <= 223: // RFC 5761, section 4
		rd.receiveRTCP(c, b, now)
	default:
		rd.receiveRTP(c, b, now)
	}
}

// takes reports whether the client may send a payload type.
func (r *receiver) takes(pt uint8) bool {
	return r.uplink && (pt == r.pt || pt == r.red && r.red != 0)
}

// receiveRTP is called with c.recv.mu held.
func (rd *reader) receiveRTP(c *Conn, b []byte, now time.Time) {
	r, h, counters := &c.recv, &rd.header, &rd.server.counters
	head, err := h.Unmarshal(b)
	if err != nil {
		counters.DroppedMalformed.Add(1)
		return
	}
	if !r.takes(h.PayloadType) || !r.sources.admits(h.SSRC) {
		counters.DroppedUnexpected.Add(1)
		return
	}
	plain, err := r.ctx.DecryptRTP(rd.plain[:0], b, h)
	if err != nil {
		counters.SRTPAuthFailed.Add(1)
		return
	}
	r.sources.add(h.SSRC)
	r.statsMu.Lock()
	r.stats.add(h.SSRC, h.SequenceNumber, h.Timestamp, now)
	r.statsMu.Unlock()

	payload, ok := unpad(plain[head:], h.Padding)
	if !ok {
		counters.DroppedMalformed.Add(1)
		return
	}
	if len(payload) == 0 { // padding only: a probe or a keep-alive
		return
	}
	p := &rd.packet
	*p = Packet{
		SSRC: h.SSRC, Sequence: h.SequenceNumber, Timestamp: h.Timestamp, Marker: h.Marker,
		Payload: payload, Size: len(b), Arrival: now,
	}
	if r.levelExt != 0 {
		if level := h.GetExtension(r.levelExt); len(level) == 1 {
			p.HasLevel, p.Voice, p.Level = true, level[0]&0x80 != 0, level[0]&0x7f
		}
	}
	if h.PayloadType != r.pt {
		rd.unwrap(c)
	} else if r.handed.take(p) {
		c.handler.RTP(p)
	}
}

// unpad removes RTP padding (RFC 3550, section 5.1); it is false when the padding is impossible.
func unpad(payload []byte, padded bool) ([]byte, bool) {
	if !padded {
		return payload, true
	}
	if len(payload) == 0 {
		return nil, false
	}
	n := int(payload[len(payload)-1])
	if n == 0 || n > len(payload) {
		return nil, false
	}
	return payload[:len(payload)-n], true
}
