package egress

import (
	"fmt"
	"time"

	"voiceroom.dev/voiceroom/media/transport"
)

// maxPayload is the largest Opus payload that is forwarded, in bytes. It leaves room for our headers
// and tag on a path of 1280 bytes, the least that IPv6 allows.
const maxPayload = 1200

// Link is what a Listener needs of its client's connection. *transport.Conn is one, from
// Handler.Connected on.
type Link interface {
	Slots() []transport.Slot
	SendKeys() (transport.Keys, error)
	WriteRTP(packet []byte) error
	SetReporter(r transport.Reporter)
}

// Listener sends the packets of a room to one client. See the package's documentation for who may
// call it.
type Listener struct {
	link   Link
	sealer sealer
	slots  []slot
	buf    [headerSize + maxPayload + maxOverhead]byte
}

// New starts sending to a connected client: it takes the keys of link and becomes its reporter. One
// connection has one Listener ever: two would seal with the same keys.
func New(link Link) (*Listener, error) {
	keys, err := link.SendKeys()
	if err != nil {
		return nil, fmt.Errorf("take the keys of a listener: %w", err)
	}
	s, err := newSealer(keys)
	if err != nil {
		return nil, err
	}
	slots := link.Slots()
	l := &Listener{link: link, sealer: s, slots: make([]slot, len(slots))}
	for i := range l.slots {
		l.slots[i].init(slots[i])
	}
	link.SetReporter(l)
	return l, nil
}

// Len is the number of slots.
func (l *Listener) Len() int { return len(l.slots) }

// Forward sends p, of the talker with that member index, on a slot. The first packet of another
// talker than before is a switch: it continues the sequence, advances the timestamp by the time that
// passed and sets the marker. A packet from before the switch, a duplicate and one that comes too late
// are dropped. The error is that of the connection: transport.ErrWouldBlock means that this packet was
// dropped, transport.ErrClosed that there is nobody to send to.
func (l *Listener) Forward(index int, member uint32, p *transport.Packet) error {
	if len(p.Payload) > maxPayload {
		return nil
	}
	s := &l.slots[index]
	at, marker, ok := s.place(member, p)
	if !ok {
		return nil
	}
	h := header{marker: marker, csrc: member, hasCSRC: true}
	if p.HasLevel {
		h.level, h.hasLevel = levelByte(p.Level, p.Voice), true
	}
	return l.send(s, at, h, p.Payload)
}

// Silence ends what a slot plays: three Opus frames of silence, without a CSRC, keep the client's
// decoder from concealing the gap. It does nothing on a slot that is silent already.
func (l *Listener) Silence(index int, now time.Time) error {
	s := &l.slots[index]
	if !s.live {
		return nil
	}
	var failed error
	for range silenceFrames {
		at := s.pause(now)
		h := header{level: levelByte(127, false), hasLevel: true}
		if err := l.send(s, at, h, opusSilence[:]); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

// Resend sends packets of a slot again, byte for byte, as far as they are still there. Each is sent
// again a few times at most. Only clients that negotiated NACK have anything kept for them.
func (l *Listener) Resend(index int, seqs []uint16) error {
	ring := l.slots[index].ring
	if ring == nil {
		return nil
	}
	for _, seq := range seqs {
		if packet := ring.take(seq); packet != nil {
			if err := l.link.WriteRTP(packet); err != nil {
				return err
			}
		}
	}
	return nil
}

// Purge makes the packets of a slot impossible to send again, as the loss of a mic must.
func (l *Listener) Purge(index int) {
	if ring := l.slots[index].ring; ring != nil {
		ring.clear()
	}
}

// SenderInfo implements transport.Reporter. It may be called from any goroutine.
func (l *Listener) SenderInfo(index int, now time.Time) (transport.SenderInfo, bool) {
	return l.slots[index].senderInfo(now)
}

// send builds, seals, keeps and sends one packet.
func (l *Listener) send(s *slot, at position, h header, payload []byte) error {
	packet := h.append(l.buf[:0], &s.Slot, at)
	head := len(packet)
	packet = append(packet, payload...)
	packet = l.sealer.seal(packet, head, s.SSRC, at.index)
	s.sent(len(payload))
	if s.NACK {
		s.keep(uint16(at.index), packet)
	}
	return l.link.WriteRTP(packet)
}
