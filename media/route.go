package media

import (
	"slices"
	"time"

	"voiceroom.dev/voiceroom/media/egress"
	"voiceroom.dev/voiceroom/media/ranking"
	"voiceroom.dev/voiceroom/media/transport"
)

// enter lets a session listen.
func (f *forwarder) enter(s *session, out *egress.Listener, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.hears != nil {
		return
	}
	l := &listener{session: s, out: out, slots: make([]*talker, out.Len()), changed: true}
	s.hears = l
	f.listeners = append(f.listeners, l)
	f.place(l)
	if s.journey.traced() {
		f.fresh = append(f.fresh, s)
	}
	f.routeTo(l, f.ranking.Order(), now)
}

// place gives a listener to who serves it: people on a microphone are prompt.
func (f *forwarder) place(l *listener) {
	if l.session.onMic || len(f.shards) == 0 {
		f.prompt = append(f.prompt, l)
		return
	}
	l.shard = slices.MinFunc(f.shards, func(a, b *shard) int { return len(a.listeners) - len(b.listeners) })
	l.shard.listeners = append(l.shard.listeners, l)
	l.shard.wake() // for what was due already
}

// displace undoes place.
func (f *forwarder) displace(l *listener) {
	if l.shard == nil {
		f.prompt = remove(f.prompt, l)
		return
	}
	l.shard.listeners = remove(l.shard.listeners, l)
	l.shard.wake() // it may be on its way through them, and miss one
	l.shard = nil
}

func remove[T any](from []*T, l *T) []*T {
	i := slices.Index(from, l)
	last := len(from) - 1
	from[i], from[last] = from[last], nil
	return from[:last]
}

// leave ends both directions of a session at once.
func (f *forwarder) leave(s *session, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fresh = slices.DeleteFunc(f.fresh, func(of *session) bool { return of == s })
	if l := s.hears; l != nil {
		for i := range l.slots {
			l.put(i, nil, now)
		}
		f.displace(l)
		f.listeners = remove(f.listeners, l)
		s.hears = nil
	}
	if s.onMic {
		s.onMic = false
		f.onMic = remove(f.onMic, s)
	}
	if s.talks != nil {
		f.revoke(s.talks, now)
		f.route(now)
		f.deliver()
	}
}

// setGrants makes these the grants, oldest first; audio of any other, and of muted ones, stops. moved are
// numbers of grants whose holders go on under the one that they have now. When it returns,
// the fence stands: see talker.
func (f *forwarder) setGrants(grants []grant, moved []uint64, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed := f.seat(grants)
	for _, t := range f.byRank {
		i := slices.IndexFunc(grants, func(g grant) bool { return g.session == t.session && g.member == t.member && !g.muted })
		if i < 0 || grants[i].number != t.number && !slices.Contains(moved, t.number) {
			f.revoke(t, now)
			changed = true
			continue
		}
		t.number = grants[i].number
	}
	for _, g := range grants {
		if g.muted {
			continue
		}
		if g.session.talks == nil {
			f.admit(g, now)
			changed = true
		}
		g.session.talks.rank.Priority = g.priority // the order follows when it is heard
	}
	if changed { // most changes of a room are none here, and routing looks at all listeners
		f.route(now)
		f.deliver()
	}
}

// seat moves sessions between the audience and those who are prompt, as they hold a microphone or do not
// any more. It is true if any was moved.
func (f *forwarder) seat(grants []grant) bool {
	changed := false
	for _, s := range slices.Clone(f.onMic) {
		if !slices.ContainsFunc(grants, func(g grant) bool { return g.session == s }) {
			f.onMic = remove(f.onMic, s)
			f.sit(s, false)
			changed = true
		}
	}
	for _, g := range grants {
		if !g.session.onMic {
			f.onMic = append(f.onMic, g.session)
			f.sit(g.session, true)
			changed = true
		}
	}
	return changed
}

func (f *forwarder) sit(s *session, onMic bool) {
	if s.hears != nil {
		f.displace(s.hears)
	}
	s.onMic = onMic
	if s.hears != nil {
		f.place(s.hears)
	}
}

