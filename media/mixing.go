package media

import (
	"time"

	"voiceroom.dev/voiceroom/media/mix"
	"voiceroom.dev/voiceroom/media/transport"
)

// mixing makes the mix of a room: one more voice, which is all of them, and which the audience hears on
// its first slot. People on a microphone go on hearing each other as forwarded.
//
// It is a goroutine that makes a frame every 20 ms while somebody talks and somebody in the audience
// listens, and sleeps otherwise. What is due is gathered under the forwarder's lock, then decoded, mixed and encoded
// without it; the frame is given to the listeners under the lock again, unless somebody who is in it
// was revoked meanwhile. So the fence of the forwarding path stands for the mix too: see talker. A
// revocation costs the audience what was not sent yet, a frame of 20 ms, and what could be asked for again.
type mixing struct {
	forwarder *forwarder
	mixer     *mix.Mixer
	voice     talker // no session's, and no member's
	used      bool   // something was pushed into mixer
	woken     chan struct{}
	quit      chan struct{}
}

// setMix turns the mix on or off, while people talk. It does nothing without a codec.
func (f *forwarder) setMix(on bool, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.codec == nil || on == (f.mixing != nil) {
		return
	}
	if on {
		f.mixing = &mixing{forwarder: f, mixer: mix.New(f.codec), woken: make(chan struct{}, 1), quit: make(chan struct{})}
		for _, t := range f.byRank {
			f.mixing.add(t)
		}
		f.running.Go(f.mixing.run)
	} else {
		close(f.mixing.quit)
		f.mixed = f.mixed.Plus(f.mixing.mixer.Stats())
		f.mixing = nil
		for _, t := range f.byRank {
			t.source = nil
		}
	}
	for _, s := range f.shards {
		s.eager.Store(on)
	}
	f.route(now)
	f.deliver()
}

func (m *mixing) add(t *talker) { t.source = m.mixer.Add(t.member) }

// remove takes a talker out of the mix: it cannot be told from what it is mixed with, so all of that is
// forgotten which was not sent yet, or is kept to be sent again.
func (m *mixing) remove(t *talker) {
	m.mixer.Remove(t.source)
	m.voice.log.Forget()
	for _, l := range m.forwarder.listeners {
		if i := l.hears(&m.voice); i >= 0 {
			l.out.Skip(i)
		}
	}
}

// push takes a packet of a talker. It is false when nobody listens.
func (m *mixing) push(t *talker, p *transport.Packet) bool {
	if m.voice.slots == 0 {
		return false
	}
	m.used = true
	t.source.Push(p.SSRC, p.Sequence, p.Timestamp, p.Payload)
	select {
	case m.woken <- struct{}{}:
	default:
	}
	return true
}

func (m *mixing) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for wait(m, m.woken) {
		for due := time.Now(); m.gather(due); {
			if frame, ok := m.mixer.Mix(); ok {
				m.give(frame, due)
			}
			due = due.Add(mix.FrameTime)
			late := time.Since(due)
			if late > 10*mix.FrameTime { // the process stood still: what was missed is missed
				due = due.Add(late)
			}
			timer.Reset(-late)
			if !wait(m, timer.C) {
				return
			}
		}
	}
}

// wait waits until something can be received. It is false when the mix is over.
func wait[T any](m *mixing, something <-chan T) bool {
	select {
	case <-something:
		return true
	case <-m.quit:
	case <-m.forwarder.stopping:
	}
	return false
}

// gather takes what is due. It is false when there is nothing, or nobody listens: the mix begins anew
// then, so that nothing of today is heard by who comes tomorrow.
func (m *mixing) gather(now time.Time) bool {
	f := m.forwarder
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mixing != m {
		return false
	}
	if m.voice.slots > 0 {
		return m.mixer.Gather(now)
	}
	if m.used {
		m.used = false
		f.mixed = f.mixed.Plus(m.mixer.Stats())
		m.mixer = mix.New(f.codec)
		for _, t := range f.byRank {
			m.add(t)
		}
	}
	return false
}

// give makes a frame the next that the audience hears.
func (m *mixing) give(frame mix.Frame, now time.Time) {
	f := m.forwarder
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mixing != m || m.mixer.Stale() {
		return
	}
	f.stats.mixed++
	m.voice.log.Append(&transport.Packet{
		Sequence:  frame.Sequence,
		Timestamp: frame.Timestamp,
		Marker:    frame.Marker,
		HasLevel:  true,
		Level:     frame.Level,
		Voice:     len(frame.Members) > 0,
		Payload:   frame.Payload,
		Arrival:   now,
	}, frame.Members...)
	f.freshen(nil, &m.voice, now)
	f.deliver()
}

// mixCounted is what all mixes counted.
func (f *forwarder) mixCounted() mix.Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mixing == nil {
		return f.mixed
	}
	return f.mixed.Plus(f.mixing.mixer.Stats())
}
