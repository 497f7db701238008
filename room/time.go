package room

import (
	"slices"
	"time"
)

// Next is when time alone changes the room: a Tick is due then. Zero: never.
func (r *Room) Next() time.Time {
	if r.state.Phase == Closed {
		return time.Time{}
	}
	if !r.settled {
		r.due, r.settled = r.earliest(), true
	}
	next := r.due
	for _, j := range r.rejoining {
		if next.IsZero() || j.deadline.Before(next) {
			next = j.deadline
		}
	}
	return next
}

// earliest is the next deadline in the state. Zero: there is none.
func (r *Room) earliest() time.Time {
	var next time.Time
	consider := func(t *time.Time) {
		if t != nil && (next.IsZero() || t.Before(next)) {
			next = *t
		}
	}
	s := &r.state
	for i := range s.Members {
		m := &s.Members[i]
		consider(m.Deadline)
		consider(m.AskedUntil)
		if m.Hand != nil {
			consider(&m.Hand.Until)
		}
	}
	for i := range s.Mics {
		consider(s.Mics[i].Until)
	}
	for i := range s.Invites {
		consider(&s.Invites[i].Until)
	}
	if gone := s.Settings.HostGone; gone != nil && s.Phase == Opened {
		if _, ok := r.successor(); ok {
			due := gone.Add(HostGrace)
			consider(&due)
		}
	}
	return next
}

// pass does what time alone does until now.
func (r *Room) pass(now time.Time) {
	if due := r.Next(); due.IsZero() || now.Before(due) {
		return
	}
	for s, j := range r.rejoining {
		if !now.Before(j.deadline) {
			delete(r.rejoining, s)
			delete(r.bySession, s)
		}
	}
	for _, m := range slices.Clone(r.state.Members) {
		r.passMember(m, now)
	}
	for _, m := range slices.Clone(r.state.Mics) {
		if over(m.Until, now) {
			r.dropMic(m.Member, TimeUp)
		}
	}
	for _, u := range slices.Clone(r.state.Invites) {
		if over(&u.Until, now) {
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
