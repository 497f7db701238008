package room_test

import (
	"slices"
	"time"
	"unicode"

	"voiceroom.dev/voiceroom/room"
)

// judge says why a command is to be refused, and what it does if it is not.
func (m *model) judge(by room.Actor, c room.Command) (reasons, func()) {
	var why reasons
	why.when(m.closed, room.RoomClosed)
	why.when(m.sealed && !runsSealed(c), room.Moving)
	why.when(by != room.Control && controlOnly(c), room.NotAllowed)
	if len(why) > 0 {
		return why, nil
	}
	for _, rules := range []func(room.Actor, room.Command) (reasons, func()){m.entry, m.own, m.stage, m.house, m.operator} {
		if why, effect := rules(by, c); len(why) > 0 || effect != nil {
			return why, effect
		}
	}
	return nil, func() {} // Tick
}

func runsSealed(c room.Command) bool {
	switch c.(type) {
	case room.Lost, room.Leave, room.Fail, room.RevokeKeys, room.Tick, room.Seal, room.Close:
		return true
	}
	return false
}

func controlOnly(c room.Command) bool {
	switch c.(type) {
	case room.Reserve, room.Open, room.Associate, room.Enter, room.Fail, room.Lost,
		room.SetSpec, room.Renew, room.ReleaseHeld, room.RevokeKeys, room.Seal, room.Tick:
		return true
	}
	return false
}

// entry are the rules of the way in, and out.
func (m *model) entry(by room.Actor, c room.Command) (reasons, func()) {
	switch c := c.(type) {
	case room.Reserve:
		return m.reserve(c)
	case room.Open:
		return m.ofSession(c.Session, func(p *person) (reasons, func()) { return m.open(p, c) })
	case room.Associate:
		return m.ofSession(c.Session, func(p *person) (reasons, func()) { return m.associate(p, c.Session) })
	case room.Enter:
		return m.ofSession(c.Session, func(p *person) (reasons, func()) { return m.enter(p, c.Session) })
	case room.Fail:
		return m.ofSession(c.Session, func(p *person) (reasons, func()) { return m.fail(p, c.Session) })
	case room.Lost:
		return m.ofSession(c.Session, func(p *person) (reasons, func()) {
			if p.session != c.Session || p.status != room.Entered {
				return m.fail(p, c.Session)
			}
			return nil, func() { p.status, p.until = room.Away, m.now.Add(room.AwayTTL) }
		})
	case room.Leave:
		session := c.Session
		if by != room.Control && session == "" {
			session = by.Session
		}
		if by != room.Control && session != by.Session {
			return reasons{room.NotAllowed}, nil
		}
		return m.ofSession(session, func(p *person) (reasons, func()) {
			if p.session != session {
				return nil, func() { p.next = nil }
			}
			return nil, func() { m.leave(p) }
		})
	}
	return nil, nil
}

func (m *model) ofSession(session string, rules func(*person) (reasons, func())) (reasons, func()) {
	if p := m.bySession(session); p != nil {
		return rules(p)
	}
	return reasons{room.UnknownSession}, nil
}

func (m *model) reserve(c room.Reserve) (reasons, func()) {
	var why reasons
	p := m.person(c.Subject)
	why.when(c.Subject == "" || c.Session == "" || m.bySession(c.Session) != nil || badName(c.Name), room.BadCommand)
	why.when(p.banned, room.IsBanned)
	anybodys := c.Invite != nil && !c.Invite.Named
	why.when(!p.kicked.IsZero() && (anybodys || !c.InvitedAt.After(p.kicked)), room.IsKicked)
	if p.place != nil {
		connected := p.status == room.Entered || p.status == room.Associated
		why.when(m.choice.Duplicates == room.Refuse && connected && c.Resumes != p.session, room.AlreadyJoined)
		return why, func() { m.reserveAgain(p, c) }
	}
	m.admit(&why, c)
	return why, func() {
		p.kicked = time.Time{}
		m.last++
		p.place = &place{number: m.last, name: c.Name, session: c.Session, status: room.Reserved, until: m.now.Add(ttl(c)), keys: keys(c.Keys...), role: m.entryRole(p, c.Role)}
		if c.Guest {
			p.origin = c.Origin
		}
		if c.Invite != nil && c.Invite.Uses > 0 {
			p.link = c.Invite.ID
			m.uses[p.link] = use{n: m.uses[p.link].n + 1, until: c.Invite.Until}
		}
	}
}

