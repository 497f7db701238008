package room

import (
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
)

func (c Reserve) apply(r *Room, now time.Time, _ Actor) error {
	if err := c.check(r); err != nil {
		return err
	}
	if slices.Contains(r.state.Settings.Banned, c.Subject) {
		return refuse(IsBanned, "you are banned from this room")
	}
	if at, ok := r.state.Settings.Kicked[c.Subject]; ok && !c.InvitedAt.After(at) {
		return refuse(IsKicked, "you were removed from this room; a moderator must invite you again")
	}
	if id, ok := r.bySubject[c.Subject]; ok {
		m, _ := r.state.Member(id)
		r.reserveAgain(m, c, now)
		return nil
	}
	if err := c.admit(r, now); err != nil {
		return err
	}
	r.forgive(c.Subject)
	r.reserveNew(c, now)
	return nil
}

func (c Reserve) check(r *Room) error {
	switch {
	case c.Subject == "" || c.Session == "":
		return refuse(BadCommand, "a reservation needs a subject and a session")
	case r.Knows(c.Session):
		return refuse(BadCommand, "this session exists already")
	}
	return checkName(c.Name)
}

// checkName refuses what would break a roster on somebody's screen.
func checkName(name string) error {
	bad := func(c rune) bool { return !unicode.IsGraphic(c) || unicode.Is(unicode.Bidi_Control, c) }
	if len(name) > MaxName || !utf8.ValidString(name) || slices.ContainsFunc([]rune(name), bad) {
		return refuse(BadCommand, "a name is at most %d bytes of printable text", MaxName)
	}
	return nil
}

// admit decides whether a stranger may have a place.
func (c Reserve) admit(r *Room, now time.Time) error {
	s := &r.state
	trusted := c.Subject == s.Settings.Owner || slices.Contains(s.Settings.Moderators, c.Subject)
	switch {
	case s.ActivatedAt == nil && c.Subject != s.Settings.Owner:
		return refuse(NotOpenYet, "the room's owner has not come in yet")
	case !now.Before(r.lease) || now.Before(r.strangers):
		return refuse(Frozen, "the room cannot take newcomers for a moment; ask again")
	case s.Settings.Access == Locked && !trusted:
		return refuse(RoomLocked, "the room is locked")
	case s.Settings.Access == InviteOnly && !trusted && c.InvitedAt.IsZero():
		return refuse(InviteRequired, "this room needs an invitation")
	case len(s.Members) >= s.Settings.MaxMembers:
		return refuse(RoomFull, "the room is full: %d of %d", len(s.Members), s.Settings.MaxMembers)
	case c.Guest && r.guestsFrom(c.Origin) >= GuestPlaces:
		return refuse(TooMany, "too many guests from this address are about to join")
	}
	return nil
}

// guestsFrom counts an address's guests that have not entered.
func (r *Room) guestsFrom(origin string) int {
	n := 0
	for id, o := range r.origins {
		if m, ok := r.state.Member(id); ok && o == origin && !m.visible() {
			n++
		}
	}
	return n
}

func (c Reserve) ttl() time.Duration {
	if c.Guest {
		return GuestTTL
	}
	return ReservationTTL
}

func (r *Room) reserveNew(c Reserve, now time.Time) {
	deadline := now.Add(c.ttl())
	m := Member{ID: r.nextMember, Subject: c.Subject, Session: c.Session, Name: c.Name, Role: r.roleOf(c.Subject, c.Role),
		Status: Reserved, Deadline: &deadline}
	r.nextMember++
	r.bySubject[m.Subject], r.bySession[m.Session] = m.ID, m.ID
	if c.Guest {
		r.origins[m.ID] = c.Origin
	}
	r.setMember(m)
}

// reserveAgain gives a subject that has a place a new session for it. One that has
// entered keeps its connection until the new one stands.
func (r *Room) reserveAgain(m Member, c Reserve, now time.Time) {
	r.dropRejoin(m.ID)
	r.bySession[c.Session] = m.ID
	if m.visible() {
		r.rejoining[c.Session] = rejoin{deadline: now.Add(c.ttl()), name: c.Name}
		return
	}
	delete(r.bySession, m.Session)
	deadline := now.Add(c.ttl())
	m.Session, m.Status, m.Deadline = c.Session, Reserved, &deadline
	if c.Name != "" {
		m.Name = c.Name
	}
	r.setMember(m)
	r.unopen(m)
}

// roleOf caps an asked role at Speaker unless the room's spec lists the subject.
func (r *Room) roleOf(subject string, asked Role) Role {
	switch {
	case subject == r.state.Settings.Owner:
		return Host
	case slices.Contains(r.state.Settings.Moderators, subject) && asked != Audience:
		return CoHost
	case asked == Audience:
		return Audience
	}
	return Speaker
}

func (c Open) apply(r *Room, now time.Time, _ Actor) error {
	m, err := r.member(c.Session)
	if err != nil {
		return err
	}
	if j, ok := r.rejoining[c.Session]; ok {
		if j.opened {
			return refuse(TokenReplayed, "this token was used already")
		}
		j.opened, j.deadline = true, now.Add(ConnectTTL)
		r.rejoining[c.Session] = j
		return nil
	}
	if m.Status != Reserved {
		return refuse(TokenReplayed, "this token was used already")
	}
	deadline := now.Add(ConnectTTL)
	m.Status, m.Deadline = Connecting, &deadline
	r.setMember(m)
	return nil
}

func (c Associate) apply(r *Room, now time.Time, _ Actor) error {
	m, err := r.member(c.Session)
	if err != nil {
		return err
	}
	if j, ok := r.rejoining[c.Session]; ok {
		r.takeOver(m, c.Session, j)
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
func (r *Room) takeOver(m Member, session string, j rejoin) {
	delete(r.rejoining, session)
	delete(r.bySession, m.Session)
	m.Session, m.Status, m.Deadline = session, Entered, nil
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
	_, rejoins := r.rejoining[c.Session]
	switch {
	case rejoins, m.Status != Associated && m.Status != Entered:
		return refuse(NotAssociated, "the media connection does not stand")
	case m.Status == Entered:
		return nil
	}
	first := r.state.ActivatedAt == nil
	m.Status, m.Deadline, m.Entered = Entered, nil, &now
	r.setMember(m)
	if first {
		r.setSummary(func(s *Summary) { s.Phase, s.ActivatedAt = Opened, &now })
	}
	if first || (r.state.Settings.MicPolicy == Auto && m.Role != Audience) {
		if i, ok := r.freeIndex(); ok {
			r.grant(m.ID, i)
		}
	}
	return nil
}

func (c Fail) apply(r *Room, _ time.Time, _ Actor) error {
	m, err := r.member(c.Session)
	if err != nil {
		return err
	}
	if _, ok := r.rejoining[c.Session]; ok {
		delete(r.rejoining, c.Session)
		delete(r.bySession, c.Session)
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
	if _, ok := r.rejoining[c.Session]; ok || m.Status != Entered {
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
	r.remove(m, Left)
	return nil
}
