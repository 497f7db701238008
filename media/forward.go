package media

import (
	"slices"
	"sync"
	"time"

	"voiceroom.dev/voiceroom/media/egress"
	"voiceroom.dev/voiceroom/media/ranking"
	"voiceroom.dev/voiceroom/media/transport"
)

const (
	// quietAfter is how long a talker may send nothing before its slots play silence.
	quietAfter = 250 * time.Millisecond
	// discontinuous is the size in bytes up to which an Opus payload announces that
	// nothing may follow for a while (RFC 6716, section 2.1.9); decoders then make
	// comfort noise by themselves.
	discontinuous = 2
	// silent is the level of silence (RFC 6464, section 3).
	silent = 127

	// packetCost, byteCost and paceBurst bound what a talker sends, for it is sent on to everybody: a
	// packet costs more time than Opus needs to fill it, up to 5 ms frames at 510 kbit/s. Time
	// that was not used is kept for a burst, as when a network was away.
	packetCost = time.Millisecond
	byteCost   = 10 * time.Microsecond
	paceBurst  = time.Second
)

// forwarder is the room's forwarding context: it takes packets of talkers to the
// slots of listeners. One mutex guards all of it and the egress below. It is taken
// for each packet that comes in and is nearly always free, since one goroutine
// reads the socket; what it buys is that a revoked grant is revoked when revoke
// returns. Nothing under it waits.
type forwarder struct {
	mu        sync.Mutex
	ranking   ranking.Ranking
	byRank    map[*ranking.Talker]*talker
	listeners []*listener
	stats     forwardStats
	fresh     int     // sessions that are
	audible   []first // since takeAudible
}

// first is when the first audio came from a session or went to it.
type first struct {
	session *session
	at      time.Time
}

// forwardStats count packets.
type forwardStats struct {
	in, out    uint64
	noGrant    uint64 // from sessions whose audio must not flow
	flood      uint64 // from talkers that send more than any encoder does
	unheard    uint64 // from talkers that nobody has on a slot
	unsendable uint64 // the listener's socket or connection did not take it
}

// talker is a live grant, and the fence of the forwarding path: a packet is forwarded only
// for the talker that its session is at that moment, and only if it arrived under it. A
// talker stands for one grant of the room, by its number. When the room ends that grant,
// and setGrants has returned, nothing that arrived under it is handed to the network any
// more: not what waits for the mutex, not what is kept to be sent again, and not even if the
// same member has been given a microphone again meanwhile, for that is another talker. Only
// a grant that the room moves to another index in one step goes on as the same talker, so
// that nobody hears a gap.
type talker struct {
	session *session
	member  uint32
	number  uint64    // of the grant
	since   time.Time // what arrived before is not its
	rank    *ranking.Talker
	routes  []route

	heard time.Time // its last packet; zero: none yet, or silence was sent since
	dtx   bool      // and that packet announced a pause
}

// listener is a client that entered.
type listener struct {
	session *session
	out     *egress.Listener
	slots   []*talker // who is on which; nil: nobody
	changed bool      // since takeSlotMaps
}

type route struct {
	to   *listener
	slot int
}

// grant says that a session's audio may flow.
type grant struct {
	session  *session
	member   uint32
	number   uint64 // room.Mic.Grant
	priority bool   // before all others, while it speaks
}

func newForwarder() *forwarder { return &forwarder{byRank: map[*ranking.Talker]*talker{}} }

// forward takes one packet of a session's uplink. It is called by the goroutines
// that read sockets.
func (f *forwarder) forward(s *session, p *transport.Packet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats.in++
	t := s.talks
	if t == nil || p.Arrival.Before(t.since) {
		f.stats.noGrant++
		return
	}
	if !s.paces(p) {
		f.stats.flood++
		return
	}
	t.heard, t.dtx = p.Arrival, len(p.Payload) <= discontinuous
	level, known := p.Level, p.HasLevel
	if t.dtx && !known {
		level, known = silent, true
	}
	if f.ranking.Heard(t.rank, level, known, p.Arrival) {
		f.route(p.Arrival)
	}
	if len(t.routes) == 0 {
		f.stats.unheard++
		return
	}
	for _, r := range t.routes {
		if r.to.out.Forward(r.slot, t.member, p) != nil {
			f.stats.unsendable++
		} else {
			f.stats.out++
		}
	}
	if f.fresh > 0 {
		f.freshen(s, t, p.Arrival)
	}
}

// freshen notes whose first audio a packet of t was.
func (f *forwarder) freshen(s *session, t *talker, at time.Time) {
	note := func(s *session) {
		if s.fresh {
			s.fresh = false
			f.fresh--
			f.audible = append(f.audible, first{s, at})
		}
	}
	note(s)
	for _, r := range t.routes {
		note(r.to.session)
	}
}

// takeAudible returns the sessions that had their first audio since it was called before.
func (f *forwarder) takeAudible() []first {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.audible
	f.audible = nil
	return taken
}

