package roomtest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"voiceroom.dev/voiceroom/room"
)

// states are the invariants of one state.
var states = []func(*room.State) error{
	subjectsOnce, microphones, lockedIndexesEmpty, hosts, audible, waiting, places, outcasts, records, invites, latch, emptiness, ended,
}

// steps are the invariants of a step.
var steps = []func(before, after *room.State, events []room.Event) error{
	dense, reproduces, followed, caps, versions, grants, newcomers, latched, gone,
}

func when(broken bool, format string, args ...any) error {
	if broken {
		return fmt.Errorf(format, args...)
	}
	return nil
}

// A subject is in the room once, under a number and with a session of its own.
func subjectsOnce(s *room.State) error {
	subjects, sessions := map[string]bool{}, map[string]bool{}
	for i, m := range s.Members {
		switch {
		case m.ID == 0 || i > 0 && s.Members[i-1].ID >= m.ID:
			return fmt.Errorf("member %d is out of order", m.ID)
		case m.Subject == "" || subjects[m.Subject]:
			return fmt.Errorf("subject %q of member %d is another's", m.Subject, m.ID)
		case sessions[m.Session] && m.Session != "":
			return fmt.Errorf("session %q of member %d is another's", m.Session, m.ID)
		}
		subjects[m.Subject], sessions[m.Session] = true, true
	}
	return nil
}

// A microphone has one holder, a member has one microphone, and who holds one has entered
// and is not in the audience.
func microphones(s *room.State) error {
	holders, given := map[uint32]bool{}, map[uint64]bool{}
	for i, mic := range s.Mics {
		m, here := s.Member(mic.Member)
		switch {
		case mic.Index < 0 || i > 0 && s.Mics[i-1].Index >= mic.Index:
			return fmt.Errorf("microphone %d is out of order", mic.Index)
		case !here || holders[mic.Member]:
			return fmt.Errorf("microphone %d is held by member %d, who is not here or has another", mic.Index, mic.Member)
		case m.Role == room.Audience || m.Status != room.Entered && m.Status != room.Away && m.Status != room.Held:
			return fmt.Errorf("microphone %d is held by member %d, who is %s and %s", mic.Index, m.ID, m.Role, m.Status)
		case mic.Grant == 0 || given[mic.Grant]:
			return fmt.Errorf("microphone %d has grant %d, which is none or another's", mic.Index, mic.Grant)
		}
		holders[mic.Member], given[mic.Grant] = true, true
	}
	return nil
}

// Nobody is on a locked index.
func lockedIndexesEmpty(s *room.State) error {
	locked := s.Settings.LockedMics
	for _, mic := range s.Mics {
		if slices.Contains(locked, mic.Index) {
			return fmt.Errorf("microphone %d is locked and held", mic.Index)
		}
	}
	return when(!slices.IsSorted(locked) || len(slices.Compact(slices.Clone(locked))) != len(locked), "locked indexes %v are not in order", locked)
}

// There is one host at most, and it is the subject that the settings name.
func hosts(s *room.State) error {
	n := 0
	for _, m := range s.Members {
		if m.Role != room.Host {
			continue
		}
		if n++; n > 1 || m.Subject != s.Settings.Host {
			return fmt.Errorf("member %d is host number %d; the settings name %q", m.ID, n, s.Settings.Host)
		}
	}
	return nil
}

// Nobody is heard whom a moderator muted, before or after it took this microphone, and
// nobody writes who was silenced in the chat before it came back.
func audible(s *room.State) error {
	for _, mic := range s.Mics {
		m, _ := s.Member(mic.Member)
		if muted := s.Record(m.Subject).Muted; mic.ModMuted != muted || muted && mic.Live() {
			return fmt.Errorf("microphone %d of %q is moderator-muted: %t; remembered: %t", mic.Index, m.Subject, mic.ModMuted, muted)
		}
	}
	for _, m := range s.Members {
		rec := s.Record(m.Subject)
		if m.ChatMuted != rec.ChatMuted || rec.Audience && m.Role == room.Speaker {
			return fmt.Errorf("member %+v is not as remembered: %+v", m, rec)
		}
	}
	return nil
}