// admit collects why a subject without a place gets none.
func (m *model) admit(why *reasons, c room.Reserve) {
	trusted := c.Subject == m.choice.Owner || c.Subject == m.host || slices.Contains(m.choice.Moderators, c.Subject)
	why.when(m.activated.IsZero() && c.Subject != m.choice.Owner, room.NotOpenYet)
	why.when(!m.now.Before(m.lease) || m.now.Before(m.strangers), room.Frozen)
	why.when(m.choice.Access == room.Locked && !trusted, room.RoomLocked)
	why.when(m.choice.Access == room.InviteOnly && !trusted && c.InvitedAt.IsZero(), room.InviteRequired)
	if link := c.Invite; link != nil {
		why.when(m.over(link.Until) || !m.reset.IsZero() && !c.InvitedAt.After(m.reset), room.InviteVoid)
		why.when(link.Uses > 0 && m.uses[link.ID].n >= link.Uses, room.InviteUsed)
	}
	why.when(len(m.members()) >= m.choice.MaxMembers, room.RoomFull)
	counted := len(m.members())
	for _, p := range m.people {
		if p.counted && p.place == nil && p.subject != c.Subject {
			counted++
		}
	}
	why.when(counted >= m.choice.MaxMembers, room.Frozen)
	coming := 0
	for _, p := range m.members() {
		if c.Guest && p.origin == c.Origin && !p.inside() {
			coming++
		}
	}
	why.when(coming >= room.GuestPlaces, room.TooMany)
}

func badName(name string) bool {
	return len(name) > room.MaxName || slices.ContainsFunc([]rune(name), func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) })
}

func ttl(c room.Reserve) time.Duration {
	if c.Guest {
		return room.GuestTTL
	}
	return room.ReservationTTL
}

func keys(ids ...string) []string {
	return slices.Compact(slices.DeleteFunc(ids, func(id string) bool { return id == "" }))
}

// entryRole is the role with which a subject comes in that asks for one.
func (m *model) entryRole(p *person, asked room.Role) room.Role {
	switch {
	case p.subject == m.host:
		return room.Host
	case p.subject == m.choice.Owner:
		return room.CoHost
	case asked == room.Audience:
		return room.Audience
	case slices.Contains(m.choice.Moderators, p.subject):
		return room.CoHost
	case p.pulled:
		return room.Audience
	}
	return room.Speaker
}

// reserveAgain gives a place a new session: at once, or if somebody is inside, when the
// new one stands.
func (m *model) reserveAgain(p *person, c room.Reserve) {
	until := m.now.Add(ttl(c))
	if p.inside() {
		p.next = &rejoin{session: c.Session, until: until, name: c.Name, keys: keys(c.Keys...)}
		return
	}
	p.session, p.status, p.until, p.keys = c.Session, room.Reserved, until, keys(c.Keys...)
	if c.Name != "" {
		p.name = c.Name
	}
}

func (m *model) open(p *person, c room.Open) (reasons, func()) {
	var why reasons
	until := m.now.Add(room.ConnectTTL)
	if p.session != c.Session {
		why.when(p.next.opened, room.TokenReplayed)
		return why, func() { p.next.opened, p.next.until, p.next.keys = true, until, keys(append(p.next.keys, c.Key)...) }
	}
	why.when(p.status != room.Reserved, room.TokenReplayed)
	return why, func() { p.status, p.until, p.keys = room.Connecting, until, keys(append(p.keys, c.Key)...) }
}

func (m *model) associate(p *person, session string) (reasons, func()) {
	var why reasons
	if p.session != session {
		why.when(!p.next.opened, room.NotAssociated)
		return why, func() {
			if p.next.name != "" {
				p.name = p.next.name
			}
			p.session, p.keys, p.status, p.until, p.next = session, p.next.keys, room.Entered, time.Time{}, nil
		}
	}
	why.when(p.status == room.Reserved || p.status == room.Away || p.status == room.Held, room.NotAssociated)
	return why, func() {
		if p.status == room.Connecting {
			p.status, p.until = room.Associated, m.now.Add(room.ConfirmTTL)
		}
	}
}

func (m *model) enter(p *person, session string) (reasons, func()) {
	var why reasons
	why.when(p.session != session || p.status != room.Associated && p.status != room.Entered, room.NotAssociated)
	return why, func() {
		if p.status == room.Entered {
			return
		}
		first := m.activated.IsZero()
		p.status, p.until, p.entered = room.Entered, time.Time{}, m.now
		if first {
			m.activated = m.now
		}
		free := m.seat(p, -1)
		if len(free) == 0 && (first || m.choice.MicPolicy == room.Auto && p.role != room.Audience) {
			m.sit(p, -1)
			p.mic.muted = m.choice.MuteOnEntry && !moderates(p.role)
		}
	}
}

// fail ends a session that never stood; the place of who is inside has its grace.
func (m *model) fail(p *person, session string) (reasons, func()) {
	if p.session != session {
		return nil, func() { p.next = nil }
	}
	var why reasons
	why.when(p.inside(), room.BadCommand)
	return why, func() { m.leave(p) }
}

// revoke ends what the keys let in. Who was inside keeps the place, for a grace.
func (m *model) revoke(revoked []string) {
	bad := func(ids []string) bool {
		return slices.ContainsFunc(ids, func(id string) bool { return slices.Contains(revoked, id) })
	}
	for _, p := range m.members() {
		if p.next != nil && bad(p.next.keys) {
			p.next = nil
		}
		switch {
		case !bad(p.keys):
		case p.inside():
			p.status, p.session, p.keys, p.until = room.Away, "", nil, m.now.Add(room.AwayTTL)
		default:
			m.leave(p)
		}
	}
}
