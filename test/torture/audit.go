package main

import (
	"fmt"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// ttls are how long a place is kept in each status, from when it was reached.
var ttls = map[room.Status]time.Duration{
	room.Reserved: 60 * time.Second, room.Connecting: 20 * time.Second, room.Associated: 60 * time.Second, room.Away: 30 * time.Second,
}

// audit says what is wrong with a room right after a frame of its stream.
func audit(before *room.State, f mediaapi.Frame, after *room.State) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if n, most := len(after.Members), after.Settings.MaxMembers; n > most {
		say("%d members of at most %d at version %d", n, most, after.Seq)
	}
	if n, most := len(after.Mics), after.Settings.MaxMics; n > most {
		say("%d microphones of at most %d at version %d", n, most, after.Seq)
	}
	subjects, holders := map[string]bool{}, map[uint32]bool{}
	for _, m := range after.Members {
		if subjects[m.Subject] {
			say("%s has two places at version %d", m.Subject, after.Seq)
		}
		subjects[m.Subject] = true
		if after.Record(m.Subject).Kicked != nil && f.Event != nil && f.Event.Type == room.EventMember {
			say("%s is in the room although it was kicked, at version %d", m.Subject, after.Seq)
		}
	}
	for _, m := range after.Mics {
		if _, ok := after.Member(m.Member); !ok || holders[m.Member] {
			say("microphone %d is held by member %d, who is not here or holds another, at version %d", m.Index, m.Member, after.Seq)
		}
		holders[m.Member] = true
	}
	if f.Event != nil && f.Event.Member != nil {
		wrong = append(wrong, auditPlace(before, f.Event)...)
	}
	return wrong
}

// auditPlace looks at when a place is to end, and at when it did.
func auditPlace(before *room.State, e *room.Event) []string {
	m := e.Member
	if e.Type == room.EventLeft {
		if e.Reason == room.Expired && (m.Deadline == nil || e.Time.Before(*m.Deadline)) {
			return []string{fmt.Sprintf("the place of %s ran out at %v, before its time %v", m.Subject, e.Time, m.Deadline)}
		}
		return nil
	}
	was, had := before.Member(m.ID)
	if had && was.Subject != m.Subject {
		return []string{fmt.Sprintf("member %d was %s and is %s", m.ID, was.Subject, m.Subject)}
	}
	ttl, ends := ttls[m.Status]
	switch {
	case had && was.Status == m.Status && was.Session == m.Session, m.Status == room.Held:
	case ends && (m.Deadline == nil || !m.Deadline.Equal(e.Time.Add(ttl))), !ends && m.Deadline != nil:
		return []string{fmt.Sprintf("%s is %s from %v until %v", m.Subject, m.Status, e.Time, m.Deadline)}
	}
	return nil
}

// fence looks at whom the room's pods let in: once a newer one has let in a stranger, the
// ones before let in nobody. Call it with the lock held.
func (r *voiceRoom) fence() {
	for _, older := range r.epochs {
		for _, newer := range r.epochs {
			last, _ := older.admitted()
			_, first := newer.admitted()
			if newer.number > older.number && !first.IsZero() && last.After(first) && !r.breached[older.number] {
				r.breached[older.number] = true
				r.world.report.violation(r, newer.number, fmt.Sprintf("epoch %d let a stranger in at %v, epoch %d one at %v", older.number, last, newer.number, first), nil)
			}
		}
	}
}

// admitted is when an epoch last, and first, let in somebody new.
func (e *epoch) admitted() (last, first time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.strangers.last, e.strangers.first
}

// shape looks at a room across its pods. Whoever entered at a pod that lives and is not
// the newest still talks there, and a newer one must keep that place, unless it was given
// up there: by itself, by a moderator, or because it had moved. With all who have a place
// at the newest one they are no more than may be members.
func (r *voiceRoom) shape() {
	r.mu.Lock()
	defer r.mu.Unlock()
	newest, _ := r.newest()
	if newest == nil {
		return
	}
	if len(r.epochs) > 1 {
		r.fence()
	}
	here, most := map[string]bool{}, 0
	for _, e := range r.epochs {
		s, ended := e.state()
		if s == nil || ended && e != newest {
			continue
		}
		most = max(most, s.Settings.MaxMembers)
		for _, m := range s.Members {
			if e == newest || cameIn(m.Status) && !r.gaveUp(e.number, m.Subject) {
				here[m.Subject] = true
			}
		}
	}
	if over := len(here) > most; over != r.over {
		if r.over = over; over {
			r.world.report.violation(r, newest.number, fmt.Sprintf("%d have places across the room's living pods, of at most %d%s", len(here), most, r.places()), nil)
		}
	}
}

// gaveUp says whether a newer pod than that of an epoch was told to give up a place that
// it kept for a member of that epoch. Call it with the lock held.
func (r *voiceRoom) gaveUp(epoch uint64, subject string) bool {
	for _, e := range r.epochs {
		if e.number > epoch && e.gave(subject) {
			return true
		}
	}
	return false
}

// cameIn says whether somebody entered, in this epoch or the one before.
func cameIn(s room.Status) bool { return s == room.Entered || s == room.Away || s == room.Held }
