package room

import (
	"maps"
	"slices"
	"time"
)

func (c SetSpec) apply(r *Room, now time.Time, _ Actor) error {
	has, next := r.state.Settings.Spec.Generation, c.Spec.Generation
	switch {
	case next < has:
		return refuse(StaleSpec, "generation %d is older than %d", next, has)
	case next > has:
		r.follow(c.Spec, now)
	}
	return nil
}

// follow applies what differs between the last intent and the next.
func (r *Room) follow(next Spec, now time.Time) {
	settings := r.state.Settings
	old := *settings.Spec
	r.setSettings(func(s *Settings) {
		s.Generation = next.Generation
		change(&s.DisplayName, old.DisplayName, next.DisplayName)
		change(&s.MaxMembers, old.MaxMembers, next.MaxMembers)
		change(&s.MaxMics, old.MaxMics, next.MaxMics)
		change(&s.Access, old.Access, next.Access)
		change(&s.MicPolicy, old.MicPolicy, next.MicPolicy)
		change(&s.Duplicates, old.Duplicates, next.Duplicates)
		change(&s.Audience, old.Audience, next.Audience)
		change(&s.MuteOnEntry, old.MuteOnEntry, next.MuteOnEntry)
		change(&s.SpeakingSeconds, old.SpeakingSeconds, next.SpeakingSeconds)
		change(&s.Announcement, old.Announcement, next.Announcement)
		if !maps.Equal(old.Metadata, next.Metadata) {
			s.Metadata = maps.Clone(next.Metadata)
		}
		s.Moderators = changeSet(s.Moderators, old.Moderators, next.Moderators)
		s.Spec = &next
	})
	r.followBans(old, next, now)
	r.followModerators(old, next)
	r.followAccess(settings)
	r.followTurns(settings)
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

// followBans throws out whom the new spec bans, and lets in whom it does not any more.
func (r *Room) followBans(old, next Spec, now time.Time) {
	for _, subject := range next.Banned {
		if slices.Contains(old.Banned, subject) {
			continue
		}
		if id, ok := r.bySubject[subject]; ok {
			m, _ := r.state.Member(id)
			r.throwOut(m, true, now)
			continue
		}
		r.remember(subject, func(rec *Record) { rec.Banned = true })
	}
	for _, subject := range old.Banned {
		if !slices.Contains(next.Banned, subject) {
			r.remember(subject, func(rec *Record) { rec.Banned, rec.Kicked = false, nil })
		}
	}
}

// followModerators gives members the roles that the new spec changed.
func (r *Room) followModerators(old, next Spec) {
	for _, m := range slices.Clone(r.state.Members) {
		was, is := slices.Contains(old.Moderators, m.Subject), slices.Contains(next.Moderators, m.Subject)
		switch {
		case was == is || m.Role == Host || m.Subject == r.state.Settings.Owner:
		case is:
			r.setRole(m, CoHost)
		case m.Role == CoHost:
			r.setRole(m, Speaker)
		}
	}
}

func (c Renew) apply(r *Room, _ time.Time, _ Actor) error {
	maps.DeleteFunc(r.freed, func(_ string, left uint64) bool { return left <= c.Durable })
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
