package room

import (
	"cmp"
	"slices"
	"time"
)

func (c SetRole) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.target(by, c.Member)
	if err != nil {
		return err
	}
	as, _ := r.moderator(by)
	switch {
	case c.Role != CoHost && c.Role != Speaker && c.Role != Audience:
		return refuse(BadCommand, "a role is co-host, speaker or audience; the host is changed by transfer-host")
	case m.Role == c.Role:
		return nil
	case m.Role == Host:
		return refuse(BadCommand, "the host hands its role on by transfer-host")
	case c.Role == CoHost && as != Host:
		return refuse(NotAllowed, "only the host may make co-hosts")
	case c.Role == CoHost && len(r.state.Settings.Moderators) >= MaxModerators:
		return refuse(BadCommand, "a room has at most %d co-hosts", MaxModerators)
	}
	if err := r.sparesOwner(by, m); err != nil {
		return err
	}
	r.listModerator(m.Subject, c.Role == CoHost)
	if c.Role == Audience {
		r.dropMic(m.ID, PulledDown)
	}
	r.setRole(m, c.Role)
	return nil
}

// listModerator makes a subject come in as a co-host, or not.
func (r *Room) listModerator(subject string, listed bool) {
	if slices.Contains(r.state.Settings.Moderators, subject) == listed {
		return
	}
	r.setSettings(func(s *Settings) {
		if s.Moderators = slices.Clone(s.Moderators); listed {
			s.Moderators = append(s.Moderators, subject)
			return
		}
		s.Moderators = slices.DeleteFunc(s.Moderators, func(o string) bool { return o == subject })
	})
}

// setRole gives a member a role, and remembers who was pulled down to the audience.
func (r *Room) setRole(m Member, role Role) {
	if down := role == Audience; r.state.Record(m.Subject).Audience != down {
		r.remember(m.Subject, func(rec *Record) { rec.Audience = down })
	}
	if m.Role = role; role == Audience {
		m.AskedUntil = nil // it was asked before
	}
	r.setMember(m)
	mic, on := r.state.Mic(m.ID)
	if until := r.turn(m); on && (until == nil) != (mic.Until == nil) { // moderators' turns have no end
		mic.Until = until
		r.setMic(mic)
	}
}

func (c TransferHost) apply(r *Room, _ time.Time, by Actor) error {
	if by != Control {
		as, err := r.commander(by)
		if err != nil {
			return err
		}
		if as.Role != Host && as.Subject != r.state.Settings.Owner {
			return refuse(NotAllowed, "only the host or the room's owner may do this")
		}
	}
	m, ok := r.state.Member(c.Member)
	switch {
	case !ok:
		return refuse(UnknownMember, "there is no member %d in the room", c.Member)
	case m.Status != Entered:
		return refuse(NotEntered, "that member is not connected")
	case m.Role == Host:
		return nil
	}
	r.makeHost(m)
	return nil
}

// makeHost makes a member the host. Who was it becomes a co-host, now or when it comes back;
// if there are as many as may be, a speaker.
func (r *Room) makeHost(m Member) {
	old := r.state.Settings.Host
	out := r.state.Record(old)
	listed := old == r.state.Settings.Owner || slices.Contains(r.state.Settings.Moderators, old)
	list := !listed && !out.Banned && out.Kicked == nil && len(r.state.Settings.Moderators) < MaxModerators
	if id, ok := r.bySubject[old]; ok {
		was, _ := r.state.Member(id)
		role := Speaker
		if listed || list {
			role = CoHost
		}
		r.setRole(was, role)
	}
	r.setSettings(func(s *Settings) {
		s.Host, s.HostGone = m.Subject, nil
		if list {
			s.Moderators = append(slices.Clone(s.Moderators), old)
		}
	})
	r.setRole(m, Host)
}

// successor is who becomes the host when the host is gone for too long: of those that are
// connected the co-host, else the speaker, that has been here longest.
func (r *Room) successor() (Member, bool) {
	var best Member
	for i := range r.state.Members {
		m := &r.state.Members[i]
		if !m.succeeds() {
			continue
		}
		if best.ID == 0 || cmp.Or(cmp.Compare(precedence(m.Role), precedence(best.Role)), m.Entered.Compare(*best.Entered)) < 0 {
			best = *m
		}
	}
	return best, best.ID != 0
}

// succeeds says whether the member may become the host without being asked.
func (m *Member) succeeds() bool {
	return m.Status == Entered && (m.Role == CoHost || m.Role == Speaker)
}

func precedence(role Role) int {
	if role == CoHost {
		return 0
	}
	return 1
}

// noteHost keeps HostGone, and makes somebody else the host when the grace is over.
func (r *Room) noteHost(now time.Time) {
	s := &r.state
	if s.ActivatedAt == nil || s.Phase != Opened {
		return
	}
	host, _ := s.Member(r.bySubject[s.Settings.Host])
	here := host.Role == Host && host.Status == Entered
	switch gone := s.Settings.HostGone; {
	case here && gone != nil:
		r.setSettings(func(s *Settings) { s.HostGone = nil })
	case !here && gone == nil:
		r.setSettings(func(s *Settings) { s.HostGone = &now })
	case !here && !now.Before(gone.Add(HostGrace)) && r.maySucceed(gone.Add(HostGrace)):
		if m, ok := r.successor(); ok {
			r.makeHost(m)
		}
	}
}

// maySucceed says whether there can be a successor, since the grace was over at due: there was
// none when it was looked for then, unless this command brought one.
func (r *Room) maySucceed(due time.Time) bool {
	return r.passed.Before(due) || slices.ContainsFunc(r.events, func(e Event) bool { return e.Type == EventMember && e.Member.succeeds() })
}
