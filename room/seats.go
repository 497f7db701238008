package room

import (
	"slices"
	"time"
)

func (c GiveMic) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.target(by, c.Member)
	if err != nil {
		return err
	}
	if m.Status != Entered {
		return refuse(NotEntered, "that member is not connected")
	}
	if err := r.bringUp(m, c.Index); err != nil {
		return err
	}
	mic, _ := r.state.Mic(m.ID) // one that it had goes on with a new turn
	if end := r.turn(m); end != nil && (mic.Until == nil || !mic.Until.Equal(*end)) {
		mic.Until = end
		r.setMic(mic)
	}
	return nil
}

// bringUp puts a member on a microphone, out of the audience if it is there.
func (r *Room) bringUp(m Member, index int) error {
	index, err := r.seat(m, index)
	if err != nil {
		return err
	}
	if m.Role == Audience {
		m.Role = Speaker
		r.setRole(m, Speaker)
	}
	r.place(m, index)
	return nil
}

func (c PullMic) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.target(by, c.Member)
	if err != nil {
		return err
	}
	if _, on := r.state.Mic(m.ID); !on {
		return refuse(NotOnMic, "that member is not on a microphone")
	}
	r.dropMic(m.ID, PulledDown)
	if !m.Role.moderates() {
		r.setRole(m, Audience)
	}
	return nil
}

func (c SwapMics) apply(r *Room, _ time.Time, by Actor) error {
	if _, err := r.moderator(by); err != nil {
		return err
	}
	for _, index := range []int{c.A, c.B} {
		if err := r.exists(index); err != nil {
			return err
		}
		if slices.Contains(r.state.Settings.LockedMics, index) {
			return refuse(MicLocked, "microphone %d is locked", index)
		}
	}
	a, onA := r.at(c.A)
	b, onB := r.at(c.B)
	switch {
	case !onA && !onB:
		return refuse(NotOnMic, "nobody is on microphone %d or %d", c.A, c.B)
	case c.A == c.B:
		return nil
	}
	// Each step leaves everybody with one microphone at most.
	for _, mic := range []Mic{a, b} {
		r.dropMic(mic.Member, "")
	}
	if onA {
		r.move(a, c.B)
	}
	if onB {
		r.move(b, c.A)
	}
	return nil
}

func (c LockMic) apply(r *Room, _ time.Time, by Actor) error {
	role, err := r.moderator(by)
	if err != nil {
		return err
	}
	if err := r.exists(c.Index); err != nil {
		return err
	}
	locked := slices.Contains(r.state.Settings.LockedMics, c.Index)
	if locked == c.Locked {
		return nil
	}
	if mic, on := r.at(c.Index); on {
		m, _ := r.state.Member(mic.Member)
		if err := mayActOn(role, by, m); err != nil {
			return err
		}
		r.dropMic(m.ID, MicLocked)
	}
	r.setSettings(func(s *Settings) {
		if s.LockedMics = slices.Clone(s.LockedMics); c.Locked {
			s.LockedMics = append(s.LockedMics, c.Index)
			slices.Sort(s.LockedMics)
			return
		}
		s.LockedMics = slices.DeleteFunc(s.LockedMics, func(i int) bool { return i == c.Index })
	})
	return nil
}
