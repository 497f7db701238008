package room

import (
	"container/heap"
	"time"
)

// Next is when time alone changes the room: a Tick is due then. Zero: never.
func (r *Room) Next() time.Time {
	s := &r.state
	if s.Phase == Closed {
		return time.Time{}
	}
	for len(r.deadlines) > 0 && !r.stands(r.deadlines[0]) {
		heap.Pop(&r.deadlines)
	}
	var next time.Time
	if len(r.deadlines) > 0 {
		next = r.deadlines[0].at
	}
	if gone := s.Settings.HostGone; gone != nil && s.Phase == Opened {
		// If it is over, nobody could succeed; who can later does so at once.
		if due := gone.Add(HostGrace); r.passed.Before(due) && (next.IsZero() || due.Before(next)) {
			next = due
		}
	}
	return next
}

// pass does what time alone does until now.
func (r *Room) pass(now time.Time) {
	if due := r.Next(); due.IsZero() || now.Before(due) {
		return
	}
	for member, j := range r.rejoining {
		if over(&j.deadline, now) {
			r.dropRejoin(member)
		}
	}
	members, mics, links := r.due(now)
	for _, id := range members {
		if m, ok := r.state.Member(id); ok {
			r.passMember(m, now)
		}
	}
	for _, index := range mics {
		if m, ok := r.at(index); ok && over(m.Until, now) {
			r.dropMic(m.Member, TimeUp)
		}
	}
	for _, id := range links {
		if u, ok := r.state.invite(id); ok && over(&u.Until, now) {
			u.Uses = 0
			r.emit(Event{Type: EventInvite, Invite: &u})
		}
	}
	r.noteHost(now)
}

func (r *Room) passMember(m Member, now time.Time) {
	if over(m.Deadline, now) {
		r.remove(m, Expired)
		return
	}
	asked, raised := m.AskedUntil, m.Hand
	if over(asked, now) {
		m.AskedUntil = nil
	}
	if raised != nil && over(&raised.Until, now) {
		m.Hand = nil
	}
	if asked != m.AskedUntil || raised != m.Hand {
		r.emit(Event{Type: EventMember, Member: &m, Reason: Expired})
	}
}

func over(until *time.Time, now time.Time) bool { return until != nil && !now.Before(*until) }

func (Tick) apply(*Room, time.Time, Actor) error { return nil } // Do let time pass
