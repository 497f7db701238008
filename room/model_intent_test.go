package room_test

import (
	"maps"
	"slices"
	"time"

	"voiceroom.dev/voiceroom/room"
)

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// configure changes what is said; turns begin anew when their length changes.
func (m *model) configure(c room.Configure) {
	length, access := m.choice.SpeakingSeconds, m.choice.Access
	set(&m.choice.DisplayName, c.DisplayName)
	set(&m.choice.Access, c.Access)
	set(&m.choice.MicPolicy, c.MicPolicy)
	set(&m.choice.MuteOnEntry, c.MuteOnEntry)
	set(&m.choice.SpeakingSeconds, c.SpeakingSeconds)
	set(&m.choice.Announcement, c.Announcement)
	set(&m.choice.Metadata, c.Metadata)
	m.turnBack(access)
	if m.choice.SpeakingSeconds != length {
		m.turns()
	}
}

func set[T any](value, asked *T) {
	if asked != nil {
		*value = *asked
	}
}

// operator are the rules of the operator's own commands.
func (m *model) operator(_ room.Actor, c room.Command) (reasons, func()) {
	switch c := c.(type) {
	case room.SetSpec:
		var why reasons
		why.when(c.Spec.Generation < m.spec.Generation, room.StaleSpec)
		return why, func() {
			if c.Spec.Generation > m.spec.Generation {
				m.follow(c.Spec)
			}
		}
	case room.Renew:
		return nil, func() {
			if c.Until.After(m.lease) {
				m.lease = c.Until
			}
			for _, p := range m.people {
				p.counted = p.counted && c.Durable == 0
			}
		}
	case room.ReleaseHeld:
		return nil, func() {
			m.strangers = time.Time{}
			for _, p := range m.members() {
				if soon := m.now.Add(room.AwayTTL); p.status == room.Held && p.until.After(soon) {
					p.until = soon
				}
			}
		}
	case room.RevokeKeys:
		return nil, func() { m.revoke(c.Keys) }
	case room.Seal:
		return nil, func() { m.sealed = true }
	}
	return nil, nil
}

// follow applies what differs between the last intent and the next.
func (m *model) follow(next room.Spec) {
	old, now := m.spec, &m.choice
	length, access := now.SpeakingSeconds, now.Access
	m.spec, now.Generation = next, next.Generation
	differ(&now.DisplayName, old.DisplayName, next.DisplayName)
	differ(&now.MaxMembers, old.MaxMembers, next.MaxMembers)
	differ(&now.MaxMics, old.MaxMics, next.MaxMics)
	differ(&now.Access, old.Access, next.Access)
	differ(&now.MicPolicy, old.MicPolicy, next.MicPolicy)
	differ(&now.Duplicates, old.Duplicates, next.Duplicates)
	differ(&now.Audience, old.Audience, next.Audience)
	differ(&now.MuteOnEntry, old.MuteOnEntry, next.MuteOnEntry)
	differ(&now.SpeakingSeconds, old.SpeakingSeconds, next.SpeakingSeconds)
	differ(&now.Announcement, old.Announcement, next.Announcement)
	if !maps.Equal(old.Metadata, next.Metadata) {
		now.Metadata = next.Metadata
	}
	for _, subject := range slices.Concat(old.Moderators, next.Moderators, next.Banned) {
		m.person(subject)
	}
	for _, p := range m.people {
		m.followPerson(p, old, next)
	}
	m.turnBack(access)
	if now.SpeakingSeconds != length {
		m.turns()
	}
}

// turnBack takes the places of who is on the way in when fewer may come in than before.
func (m *model) turnBack(before room.Access) {
	if m.choice.Access == before || m.choice.Access == room.Public {
		return
	}
	m.askAgain()
}

// askAgain takes the places of all who are on the way in and are nobody in particular.
func (m *model) askAgain() {
	for _, p := range m.members() {
		if !p.inside() && p.subject != m.choice.Owner && p.subject != m.host && !slices.Contains(m.choice.Moderators, p.subject) {
			m.leave(p)
		}
	}
}

// followPerson gives somebody what the lists of the next intent changed for it.
func (m *model) followPerson(p *person, old, next room.Spec) {
	was, is := slices.Contains(old.Moderators, p.subject), slices.Contains(next.Moderators, p.subject)
	if was != is {
		m.list(p.subject, is)
	}
	banned, bans := slices.Contains(old.Banned, p.subject), slices.Contains(next.Banned, p.subject)
	switch {
	case bans && !banned && p.place != nil:
		m.throwOut(p, true)
	case bans && !banned:
		p.banned = true
	case banned && !bans:
		p.banned, p.kicked = false, time.Time{}
	}
	if was == is || p.place == nil || p.role == room.Host || p.subject == m.choice.Owner {
		return
	}
	switch {
	case is:
		m.setRole(p, room.CoHost)
	case p.role == room.CoHost:
		m.setRole(p, room.Speaker)
	}
}

func differ[T comparable](value *T, old, next T) {
	if old != next {
		*value = next
	}
}

// state is what the room is to show. Grants and versions are not the model's to say.
func (m *model) state() *room.State {
	c := m.choice
	s := &room.State{Epoch: m.epoch, Phase: m.phase(), ActivatedAt: at(m.activated), EmptySince: at(m.empty), CloseReason: m.reason, CloseMessage: m.message}
	s.Settings = room.Settings{Generation: c.Generation, DisplayName: c.DisplayName, MaxMembers: c.MaxMembers, MaxMics: c.MaxMics, Access: c.Access, MicPolicy: c.MicPolicy,
		Duplicates: c.Duplicates, Audience: c.Audience, MuteOnEntry: c.MuteOnEntry, SpeakingSeconds: c.SpeakingSeconds, Announcement: c.Announcement, Metadata: c.Metadata,
		Owner: c.Owner, Moderators: c.Moderators, Host: m.host, HostGone: at(m.hostGone), InvitesSince: at(m.reset), Spec: &m.spec}
	for i, is := range m.locked {
		if is {
			s.Settings.LockedMics = append(s.Settings.LockedMics, i)
		}
	}
	slices.Sort(s.Settings.LockedMics)
	for _, p := range m.members() {
		s.Members = append(s.Members, room.Member{ID: p.number, Name: p.name, Role: p.role, Status: p.status, Hand: p.hand, AskedUntil: at(p.asked), Priority: p.priority,
			ChatMuted: p.chatMuted, Entered: at(p.entered), Subject: p.subject, Session: p.session, Deadline: at(p.until), Invite: p.link, Keys: p.keys})
		if p.mic != nil {
			s.Mics = append(s.Mics, room.Mic{Index: p.mic.index, Member: p.number, Muted: p.mic.muted, ModMuted: p.muted, Until: at(p.mic.until)})
		}
	}
	slices.SortFunc(s.Mics, func(a, b room.Mic) int { return a.Index - b.Index })
	for _, subject := range slices.Sorted(maps.Keys(m.people)) {
		if p := m.people[subject]; p.remembered() {
			s.Records = append(s.Records, room.Record{Subject: subject, Name: p.knownAs, Member: p.known, Kicked: at(p.kicked), Banned: p.banned,
				Muted: p.muted, ChatMuted: p.chatMuted, Audience: p.pulled})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(m.uses)) {
		s.Invites = append(s.Invites, room.InviteUse{ID: id, Uses: m.uses[id].n, Until: m.uses[id].until})
	}
	return s
}

// at is a moment as a state has it. Nil: it has not come.
func at(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