// Who is on a microphone does not wait for one, and hands queue by priority, then age.
func waiting(s *room.State) error {
	var last *room.Hand
	for _, m := range s.Hands() {
		h := m.Hand
		if h.Priority < 0 || h.Priority > room.MaxHandPriority || !h.Until.Equal(h.At.Add(room.HandTTL)) {
			return fmt.Errorf("member %d raises %+v", m.ID, *h)
		}
		if last != nil && (h.Priority > last.Priority || h.Priority == last.Priority && h.At.Before(last.At)) {
			return fmt.Errorf("member %d waits behind %+v with %+v", m.ID, *last, *h)
		}
		last = h
	}
	for _, mic := range s.Mics {
		if m, _ := s.Member(mic.Member); m.Hand != nil || m.AskedUntil != nil {
			return fmt.Errorf("member %d is on a microphone and waits for one", m.ID)
		}
	}
	return nil
}

// A place that nobody is connected at has an end, and who has entered has none.
func places(s *room.State) error {
	for _, m := range s.Members {
		switch entered := m.Status == room.Entered || m.Status == room.Away || m.Status == room.Held; {
		case entered != (m.Entered != nil):
			return fmt.Errorf("member %d is %s and entered at %v", m.ID, m.Status, m.Entered)
		case (m.Status == room.Entered) != (m.Deadline == nil):
			return fmt.Errorf("member %d is %s until %v", m.ID, m.Status, m.Deadline)
		case m.Session == "" && m.Status != room.Away && m.Status != room.Held:
			return fmt.Errorf("member %d is %s without a session", m.ID, m.Status)
		}
	}
	return nil
}

// Who was banned, or kicked and not let in again, has no place.
func outcasts(s *room.State) error {
	for _, m := range s.Members {
		if rec := s.Record(m.Subject); rec.Banned || rec.Kicked != nil {
			return fmt.Errorf("%q has a place and is remembered as %+v", m.Subject, rec)
		}
	}
	return nil
}

// A record says something, and there is one for a subject.
func records(s *room.State) error {
	for i, r := range s.Records {
		if r.Subject == "" || i > 0 && s.Records[i-1].Subject >= r.Subject {
			return fmt.Errorf("the record of %q is out of order", r.Subject)
		}
		if r.Kicked == nil && !r.Banned && !r.Muted && !r.ChatMuted && !r.Audience {
			return fmt.Errorf("the record of %q says nothing", r.Subject)
		}
	}
	return nil
}

// A link has as many uses at least as members that are on their way in by it.
func invites(s *room.State) error {
	coming := map[string]int{}
	for _, m := range s.Members {
		if m.Invite != "" && m.Entered == nil {
			coming[m.Invite]++
		}
	}
	for i, u := range s.Invites {
		if u.Uses < max(1, coming[u.ID]) || i > 0 && s.Invites[i-1].ID >= u.ID {
			return fmt.Errorf("invitation %+v, with %d on their way in", u, coming[u.ID])
		}
	}
	return nil
}

// Before the first member has entered nobody but the owner has a place; it exists from
// the owner's association.
func latch(s *room.State) error {
	if s.ActivatedAt != nil {
		return when(s.Phase == room.Prepared, "the room is activated and %s", s.Phase)
	}
	for _, m := range s.Members {
		associated := m.Status == room.Associated && s.Phase == room.Opened
		if m.Subject != s.Settings.Owner || m.Entered != nil || s.Phase != room.Sealed && associated != (m.Status == room.Associated) {
			return fmt.Errorf("the room is %s, and member %d of %q is %s", s.Phase, m.ID, m.Subject, m.Status)
		}
	}
	return when(s.Phase == room.Opened && len(s.Members) == 0, "the room is open before its owner associated")
}

