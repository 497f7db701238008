package room

import (
	"maps"
	"slices"
	"time"
)

// moderator checks that by may command others.
func (r *Room) moderator(by Actor) (Role, error) {
	if by == Control {
		return Host, nil
	}
	m, err := r.commander(by)
	if err != nil {
		return "", err
	}
	if !m.Role.moderates() {
		return "", refuse(NotAllowed, "only a host or co-host may do this")
	}
	return m.Role, nil
}

// target returns the member that a moderator acts on. A co-host cannot act on
// another moderator.
func (r *Room) target(by Actor, id uint32) (Member, error) {
	role, err := r.moderator(by)
	if err != nil {
		return Member{}, err
	}
	m, ok := r.state.Member(id)
	switch {
	case !ok:
		return m, refuse(UnknownMember, "there is no member %d in the room", id)
	case m.Role.moderates() && role != Host && m.Session != by.Session:
		return m, refuse(NotAllowed, "a co-host cannot do this to a host or co-host")
	}
	return m, nil
}

func (c GiveMic) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.target(by, c.Member)
	if err != nil {
		return err
	}
	if m.Status != Entered {
		return refuse(NotEntered, "that member is not connected")
	}
	return r.place(m, c.Index)
}

func (c PullMic) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.target(by, c.Member)
	if err != nil {
		return err
	}
	if _, on := r.micOf(m.ID); !on {
		return refuse(NotOnMic, "that member is not on a microphone")
	}
	r.dropMic(m.ID, PulledDown)
	return nil
}

func (c MuteMember) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.target(by, c.Member)
	if err != nil {
		return err
	}
	mic, on := r.micOf(m.ID)
	if !on {
		return refuse(NotOnMic, "that member is not on a microphone")
	}
	if mic.ModMuted != c.Muted {
		mic.ModMuted = c.Muted
		r.emit(Event{Type: EventMic, Mic: &mic})
	}
	return nil
}

func (c LowerHand) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.target(by, c.Member)
	if err != nil {
		return err
	}
	if m.HandAt != nil {
		m.HandAt = nil
		r.setMember(m)
	}
	return nil
}

func (c Kick) apply(r *Room, now time.Time, by Actor) error {
	m, err := r.target(by, c.Member)
	if err != nil {
		return err
	}
	if m.Session != "" && m.Session == by.Session {
		return refuse(BadCommand, "you cannot remove yourself; leave instead")
	}
	r.kick(m.Subject, now)
	if c.Ban {
		r.ban(m.Subject)
		r.remove(m, IsBanned)
		return nil
	}
	r.remove(m, IsKicked)
	return nil
}

// kick keeps a subject out until it is invited again.
func (r *Room) kick(subject string, now time.Time) {
	s := r.state.Settings
	s.Kicked = maps.Clone(s.Kicked)
	if s.Kicked == nil {
		s.Kicked = map[string]time.Time{}
	}
	s.Kicked[subject] = now
	r.setSettings(s)
}

func (r *Room) forgive(subject string) {
	if _, ok := r.state.Settings.Kicked[subject]; ok {
		s := r.state.Settings
		s.Kicked = maps.Clone(s.Kicked)
		delete(s.Kicked, subject)
		r.setSettings(s)
	}
}

func (r *Room) ban(subject string) {
	if !slices.Contains(r.state.Settings.Banned, subject) {
		s := r.state.Settings
		s.Banned = append(slices.Clone(s.Banned), subject)
		r.setSettings(s)
	}
}

func (c Unban) apply(r *Room, _ time.Time, by Actor) error {
	if _, err := r.moderator(by); err != nil {
		return err
	}
	r.forgive(c.Subject)
	if i := slices.Index(r.state.Settings.Banned, c.Subject); i >= 0 {
		s := r.state.Settings
		s.Banned = slices.Delete(slices.Clone(s.Banned), i, i+1)
		r.setSettings(s)
	}
	return nil
}

func (c SetAccess) apply(r *Room, _ time.Time, by Actor) error {
	if _, err := r.moderator(by); err != nil {
		return err
	}
	switch c.Access {
	case Public, InviteOnly, Locked:
	default:
		return refuse(BadCommand, "access is Public, InviteOnly or Locked")
	}
	if r.state.Settings.Access != c.Access {
		s := r.state.Settings
		s.Access = c.Access
		r.setSettings(s)
	}
	return nil
}

func (c Close) apply(r *Room, _ time.Time, by Actor) error {
	role, err := r.moderator(by)
	if err != nil {
		return err
	}
	if role != Host {
		return refuse(NotAllowed, "only the host may close the room")
	}
	reason := c.Reason
	if by != Control || reason == "" {
		reason = "ClosedByModerator"
	}
	clear(r.bySession)
	clear(r.bySubject)
	clear(r.rejoining)
	clear(r.origins)
	r.setSummary(func(s *Summary) { s.Phase, s.CloseReason, s.EmptySince = Closed, reason, nil })
	return nil
}
