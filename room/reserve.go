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
	rec := r.state.Record(c.Subject)
	switch {
	case rec.Banned:
		return refuse(IsBanned, "you are banned from this room")
	case rec.Kicked != nil && !c.pardons(*rec.Kicked):
		return refuse(IsKicked, "you were removed from this room; a moderator must let you in again")
	}
	if id, ok := r.bySubject[c.Subject]; ok {
		m, _ := r.state.Member(id)
		return r.reserveAgain(m, c, now)
	}
	if err := c.admit(r, now); err != nil {
		return err
	}
	if rec.Kicked != nil {
		r.remember(c.Subject, func(rec *Record) { rec.Kicked = nil })
	}
	r.reserveNew(c, now)
	return nil
}

func (c Reserve) check(r *Room) error {
	switch {
	case c.Subject == "" || c.Session == "":
		return refuse(BadCommand, "a reservation needs a subject and a session")
	case r.Knows(c.Session), r.spent.has(c.Session):
		return refuse(BadCommand, "there is such a session, or was")
	}
	return CheckName(c.Name)
}

// pardons says whether the subject was invited after it was thrown out. A link that
// was made for anybody pardons nobody: it would soon find its way to whom it must not.
func (c Reserve) pardons(kicked time.Time) bool {
	return c.InvitedAt.After(kicked) && (c.Invite == nil || c.Invite.Named)
}

// CheckName refuses, with an *Error, a display name that would break a roster on
// somebody's screen. An empty one is none.
func CheckName(name string) error {
	if len(name) > MaxName || !printable(name) {
		return refuse(BadCommand, "a name is at most %d bytes of printable text", MaxName)
	}
	return nil
}

func printable(text string) bool {
	bad := func(c rune) bool { return !unicode.IsGraphic(c) || unicode.Is(unicode.Bidi_Control, c) }
	return utf8.ValidString(text) && !slices.ContainsFunc([]rune(text), bad)
}

// admit decides whether a stranger may have a place.
func (c Reserve) admit(r *Room, now time.Time) error {
	s := &r.state
	switch {
	case s.ActivatedAt == nil && c.Subject != s.Settings.Owner:
		return refuse(NotOpenYet, "the room's owner has not come in yet")
	case !now.Before(r.lease) || now.Before(r.strangers):
		return refuse(Frozen, "the room cannot take newcomers for a moment; ask again")
	}
	if !r.trusts(c.Subject) {
		if err := c.suits(s.Settings.Access); err != nil {
			return err
		}
	}
	if err := r.honour(c, now); err != nil {
		return err
	}
	switch {
	case len(s.Members) >= s.Settings.MaxMembers:
		return refuse(RoomFull, "the room is full: %d of %d", len(s.Members), s.Settings.MaxMembers)
	case len(s.Members)+r.stillCounted(c.Subject) >= s.Settings.MaxMembers:
		return refuse(Frozen, "a place falls free in a moment; ask again")
	case c.Guest && r.guestsFrom(c.Origin) >= GuestPlaces:
		return refuse(TooMany, "too many guests from this address are about to join")
	}
	return nil
}

// trusts says whether the room's access does not concern a subject.
func (r *Room) trusts(subject string) bool {
	s := &r.state.Settings
	return subject == s.Owner || subject == s.Host || slices.Contains(s.Moderators, subject)
}

// turnBack takes the places of those who are on the way in under a rule that has changed. They
// may ask again, under the new one.
func (r *Room) turnBack(why Code) {
	for _, m := range slices.Clone(r.state.Members) {
		if !m.visible() && !r.trusts(m.Subject) {
			r.remove(m, why)
		}
	}
}

// suits refuses what the room's access does not let in.
func (c Reserve) suits(access Access) error {
	switch {
	case access == Locked:
		return refuse(RoomLocked, "the room is locked")
	case access == InviteOnly && c.InvitedAt.IsZero():
		return refuse(InviteRequired, "this room needs an invitation")
	}
	return nil
}

// stillCounted is how many have left whose leaving would be undone if the pod were lost now,
// and who have no place any more. newcomer may be one of them: it is not counted.
func (r *Room) stillCounted(newcomer string) int {
	n := 0
	for subject := range r.freed {
		if _, here := r.bySubject[subject]; !here && subject != newcomer {
			n++
		}
	}
	return n
}

// honour refuses a link that opens nothing any more.
func (r *Room) honour(c Reserve, now time.Time) error {
	link, since := c.Invite, r.state.Settings.InvitesSince
	switch {
	case link == nil:
		return nil
	case since != nil && !c.InvitedAt.After(*since), !now.Before(link.Until):
		return refuse(InviteVoid, "this invitation is not valid any more; ask for a new one")
	}
	if u, _ := r.state.invite(link.ID); link.Uses > 0 && u.Uses >= link.Uses {
		return refuse(InviteUsed, "this invitation has been used as often as it may be")
	}
	return nil
}

func (s *State) invite(id string) (InviteUse, bool) {
	if i, ok := slices.BinarySearchFunc(s.Invites, id, inviteByID); ok {
		return s.Invites[i], true
	}
	return InviteUse{ID: id}, false
}

// unuse gives a use of its link back, because a member is gone that never entered.
func (r *Room) unuse(m Member) {
	if u, ok := r.state.invite(m.Invite); ok && m.Entered == nil {
		u.Uses--
		r.emit(Event{Type: EventInvite, Invite: &u})
	}
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
	m := Member{ID: r.state.LastMember + 1, Subject: c.Subject, Session: c.Session, Name: c.Name, Role: r.roleOf(c.Subject, c.Role),
		Status: Reserved, Deadline: &deadline, ChatMuted: r.state.Record(c.Subject).ChatMuted, Keys: c.Keys}
	r.bySubject[m.Subject], r.bySession[m.Session] = m.ID, m.ID
	if c.Guest {
		r.origins[m.ID] = c.Origin
	}
	if link := c.Invite; link != nil && link.Uses > 0 {
		m.Invite = link.ID
		u, _ := r.state.invite(link.ID)
		r.emit(Event{Type: EventInvite, Invite: &InviteUse{ID: link.ID, Uses: u.Uses + 1, Until: link.Until}})
	}
	r.setMember(m)
}

// reserveAgain gives a subject that has a place a new session for it. One that has
// entered keeps its connection until the new one stands.
func (r *Room) reserveAgain(m Member, c Reserve, now time.Time) error {
	connected := m.Status == Entered || m.Status == Associated
	if connected && r.state.Settings.Duplicates == Refuse && m.Session != c.Resumes {
		return refuse(AlreadyJoined, "you are in this room already, with another client")
	}
	r.dropRejoin(m.ID)
	r.bySession[c.Session] = m.ID
	deadline := now.Add(c.ttl())
	if m.visible() {
		r.keepRejoin(m, rejoin{session: c.Session, deadline: deadline, name: c.Name, keys: c.Keys})
		return nil
	}
	delete(r.bySession, m.Session)
	m.Session, m.Status, m.Deadline, m.Keys = c.Session, Reserved, &deadline, c.Keys
	if c.Name != "" {
		m.Name = c.Name
	}
	r.setMember(m)
	r.unopen(m)
	return nil
}

// roleOf is the role with which a subject comes in: at most Speaker, unless the room
// lists it.
func (r *Room) roleOf(subject string, asked Role) Role {
	s := &r.state.Settings
	switch {
	case subject == s.Host:
		return Host
	case subject == s.Owner, slices.Contains(s.Moderators, subject) && asked != Audience:
		return CoHost
	case asked == Audience, r.state.Record(subject).Audience:
		return Audience
	}
	return Speaker
}
