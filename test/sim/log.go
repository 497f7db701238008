package sim

import (
	"time"

	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/room/roomtest"
)

// log is what one pod's room has been in its epoch.
type log struct {
	history *roomtest.History
	last    *room.State
	states  map[uint64]*room.State // by the last event of a command
	taken   map[uint32]time.Time   // when a place was, by member
	caps    []limit
	renewed time.Time // its lease
	ended   time.Time // once its pod has
}

// limit is a maxMembers from then on.
type limit struct {
	from time.Time
	most int
}

// issue is a session that was given out.
type issue struct {
	subject string
	at      time.Time // when its place was taken
	opened  int
}

// kick is one that stands, until it is forgiven.
type kick struct {
	epoch    uint64
	seq      uint64
	at       time.Time // by the pod's clock
	when     time.Time
	durable  bool
	keeper   string // the operator that acknowledged it, in which of its lives
	lost     bool   // with it and the pod
	forgiven bool
}

// begin begins the log of an epoch.
func begin(now time.Time, s *room.State) *log {
	l := &log{history: roomtest.Begin(s), last: s, states: map[uint64]*room.State{0: s}, taken: map[uint32]time.Time{}}
	l.noteCap(now, s)
	return l
}

// inherit notes since when those have their places who had them in the epoch before.
func (l *log) inherit(s *room.State, before *log) {
	for _, m := range s.Members {
		l.taken[m.ID] = before.taken[m.ID]
	}
}

// add keeps what the room was after each command of the events.
func (l *log) add(now time.Time, before, after *room.State, events []room.Event) {
	for _, e := range events {
		before = before.Clone()
		before.Apply(e) // if that fails the history says so
		if !e.More {
			l.states[e.Seq] = before
		}
		if m := e.Member; m != nil && l.taken[m.ID].IsZero() {
			l.taken[m.ID] = now
		}
	}
	l.last = after
	l.noteCap(now, after)
}

func (l *log) noteCap(now time.Time, s *room.State) {
	if n := len(l.caps); n == 0 || l.caps[n-1].most != s.Settings.MaxMembers {
		l.caps = append(l.caps, limit{now, s.Settings.MaxMembers})
	}
}

// binds says whether the kick must be known in an epoch.
func (k *kick) binds(epoch uint64) bool {
	return epoch == k.epoch || epoch > k.epoch && k.durable && !k.lost
}

// died notes when a pod ended.
func (c *checks) died(p *pod) {
	if l := c.logs[p]; l != nil {
		l.ended = c.now
	}
}

// capSince is the highest cap that any pod has had since then.
func (c *checks) capSince(then time.Time) int {
	most := 0
	for _, p := range c.births {
		l := c.logs[p]
		if l == nil || !p.host.up && l.ended.Before(then) {
			continue
		}
		for i, limit := range l.caps {
			if i+1 == len(l.caps) || !l.caps[i+1].from.Before(then) {
				most = max(most, limit.most)
			}
		}
	}
	return most
}