// It is known since when an activated room is empty.
func emptiness(s *room.State) error {
	empty := s.ActivatedAt != nil && s.Phase != room.Closed && len(s.Members) == 0
	return when(empty != (s.EmptySince != nil), "a %s room with %d members is empty since %v", s.Phase, len(s.Members), s.EmptySince)
}

// Nobody is in a closed room.
func ended(s *room.State) error {
	return when(s.Phase == room.Closed && len(s.Members)+len(s.Mics) > 0, "the room is closed with %d members and %d microphones", len(s.Members), len(s.Mics))
}

// Timely checks that nothing is in a state whose time is over: no place, turn, raised hand,
// question to speak or link.
func Timely(s *room.State, now time.Time) error {
	over := func(t *time.Time) bool { return t != nil && !now.Before(*t) }
	for _, m := range s.Members {
		if over(m.Deadline) || over(m.AskedUntil) || m.Hand != nil && over(&m.Hand.Until) {
			return fmt.Errorf("it is %v, and there is member %+v", now, m)
		}
	}
	for _, mic := range s.Mics {
		if over(mic.Until) {
			return fmt.Errorf("it is %v, and there is microphone %+v", now, mic)
		}
	}
	for _, u := range s.Invites {
		if over(&u.Until) && s.Phase != room.Closed {
			return fmt.Errorf("it is %v, and link %+v is remembered", now, u)
		}
	}
	return nil
}

// Versions are dense: every event has the next one of its epoch.
func dense(before, after *room.State, events []room.Event) error {
	for i, e := range events {
		if want := before.Seq + 1 + uint64(i); e.Seq != want || e.Epoch != before.Epoch {
			return fmt.Errorf("event %d of epoch %d comes as %d of epoch %d", want, before.Epoch, e.Seq, e.Epoch)
		}
	}
	return when(after.Seq != before.Seq+uint64(len(events)) || after.Epoch != before.Epoch, "%d events lead from %d to %d", len(events), before.Seq, after.Seq)
}

// The state before and the events are the state after.
func reproduces(before, after *room.State, events []room.Event) error {
	replica := before.Clone()
	for _, e := range events {
		if !replica.Apply(e) {
			return fmt.Errorf("event %d does not follow %d", e.Seq, replica.Seq)
		}
	}
	return equal(replica, after)
}

func equal(want, got *room.State) error {
	if reflect.DeepEqual(want, got) {
		return nil
	}
	w, g := reflect.ValueOf(*want), reflect.ValueOf(*got)
	var broken []error
	for i := range w.NumField() {
		if a, b := w.Field(i).Interface(), g.Field(i).Interface(); !reflect.DeepEqual(a, b) {
			broken = append(broken, fmt.Errorf("%s are %+v, not %+v", w.Type().Field(i).Name, b, a))
		}
	}
	return errors.Join(broken...)
}

// Who is shown the public part alone, of a state and of the events after it, has the
// public part of the state after them.
func followed(before, after *room.State, events []room.Event) error {
	follower, want := before.Public(), after.Public()
	for _, e := range events {
		if !follower.Apply(e.Public()) {
			return fmt.Errorf("the public event %d does not follow %d", e.Seq, follower.Seq)
		}
	}
	follower.LastMember, follower.LastGrant = 0, 0
	if len(follower.Members)+len(want.Members) == 0 {
		follower.Members, want.Members = nil, nil
	}
	if err := equal(want, follower); err != nil {
		return fmt.Errorf("who follows the public events does not have the public state: %w", err)
	}
	return nil
}

// Members and microphones never grow beyond what may exist; where a cap was lowered, they
// do not grow at all.
func caps(before, after *room.State, _ []room.Event) error {
	most := after.Settings
	return errors.Join(
		when(len(after.Members) > max(len(before.Members), most.MaxMembers), "members grew to %d of %d", len(after.Members), most.MaxMembers),
		when(len(after.Mics) > max(len(before.Mics), most.MaxMics), "microphones grew to %d of %d", len(after.Mics), most.MaxMics))
}

