package egress

import (
	"fmt"
	"time"

	"voiceroom.dev/voiceroom/media/transport"
)

// Link is what a Listener needs of its client's connection. *transport.Conn is one, from
// Handler.Connected on.
type Link interface {
	Slots() []transport.Slot
	SendKeys() (transport.Keys, error)
	SetReporter(r transport.Reporter)
	// Runs reports whether packets of equal length cost less together.
	Runs() bool
	// Queue queues packets that lie back to back, each of segment bytes but the last, which may be
	// shorter. They do not change until the batch is flushed.
	Queue(b *transport.Batch, packets []byte, segment int)
}

// Listener sends what is said in a room to one client. See the package's documentation for who may
// call it.
type Listener struct {
	link       Link
	sealer     sealer
	redundancy int
	slots      []slot
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

// SetRedundancy makes each packet carry that many frames from before it too (RFC 2198), at most 2,
// where the client negotiated it: for one that loses packets.
func (l *Listener) SetRedundancy(frames int) { l.redundancy = min(frames, maxRedundancy) }

// Hear makes a slot play a log, from its next packet on; nil is nothing. What the slot played before
// ends at now, in silence, as Silence does it; nothing of it is sent any more, whether it was due or
// is asked for again.
func (l *Listener) Hear(index int, log *Log, now time.Time) {
	s := &l.slots[index]
	if s.log == log {
		return
	}
	l.Silence(index, now)
	if s.ring != nil {
		s.ring.clear()
	}
	if s.log = log; log != nil {
		s.next = log.head
	}
}

// Silence ends the sound of a slot at now, until there is more: three Opus frames of silence, of
// nobody, keep the client's decoder from concealing the gap. They are due from here on. It does
// nothing on a slot that is silent already.
func (l *Listener) Silence(index int, now time.Time) {
	if s := &l.slots[index]; s.live && s.owed == 0 {
		s.owed, s.ended = silenceFrames, now
	}
}

// Skip makes what a slot has not sent yet impossible to be sent, and what it has, to be sent again.
func (l *Listener) Skip(index int) {
	s := &l.slots[index]
	if s.log != nil {
		s.next = s.log.head
	}
	if s.ring != nil {
		s.ring.clear()
	}
}

// Serve puts into o what is due on all slots. The first packet of another log than before is a switch:
// it continues the sequence, advances the timestamp by the time that passed and sets the marker. A
// packet from before the switch, a duplicate and one that comes too late are left out.
func (l *Listener) Serve(o *Outbox) {
	due := o.due[:0]
	for i := range l.slots {
		s := &l.slots[i]
		for s.due() {
			if len(due) == cap(due) {
				l.send(o, due)
				due = due[:0]
			}
			if p := &due[:len(due)+1][len(due)]; s.take(o, p, l.redundancy) {
				due = due[:len(due)+1]
			}
		}
	}
	l.send(o, due)
}

// send builds packets and queues them in runs.
func (l *Listener) send(o *Outbox, due []packet) {
	runs := l.link.Runs()
	for len(due) > 0 {
		n := 1
		if runs {
			n = run(due)
		}
		l.sendRun(o, due[:n])
		due = due[n:]
	}
}

// sendRun builds packets that are as long as the longest of them; the last one need not be.
func (l *Listener) sendRun(o *Outbox, run []packet) {
	size := 0
	for i := range run {
		size = max(size, run[i].size)
	}
	o.room(len(run) * (size + maxOverhead))
	from, segment := len(o.arena), 0
	for i := range run {
		padding := size - run[i].size
		if i == len(run)-1 {
			padding = 0
		}
		n := l.build(o, &run[i], padding)
		segment = max(segment, n)
	}
	l.link.Queue(o.batch, o.arena[from:], segment)
}

// build builds, seals and keeps one packet. It returns its length.
func (l *Listener) build(o *Outbox, p *packet, padding int) int {
	from, s := len(o.arena), p.slot
	b, head := p.append(o.arena, padding)
	sealed := l.sealer.seal(b[from:], head, s.SSRC, p.at.index)
	o.arena = b[:from+len(sealed)]
	s.sent(len(p.payload))
	if s.NACK {
		s.keep(uint16(p.at.index), sealed)
	}
	return len(sealed)
}

// Resend sends packets of a slot again, byte for byte, as far as they are still there. Each is sent
// again a few times at most. Only clients that negotiated NACK have anything kept for them.
func (l *Listener) Resend(o *Outbox, index int, seqs []uint16) {
	ring := l.slots[index].ring
	if ring == nil {
		return
	}
	for _, seq := range seqs {
		if packet := ring.take(seq); packet != nil {
			o.room(len(packet))
			from := len(o.arena)
			o.arena = append(o.arena, packet...)
			l.link.Queue(o.batch, o.arena[from:], len(packet))
		}
	}
}

// SenderInfo implements transport.Reporter. It may be called from any goroutine.
func (l *Listener) SenderInfo(index int, now time.Time) (transport.SenderInfo, bool) {
	return l.slots[index].senderInfo(now)
}
