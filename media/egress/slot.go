package egress

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
	"time"

	"voiceroom.dev/voiceroom/media/transport"
)

const (
	clockRate     = 48_000 // of Opus over RTP (RFC 7587, section 4.1)
	frame         = 960    // 20 ms
	frameTime     = 20 * time.Millisecond
	silenceFrames = 3

	// window is how late a packet may come, in packets, and still be sent.
	window = 64
	// MaxAhead is how far a talker's sequence may jump ahead; beyond, nothing of the gap can be had any
	// more, and it is taken for a new stream. A listener loses a slot for good when 2^15 numbers pass in
	// which nothing reached it, for it guesses the rollover counter (RFC 3711, section 3.3.1): the
	// fewer of them a packet can take, the longer that lasts; who forwards bounds the packets.
	MaxAhead = ringSize
	// maxBehind is how far the sequence may fall back before that is a new stream too.
	maxBehind = 1000
	// maxDrift is how far a talker's timestamp may run from the clock, for the same reason.
	maxDrift = 10 * time.Second
)

// position is where a packet lies in the stream of a slot.
type position struct {
	index     uint64 // sequence number, extended by the rollover counter
	timestamp uint32
}

// slot is the stream that one slot plays: it never breaks, whoever is heard on it.
type slot struct {
	log  *Log   // what it plays; nil: nothing
	next uint32 // the log's first packet that was not sent
	owed int    // frames of silence that are to be sent before it

	transport.Slot
	ring *ring // nil until something is kept

	last position  // the newest packet
	at   time.Time // when it was due
	seen uint64    // bit i: index last.index-i was sent
	used bool      // something was sent

	// The talker. Offsets take its numbers to ours, modulo 2^16 and 2^32.
	live      bool
	ended     time.Time // when the silence that is owed began
	ssrc      uint32
	sequence  uint16 // of the packet that is last
	timestamp uint32 // offset
	floor     uint64 // index of its first packet

	// Read by the report ticker.
	packets, octets atomic.Uint32
	clock           atomic.Uint32 // media clock less clockRate times the time since started
	started         time.Time
}

// init draws where the stream starts. Sequence numbers start in the lower half, so that the first
// packets cannot be lost across a rollover (RFC 3711, section 3.3.1).
func (s *slot) init(of transport.Slot) {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	s.Slot = of
	s.last.index = uint64(binary.BigEndian.Uint16(b[:]) >> 1)
	s.last.timestamp = binary.BigEndian.Uint32(b[2:])
	s.started = time.Now()
}

// due reports whether something is to be sent.
func (s *slot) due() bool { return s.owed > 0 || s.log != nil && s.next != s.log.head }

// take makes p the next packet that is due. It is false when that must not be sent.
func (s *slot) take(o *Outbox, p *packet, redundancy int) bool {
	if s.owed > 0 {
		s.owed--
		p.silence(s, s.pause(s.ended))
		return true
	}
	if behind := s.log.head - s.next; behind > logSize {
		o.late += uint64(behind - logSize)
		s.next = s.log.head - logSize
	}
	n := s.next
	s.next++
	at, marker, ok := s.place(&s.log.at(n).Packet)
	if ok {
		p.sound(s, n, at, marker, redundancy)
	}
	return ok
}

// place finds the position of a talker's packet, and whether it begins a stretch of sound. It is
// false when the packet must not be sent.
func (s *slot) place(p *transport.Packet) (at position, marker, ok bool) {
	ahead := int16(p.Sequence - s.sequence)
	switch {
	case !s.continues(p, ahead):
		return s.begin(p), true, true
	case ahead > 0:
		s.advance(position{s.last.index + uint64(ahead), p.Timestamp + s.timestamp}, p.Arrival)
		s.sequence = p.Sequence
		return s.last, p.Marker, true
	}
	late := uint64(-int(ahead))
	if late >= window || s.last.index < s.floor+late || s.seen>>late&1 != 0 {
		return position{}, false, false
	}
	s.seen |= 1 << late
	return position{s.last.index - late, p.Timestamp + s.timestamp}, p.Marker, true
}

// continues reports whether p goes on with the stream that the slot plays.
func (s *slot) continues(p *transport.Packet, ahead int16) bool {
	if !s.live || p.SSRC != s.ssrc || ahead > MaxAhead || ahead < -maxBehind {
		return false
	}
	if ahead <= 0 {
		return true
	}
	step := int32(p.Timestamp + s.timestamp - s.last.timestamp)
	drift := time.Duration(step)*time.Second/clockRate - p.Arrival.Sub(s.at)
	return step >= 0 && drift < maxDrift
}

// begin makes p the first packet of a talker: next in the sequence, and later by the time that passed.
func (s *slot) begin(p *transport.Packet) position {
	next := position{s.last.index, s.last.timestamp}
	if s.used {
		next.index++
		next.timestamp += samples(max(p.Arrival.Sub(s.at), frameTime))
	}
	s.live, s.ssrc = true, p.SSRC
	s.sequence, s.timestamp, s.floor = p.Sequence, next.timestamp-p.Timestamp, next.index
	s.advance(next, p.Arrival)
	return next
}

// pause places one frame of silence after the last packet, and ends the talker.
func (s *slot) pause(now time.Time) position {
	next := position{s.last.index + 1, s.last.timestamp + frame}
	due := s.at.Add(frameTime)
	if s.live { // the first frame catches up with the clock
		late := max(now.Sub(due), 0)
		next.timestamp += samples(late)
		due = due.Add(late)
	}
	s.live = false
	s.advance(next, due)
	return next
}

func (s *slot) advance(to position, at time.Time) {
	if step := to.index - s.last.index; step < window {
		s.seen <<= step
	} else {
		s.seen = 0
	}
	s.seen |= 1
	s.last, s.at, s.used = to, at, true
	s.clock.Store(to.timestamp - samples(at.Sub(s.started)))
}

// samples is d in ticks of the media clock, modulo 2^32.
func samples(d time.Duration) uint32 { return uint32(d.Microseconds() * (clockRate / 1000) / 1000) }

func (s *slot) sent(payload int) {
	s.packets.Add(1)
	s.octets.Add(uint32(payload))
}

func (s *slot) senderInfo(now time.Time) (transport.SenderInfo, bool) {
	info := transport.SenderInfo{
		Packets: s.packets.Load(),
		Octets:  s.octets.Load(),
		RTPTime: s.clock.Load() + samples(now.Sub(s.started)),
	}
	return info, info.Packets > 0
}

func (s *slot) keep(seq uint16, packet []byte) {
	if s.ring == nil {
		s.ring = &ring{}
	}
	s.ring.put(seq, packet)
}