// Every version on the way is one that clients may be shown: one host and one microphone
// for each at most.
func versions(before, _ *room.State, events []room.Event) error {
	replica := before.Clone()
	for _, e := range events {
		replica.Apply(e)
		if err := errors.Join(microphones(replica), hosts(replica), lockedIndexesEmpty(replica)); err != nil {
			return fmt.Errorf("at version %d: %w", e.Seq, err)
		}
	}
	return nil
}

// A holder's grant stays as long as it is on that microphone without a break, and each new
// one is higher than all before.
func grants(before, after *room.State, _ []room.Event) error {
	var highest uint64
	for _, mic := range before.Mics {
		highest = max(highest, mic.Grant)
	}
	for _, mic := range after.Mics {
		was, on := before.Mic(mic.Member)
		stays := on && was.Index == mic.Index && was.Grant == mic.Grant
		if !stays && mic.Grant <= highest {
			return fmt.Errorf("%+v has an old grant; the highest was %d", mic, highest)
		}
	}
	return nil
}

// Who comes in gets a higher number than all who were here.
func newcomers(before, after *room.State, _ []room.Event) error {
	var highest uint32
	for _, m := range before.Members {
		highest = max(highest, m.ID)
	}
	for _, m := range after.Members {
		if was, here := before.Member(m.ID); here && was.Subject != m.Subject || !here && m.ID <= highest {
			return fmt.Errorf("member %d of %q has another's number", m.ID, m.Subject)
		}
	}
	return nil
}

// Activation is a latch: it never turns back, and never changes its moment. Nor does the end.
func latched(before, after *room.State, _ []room.Event) error {
	was, is := before.ActivatedAt, after.ActivatedAt
	return errors.Join(
		when(was != nil && (is == nil || !is.Equal(*was)), "activated at %v, then at %v", was, is),
		when(before.Phase == room.Closed && after.Phase != room.Closed, "a closed room is %s", after.Phase),
		when(before.Phase == room.Sealed && after.Phase != room.Sealed && after.Phase != room.Closed, "a sealed room is %s", after.Phase))
}

// Who left has no microphone any more, and it is said why it left.
func gone(_, after *room.State, events []room.Event) error {
	for _, e := range events {
		if e.Type != room.EventLeft {
			continue
		}
		if _, on := after.Mic(e.Member.ID); on || e.Reason == "" {
			return fmt.Errorf("member %d left (%q) and is on a microphone: %t", e.Member.ID, e.Reason, on)
		}
	}
	return nil
}

// The next epoch goes on with who had entered, with the same numbers and microphones, and
// forgets nothing of what was decided about anybody.
func goesOn(old, next *room.State) error {
	for _, m := range next.Members {
		if was, here := old.Member(m.ID); !here || was.Subject != m.Subject || was.Entered == nil || m.Status != room.Held {
			return fmt.Errorf("the new epoch has member %+v, who was %+v", m, was)
		}
	}
	for _, mic := range next.Mics {
		if was, on := old.Mic(mic.Member); !on || was.Grant != mic.Grant {
			return fmt.Errorf("the new epoch has microphone %+v, which was %+v", mic, was)
		}
	}
	for _, rec := range old.Records {
		if is := next.Record(rec.Subject); rec.Muted != is.Muted || rec.ChatMuted != is.ChatMuted {
			return fmt.Errorf("the new epoch remembers %+v, not %+v", is, rec)
		}
	}
	if next.LastMember < old.LastMember || next.LastGrant < old.LastGrant {
		return fmt.Errorf("the new epoch counts from member %d and grant %d, not %d and %d", next.LastMember, next.LastGrant, old.LastMember, old.LastGrant)
	}
	return when((old.ActivatedAt == nil) != (next.ActivatedAt == nil), "activated at %v, and in the new epoch at %v", old.ActivatedAt, next.ActivatedAt)
}
