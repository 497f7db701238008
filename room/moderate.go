package room

import "time"

// moderator checks that by may command others, and says as what.
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

// target returns the member that a moderator acts on.
func (r *Room) target(by Actor, id uint32) (Member, error) {
	role, err := r.moderator(by)
	if err != nil {
		return Member{}, err
	}
	m, ok := r.state.Member(id)
	if !ok {
		return m, refuse(UnknownMember, "there is no member %d in the room", id)
	}
	return m, mayActOn(role, by, m)
}

// mayActOn keeps a co-host from acting on another moderator.
func mayActOn(role Role, by Actor, m Member) error {
	if m.Role.moderates() && role != Host && m.Session != by.Session {
		return refuse(NotAllowed, "a co-host cannot do this to a host or co-host")
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
	if err := r.sparesOwner(by, m); err != nil {
		return err
	}
	r.throwOut(m, c.Ban, now)
	return nil
}

// sparesOwner keeps members from taking the room from its owner, who may be no host now.
func (r *Room) sparesOwner(by Actor, m Member) error {
	if by != Control && m.Subject == r.state.Settings.Owner {
		return refuse(NotAllowed, "this is the room's owner")
	}
	return nil
}

// throwOut takes a member out who may not simply come back, and who is no co-host if it does.
func (r *Room) throwOut(m Member, ban bool, now time.Time) {
	why := IsKicked
	if ban {
		why = IsBanned
	}
	r.remember(m.Subject, func(rec *Record) { rec.Kicked, rec.Banned = &now, rec.Banned || ban })
	r.listModerator(m.Subject, false)
	r.remove(m, why)
}

func (c Unban) apply(r *Room, _ time.Time, by Actor) error {
	if _, err := r.moderator(by); err != nil {
		return err
	}
	for _, rec := range r.state.Records {
		named := rec.Subject == c.Subject || rec.Member == c.Member && c.Member != 0
		if named && (rec.Banned || rec.Kicked != nil) {
			r.remember(rec.Subject, func(rec *Record) { rec.Banned, rec.Kicked = false, nil })
			return nil
		}
	}
	if c.Subject == "" {
		return refuse(UnknownMember, "nobody who was member %d was removed", c.Member)
	}
	return nil
}

func (ResetInvites) apply(r *Room, now time.Time, by Actor) error {
	if _, err := r.moderator(by); err != nil {
		return err
	}
	r.setSettings(func(s *Settings) { s.InvitesSince = &now })
	r.turnBack(InviteVoid)
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
	if err := checkText("a message", c.Message); err != nil {
		return err
	}
	reason := c.Reason
	if by != Control || reason == "" {
		reason = "ClosedByModerator"
	}
	clear(r.bySession)
	clear(r.bySubject)
	clear(r.rejoining)
	clear(r.origins)
	r.setSummary(func(s *Summary) {
		s.Phase, s.CloseReason, s.CloseMessage, s.EmptySince = Closed, reason, c.Message, nil
	})
	return nil
}