// admit makes a grant's session a talker.
func (f *forwarder) admit(g grant, now time.Time) {
	t := &talker{session: g.session, member: g.member, number: g.number, since: now, rank: f.ranking.Add()}
	f.byRank[t.rank], t.session.talks = t, t
	if f.mixing != nil {
		f.mixing.add(t)
	}
}

// revoke takes a talker off all slots, and out of the mix.
func (f *forwarder) revoke(t *talker, now time.Time) {
	if f.mixing != nil {
		f.mixing.remove(t)
	}
	for _, l := range f.listeners {
		if i := l.hears(t); i >= 0 {
			l.put(i, nil, now)
		}
	}
	f.ranking.Remove(t.rank)
	delete(f.byRank, t.rank)
	t.session.talks = nil
}

// hears is the slot that a talker is on, -1 if none.
func (l *listener) hears(t *talker) int { return slices.Index(l.slots, t) }

// put gives a slot to a talker, nil for nobody. What it played ends in silence, and can neither be sent
// nor asked for any more.
func (l *listener) put(slot int, t *talker, now time.Time) {
	before := l.slots[slot]
	if before == t {
		return
	}
	l.slots[slot], l.changed = t, true
	if before != nil {
		before.slots--
	}
	if t == nil {
		l.out.Hear(slot, nil, now)
		return
	}
	t.slots++
	l.out.Hear(slot, &t.log, now)
}

// route gives each listener's slots to the talkers that rank first, itself left
// out. A talker that stays keeps its slot.
func (f *forwarder) route(now time.Time) {
	order := f.ranking.Order()
	for _, l := range f.listeners {
		f.routeTo(l, order, now)
	}
}

// reroute does what route does after a talker moved ahead in the ranking. With n slots one hears the first n
// talkers, or n of the first n+1 and itself not: so nobody hears another now unless the talker came from beyond
// the first n, and is among the first n+1.
func (f *forwarder) reroute(from, to int, now time.Time) {
	order := f.ranking.Order()
	for _, l := range f.listeners {
		if n := len(l.slots); to <= n && n <= from {
			f.routeTo(l, order, now)
		}
	}
}

func (f *forwarder) routeTo(l *listener, order []*ranking.Talker, now time.Time) {
	var few [transport.MaxSlots]*talker
	wanted := few[:0]
	if f.mixing != nil && !l.session.onMic && len(l.slots) > 0 {
		wanted, order = append(wanted, &f.mixing.voice), nil // on slot 0, as nobody else is there
	}
	for _, rank := range order {
		if len(wanted) == len(l.slots) {
			break
		}
		if t := f.byRank[rank]; t.session != l.session {
			wanted = append(wanted, t)
		}
	}
	for i, t := range l.slots {
		if t != nil && !slices.Contains(wanted, t) {
			l.put(i, nil, now)
		}
	}
	for _, t := range wanted {
		if l.hears(t) < 0 {
			l.put(l.hears(nil), t, now)
		}
	}
}

// slotMap says who is on which slot of a session: members, 0 for nobody. On slot 0 it may be the mix.
type slotMap struct {
	session *session
	members []uint32
	mix     bool
}

// takeSlotMaps returns the maps that changed since they were taken.
func (f *forwarder) takeSlotMaps() []slotMap {
	f.mu.Lock()
	defer f.mu.Unlock()
	var maps []slotMap
	for _, l := range f.listeners {
		if !l.changed {
			continue
		}
		l.changed = false
		members := make([]uint32, len(l.slots))
		for i, t := range l.slots {
			if t != nil {
				members[i] = t.member
			}
		}
		maps = append(maps, slotMap{l.session, members, f.mixing != nil && l.hears(&f.mixing.voice) == 0})
	}
	return maps
}

// untake makes takeSlotMaps return a session's map again.
func (f *forwarder) untake(s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.hears != nil {
		s.hears.changed = true
	}
}
