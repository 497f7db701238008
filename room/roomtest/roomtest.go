// Package roomtest states what always holds in a room, whatever it is told, and checks
// it from outside: of a state, of a step from one state to the next, and of a room's
// whole history over its epochs. The invariants are in invariants.go, a sentence each.
//
// It is for tests that drive a room, alone or behind real processes:
//
//	history := roomtest.Begin(r.State())
//	events, err := r.Do(now, by, command)
//	if broken := history.Step(r.State(), events); broken != nil { ... }
package roomtest

import (
	"errors"
	"fmt"
	"time"

	"voiceroom.dev/voiceroom/room"
)

// State checks every invariant that one state shows.
func State(s *room.State) error {
	var broken []error
	for _, holds := range states {
		if err := holds(s); err != nil {
			broken = append(broken, err)
		}
	}
	return errors.Join(broken...)
}

// Check checks the step from before to after, which events caused, and the state after it.
// It changes neither.
func Check(before, after *room.State, events []room.Event) error {
	broken := []error{State(after)}
	for _, holds := range steps {
		if err := holds(before, after, events); err != nil {
			broken = append(broken, err)
		}
	}
	return errors.Join(broken...)
}

// Refusal checks how a command was refused. Before is the state when time had passed to the
// very moment of the command (by a Tick), so that the command alone could have caused events.
func Refusal(before, after *room.State, events []room.Event, err error) error {
	var refusal *room.Error
	switch {
	case !errors.As(err, &refusal):
		return fmt.Errorf("a refusal is a *room.Error with a code: %w", err)
	case refusal.Code == "" || refusal.Detail == "":
		return fmt.Errorf("a refusal lacks its code or its sentence: %w", refusal)
	case len(events) > 0 || before.Seq != after.Seq:
		return fmt.Errorf("refused with %s, and yet it caused %d events", refusal.Code, len(events))
	}
	return equal(before, after)
}

// History is what a room has shown so far. It is not safe for concurrent use.
type History struct {
	last   *room.State
	number uint32 // the highest of a member
	grant  uint64 // the highest of a microphone
}

// Begin begins a history with a snapshot, which it keeps.
func Begin(s *room.State) *History {
	h := &History{last: s}
	h.note(s)
	return h
}

// Step checks the next step, and that it reuses nothing that any earlier one used. It
// keeps after.
func (h *History) Step(after *room.State, events []room.Event) error {
	broken := []error{Check(h.last, after, events)}
	shown := h.last.Clone()
	for _, e := range events {
		broken = append(broken, h.fresh(shown, e))
		shown.Apply(e)
	}
	h.last = after
	h.note(after)
	return errors.Join(broken...)
}

// NextEpoch checks the snapshot with which an epoch begins that was seeded with the last
// state. It keeps the snapshot.
func (h *History) NextEpoch(s *room.State) error {
	broken := []error{State(s), goesOn(h.last, s)}
	h.last = s
	return errors.Join(broken...)
}

// fresh checks that a number is never used twice: not by another member that came in later,
// and not by another grant, also not after its holder has gone or in a later epoch.
func (h *History) fresh(shown *room.State, e room.Event) error {
	switch {
	case e.Type == room.EventMember && e.Member.ID > h.number:
		h.number = e.Member.ID
	case e.Type == room.EventMember:
		if m, here := shown.Member(e.Member.ID); !here || m.Subject != e.Member.Subject {
			return fmt.Errorf("number %d was another member's", e.Member.ID)
		}
	case e.Type == room.EventMic && e.Mic.Grant > h.grant:
		h.grant = e.Mic.Grant
	case e.Type == room.EventMic && e.Mic.Member != 0:
		if m, on := shown.Mic(e.Mic.Member); !on || m.Grant != e.Mic.Grant || m.Index != e.Mic.Index {
			return fmt.Errorf("grant %d was given before", e.Mic.Grant)
		}
	}
	return nil
}

func (h *History) note(s *room.State) {
	h.number, h.grant = max(h.number, s.LastMember), max(h.grant, s.LastGrant)
	for _, m := range s.Members {
		h.number = max(h.number, m.ID)
	}
	for _, m := range s.Mics {
		h.grant = max(h.grant, m.Grant)
	}
}

// Wait lets time pass in r until then, as its owner does: with a Tick at each Next. Step is
// called after each of them. It is an error if time changes the room a moment before
// Next, does not change it then, or has changed it when it is due.
func Wait(r *room.Room, until time.Time, step func(now time.Time, events []room.Event) error) error {
	for {
		next := r.Next()
		if next.IsZero() || next.After(until) {
			return nil
		}
		early := next.Add(-time.Nanosecond)
		events, err := r.Do(early, room.Control, room.Tick{})
		if err != nil {
			return fmt.Errorf("letting time pass until %v: %w", early, err)
		}
		if len(events) > 0 || !r.Next().Equal(next) {
			return fmt.Errorf("next was due at %v, and a moment earlier time caused %d events; then next was due at %v", next, len(events), r.Next())
		}
		if events, err = r.Do(next, room.Control, room.Tick{}); err != nil {
			return fmt.Errorf("letting time pass until %v: %w", next, err)
		}
		if len(events) == 0 && r.Next().Equal(next) {
			return fmt.Errorf("due at %v, time changed nothing then", next)
		}
		if err := step(next, events); err != nil {
			return err
		}
		if err := Settled(r, next); err != nil {
			return err
		}
	}
}

// Settled checks that time has done in r all that it does until now: else the owner of r,
// who waits for Next, would never sleep.
func Settled(r *room.Room, now time.Time) error {
	if next := r.Next(); !next.IsZero() && !next.After(now) {
		return fmt.Errorf("it is %v, and the room waits for %v", now, next)
	}
	return nil
}
