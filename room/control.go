package room

import (
	"slices"
	"time"
)

func (c SetSpec) apply(r *Room, now time.Time, _ Actor) error {
	old, next := *r.state.Settings.Spec, c.Spec
	switch {
	case next.Generation < old.Generation:
		return refuse(StaleSpec, "generation %d is older than %d", next.Generation, old.Generation)
	case next.Generation == old.Generation:
		return nil
	}
	s := r.state.Settings
	s.Generation = next.Generation
	change(&s.DisplayName, old.DisplayName, next.DisplayName)
	change(&s.MaxMembers, old.MaxMembers, next.MaxMembers)
	change(&s.MaxMics, old.MaxMics, next.MaxMics)
	change(&s.Access, old.Access, next.Access)
	change(&s.MicPolicy, old.MicPolicy, next.MicPolicy)
	if !slices.Equal(old.Moderators, next.Moderators) {
		s.Moderators = slices.Clone(next.Moderators)
	}
	s.Banned = changeSet(s.Banned, old.Banned, next.Banned)
	s.Spec = &next
	r.setSettings(s)
	r.followSpec(old, next, now)
	return nil
}

// change sets a value whose intent changed; one that did not stays as moderators left it.
func change[T comparable](value *T, old, next T) {
	if old != next {
		*value = next
	}
}

// changeSet applies what was added to and taken from the intent.
func changeSet(set, old, next []string) []string {
	set = slices.DeleteFunc(slices.Clone(set), func(s string) bool { return slices.Contains(old, s) && !slices.Contains(next, s) })
	for _, s := range next {
		if !slices.Contains(old, s) && !slices.Contains(set, s) {
			set = append(set, s)
		}
	}
	return set
}

// followSpec throws out who the new spec bans and gives roles that it changed.
func (r *Room) followSpec(old, next Spec, now time.Time) {
	for _, m := range slices.Clone(r.state.Members) {
		if slices.Contains(next.Banned, m.Subject) && !slices.Contains(old.Banned, m.Subject) {
			r.kick(m.Subject, now)
			r.remove(m, IsBanned)
			continue
		}
		was, is := slices.Contains(old.Moderators, m.Subject), slices.Contains(next.Moderators, m.Subject)
		if was != is && m.Role != Host {
			m.Role = Speaker
			if is {
				m.Role = CoHost
			}
			r.setMember(m)
		}
	}
}

func (c Renew) apply(r *Room, _ time.Time, _ Actor) error {
	if c.Until.After(r.lease) {
		r.lease = c.Until
	}
	return nil
}

func (ReleaseHeld) apply(r *Room, now time.Time, _ Actor) error {
	r.strangers = time.Time{}
	deadline := now.Add(AwayTTL)
	for _, m := range slices.Clone(r.state.Members) {
		if m.Status == Held && m.Deadline.After(deadline) {
			m.Deadline = &deadline
			r.setMember(m)
		}
	}
	return nil
}

func (Seal) apply(r *Room, _ time.Time, _ Actor) error {
	if r.state.Phase != Sealed {
		r.setSummary(func(s *Summary) { s.Phase = Sealed })
	}
	return nil
}

func (Tick) apply(r *Room, now time.Time, _ Actor) error {
	for s, j := range r.rejoining {
		if !now.Before(j.deadline) {
			delete(r.rejoining, s)
			delete(r.bySession, s)
		}
	}
	for _, m := range slices.Clone(r.state.Members) {
		if m.Deadline != nil && !now.Before(*m.Deadline) {
			r.remove(m, Expired)
		}
	}
	return nil
}