// paces says whether a packet of the session is within what a talker may send.
func (s *session) paces(p *transport.Packet) bool {
	from := p.Arrival.Add(-paceBurst)
	if s.paced.After(from) {
		from = s.paced
	}
	until := from.Add(packetCost + time.Duration(p.Size)*byteCost)
	if until.After(p.Arrival) {
		return false
	}
	s.paced = until
	return true
}

// resend sends packets of a listener's slot again.
func (f *forwarder) resend(s *session, slot int, seqs []uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.hears != nil && s.hears.out.Resend(slot, seqs) != nil {
		f.stats.unsendable++
	}
}

// enter lets a session listen.
func (f *forwarder) enter(s *session, out *egress.Listener, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.hears != nil {
		return
	}
	s.hears = &listener{session: s, out: out, slots: make([]*talker, out.Len()), changed: true}
	f.listeners = append(f.listeners, s.hears)
	if s.journey.traced() {
		s.fresh = true
		f.fresh++
	}
	f.routeTo(s.hears, f.ranking.Order(), now)
	s.hears.listen()
}

// leave ends both directions of a session at once.
func (f *forwarder) leave(s *session, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.fresh {
		s.fresh = false
		f.fresh--
	}
	if l := s.hears; l != nil {
		for i, t := range l.slots {
			l.out.Purge(i)
			if t != nil {
				t.routes = slices.DeleteFunc(t.routes, func(r route) bool { return r.to == l })
			}
		}
		f.listeners = slices.DeleteFunc(f.listeners, func(o *listener) bool { return o == l })
		s.hears = nil
	}
	if s.talks != nil {
		f.revoke(s.talks, now)
		f.route(now)
	}
}

// setGrants makes these the live grants, oldest first; audio of any other stops. moved are
// numbers of grants whose holders go on under the one that they have now. When it returns,
// the fence stands: see talker.
func (f *forwarder) setGrants(grants []grant, moved []uint64, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed := false
	for _, t := range f.byRank {
		i := slices.IndexFunc(grants, func(g grant) bool { return g.session == t.session && g.member == t.member })
		if i < 0 || grants[i].number != t.number && !slices.Contains(moved, t.number) {
			f.revoke(t, now)
			changed = true
			continue
		}
		t.number = grants[i].number
	}
	for _, g := range grants {
		t := g.session.talks
		if t == nil {
			t = &talker{session: g.session, member: g.member, number: g.number, since: now, rank: f.ranking.Add()}
			g.session.talks, f.byRank[t.rank] = t, t
			changed = true
		}
		t.rank.Priority = g.priority // the order follows when it is heard
	}
	if changed { // most changes of a room are none here, and routing looks at all listeners
		f.route(now)
	}
}

// revoke takes a talker off all slots.
func (f *forwarder) revoke(t *talker, now time.Time) {
	for _, r := range t.routes {
		r.to.clear(r.slot, now)
	}
	f.ranking.Remove(t.rank)
	delete(f.byRank, t.rank)
	t.session.talks, t.routes = nil, nil
}

// clear empties a slot: what it sent cannot be asked for again, and it ends in silence.
func (l *listener) clear(slot int, now time.Time) {
	l.out.Purge(slot)
	_ = l.out.Silence(slot, now) // lost silence sounds like lost audio
	l.slots[slot] = nil
	l.changed = true
}

// route gives each listener's slots to the talkers that rank first, itself left
// out. A talker that stays keeps its slot.
func (f *forwarder) route(now time.Time) {
	order := f.ranking.Order()
	for _, t := range f.byRank {
		t.routes = t.routes[:0]
	}
	for _, l := range f.listeners {
		f.routeTo(l, order, now)
		l.listen()
	}
}

// listen makes the talkers on the slots send there.
func (l *listener) listen() {
	for i, t := range l.slots {
		if t != nil {
			t.routes = append(t.routes, route{l, i})
		}
	}
}

func (f *forwarder) routeTo(l *listener, order []*ranking.Talker, now time.Time) {
	var few [transport.MaxSlots]*talker
	wanted := few[:0]
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
			l.clear(i, now)
		}
	}
	for _, t := range wanted {
		if !slices.Contains(l.slots, t) {
			l.slots[slices.Index(l.slots, nil)] = t
			l.changed = true
		}
	}
}

// hush plays silence for talkers that stopped sending without a word.
func (f *forwarder) hush(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.byRank {
		if t.heard.IsZero() || t.dtx || now.Sub(t.heard) < quietAfter {
			continue
		}
		t.heard = time.Time{}
		for _, r := range t.routes {
			_ = r.to.out.Silence(r.slot, now)
		}
	}
}

// slotMap says who is on which slot of a session: members, 0 for nobody.
type slotMap struct {
	session *session
	members []uint32
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
		maps = append(maps, slotMap{l.session, members})
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

func (f *forwarder) counted() forwardStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats
}
