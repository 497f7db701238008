package room

import (
	"slices"
	"time"
)

func (c Open) apply(r *Room, now time.Time, _ Actor) error {
	m, err := r.member(c.Session)
	if err != nil {
		return err
	}
	deadline := now.Add(ConnectTTL)
	if j, ok := r.taker(m, c.Session); ok {
		if j.opened {
			return refuse(TokenReplayed, "this token was used already")
		}
		r.spent.add(c.Session, now)
		j.opened, j.deadline, j.keys = true, deadline, withKey(j.keys, c.Key)
		r.keepRejoin(m, j)
		return nil
	}
	if m.Status != Reserved {
		return refuse(TokenReplayed, "this token was used already")
	}
	r.spent.add(c.Session, now)
	m.Status, m.Deadline, m.Keys = Connecting, &deadline, withKey(m.Keys, c.Key)
	r.setMember(m)
	return nil
}

func withKey(keys []string, key string) []string {
	if key == "" || slices.Contains(keys, key) {
		return keys
	}
	return append(slices.Clone(keys), key)
}

func (c Associate) apply(r *Room, now time.Time, _ Actor) error {
	m, err := r.member(c.Session)
	if err != nil {
		return err
	}
	if j, ok := r.taker(m, c.Session); ok {
		if !j.opened {
			return refuse(NotAssociated, "the session was not opened")
		}
		r.takeOver(m, j)
		return nil
	}
	switch m.Status {
	case Associated, Entered:
		return nil
	case Connecting:
	default:
		return refuse(NotAssociated, "the session was not opened")
	}
	deadline := now.Add(ConfirmTTL)
	m.Status, m.Deadline = Associated, &deadline
	r.setMember(m)
	if m.Subject == r.state.Settings.Owner && r.state.Phase == Prepared {
		r.setSummary(func(s *Summary) { s.Phase = Opened })
	}
	return nil
}

// takeOver moves a member that had entered onto its new session. Chat has it
// already: it goes on at once, on the microphone it had.
func (r *Room) takeOver(m Member, j rejoin) {
	delete(r.rejoining, m.ID)
	delete(r.bySession, m.Session)
	m.Session, m.Status, m.Deadline, m.Keys = j.session, Entered, nil, j.keys
	if j.name != "" {
		m.Name = j.name
	}
	r.setMember(m)
}

func (c Enter) apply(r *Room, now time.Time, _ Actor) error {
	m, err := r.member(c.Session)
	if err != nil {
		return err
	}
	_, rejoins := r.taker(m, c.Session)
	switch {
	case rejoins, m.Status != Associated && m.Status != Entered:
		return refuse(NotAssociated, "the media connection does not stand")
	case m.Status == Entered:
		return nil
	}
	first := r.state.ActivatedAt == nil
	m.Status, m.Deadline, m.Entered = Entered, nil, &now
	r.setMember(m)
	delete(r.origins, m.ID)
	if first {
		r.setSummary(func(s *Summary) { s.Phase, s.ActivatedAt = Opened, &now })
	}
	if first || (r.state.Settings.MicPolicy == Auto && m.Role != Audience) {
		if i, err := r.freeIndex(); err == nil {
			mic := r.newMic(m, i)
			mic.Muted = r.state.Settings.MuteOnEntry && !m.Role.moderates()
			r.setMic(mic)
		}
	}
	return nil
}

func (c Fail) apply(r *Room, _ time.Time, _ Actor) error {
	m, err := r.member(c.Session)
	if err != nil {
		return err
	}
	if _, ok := r.taker(m, c.Session); ok {
		r.dropRejoin(m.ID)
		return nil
	}
	if m.visible() {
		return refuse(BadCommand, "the session has entered; it can leave")
	}
	why := c.Reason
	if why == "" {
		why = Failed
	}
	r.remove(m, why)
	return nil
}

func (c Lost) apply(r *Room, now time.Time, by Actor) error {
	m, err := r.member(c.Session)
	if err != nil {
		return err
	}
	if _, ok := r.taker(m, c.Session); ok || m.Status != Entered {
		return Fail{Session: c.Session}.apply(r, now, by)
	}
	deadline := now.Add(AwayTTL)
	m.Status, m.Deadline = Away, &deadline
	r.setMember(m)
	return nil
}

func (c Leave) apply(r *Room, _ time.Time, by Actor) error {
	session := c.Session
	switch {
	case by == Control:
	case session == "" || session == by.Session:
		session = by.Session
	default:
		return refuse(NotAllowed, "you can only leave for yourself")
	}
	m, err := r.member(session)
	if err != nil {
		return err
	}
	if _, ok := r.taker(m, session); ok { // another client has the place, and keeps it
		r.dropRejoin(m.ID)
		return nil
	}
	r.remove(m, Left)
	return nil
}

func (c RevokeKeys) apply(r *Room, now time.Time, _ Actor) error {
	revoked := func(keys []string) bool {
		return slices.ContainsFunc(keys, func(k string) bool { return slices.Contains(c.Keys, k) })
	}
	for member, j := range r.rejoining {
		if revoked(j.keys) {
			r.dropRejoin(member)
		}
	}
	for _, m := range slices.Clone(r.state.Members) {
		switch {
		case !revoked(m.Keys):
		case m.visible():
			r.expel(m, now)
		default:
			r.remove(m, KeyRevoked)
		}
	}
	return nil
}

// expel ends a member's session but keeps its place for a grace.
func (r *Room) expel(m Member, now time.Time) {
	delete(r.bySession, m.Session)
	m.Session, m.Keys = "", nil
	if m.Status != Held {
		deadline := now.Add(AwayTTL)
		m.Status, m.Deadline = Away, &deadline
	}
	r.emit(Event{Type: EventMember, Member: &m, Reason: KeyRevoked})
}

func (c Rename) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.commander(by)
	if err != nil {
		return err
	}
	if c.Name == "" {
		return refuse(BadCommand, "a name must not be empty")
	}
	if err := CheckName(c.Name); err != nil {
		return err
	}
	if m.Name != c.Name {
		m.Name = c.Name
		r.setMember(m)
	}
	return nil
}
