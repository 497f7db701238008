package room_test

import (
	"slices"
	"strings"
	"time"

	"voiceroom.dev/voiceroom/room"
)

// commander is the member that commands: it has entered, on this very session.
func (m *model) commander(by room.Actor) (*person, reasons) {
	p := m.bySession(by.Session)
	switch {
	case p == nil:
		return nil, reasons{room.UnknownSession}
	case p.session != by.Session || p.status != room.Entered:
		return nil, reasons{room.NotEntered}
	}
	return p, nil
}

// moderator is the role with which somebody commands others; the control plane has a host's.
func (m *model) moderator(by room.Actor) (room.Role, reasons) {
	if by == room.Control {
		return room.Host, nil
	}
	p, why := m.commander(by)
	if len(why) == 0 && !moderates(p.role) {
		why.when(true, room.NotAllowed)
	}
	if len(why) > 0 {
		return "", why
	}
	return p.role, nil
}

// above says whether p is above what by may act on: moderators answer to the host, and to themselves.
func (m *model) above(by room.Actor, p *person) bool {
	role, _ := m.moderator(by)
	return moderates(p.role) && role != room.Host && p.session != by.Session
}

// onMember judges a command that a moderator gives about a member.
func (m *model) onMember(by room.Actor, number uint32, rules func(*person, *reasons) func()) (reasons, func()) {
	if _, why := m.moderator(by); len(why) > 0 {
		return why, nil
	}
	p := m.byNumber(number)
	if p == nil {
		return reasons{room.UnknownMember}, nil
	}
	var why reasons
	why.when(m.above(by, p), room.NotAllowed)
	return why, rules(p, &why)
}

// own says whether a co-host acts on itself.
func own(by room.Actor, p *person) bool {
	return by != room.Control && p.role == room.CoHost && p.session == by.Session
}

// seat says why p cannot get the index; -1 is the lowest free one, or where it is.
func (m *model) seat(p *person, index int) reasons {
	var why reasons
	isOn := p.mic != nil
	switch {
	case isOn && (index == -1 || index == p.mic.index):
	case index == -1:
		why.when(m.lowestFree() == -1 || m.mics() >= m.choice.MaxMics, room.MicUnavailable)
	default:
		why.when(index < 0 || index >= m.choice.MaxMics || !isOn && m.mics() >= m.choice.MaxMics, room.MicUnavailable)
		why.when(m.locked[index], room.MicLocked)
		why.when(m.onMic(index) != nil, room.MicTaken)
	}
	return why
}

func (m *model) lowestFree() int {
	for i := range m.choice.MaxMics {
		if !m.locked[i] && m.onMic(i) == nil {
			return i
		}
	}
	return -1
}

// sit puts p onto an index that it can get. It waits for none any more.
func (m *model) sit(p *person, index int) {
	switch {
	case p.mic != nil && (index == -1 || index == p.mic.index):
		return
	case index == -1:
		index = m.lowestFree()
	}
	if p.mic == nil {
		p.mic = &mic{until: m.turn(p)}
	}
	p.mic.index, p.mic.since = index, m.step
	p.hand, p.asked = nil, time.Time{}
}

// bringUp puts p onto a microphone that a moderator gives it, out of the audience.
func (m *model) bringUp(p *person, index int) {
	if p.role == room.Audience {
		m.setRole(p, room.Speaker)
	}
	m.sit(p, index)
}

// own are the rules of what a member does for itself.
func (m *model) own(by room.Actor, c room.Command) (reasons, func()) {
	switch c.(type) {
	case room.TakeMic, room.LeaveMic, room.Mute, room.RaiseHand, room.AnswerAsk, room.Rename:
	default:
		return nil, nil
	}
	me, why := m.commander(by)
	if len(why) > 0 {
		return why, nil
	}
	switch c := c.(type) {
	case room.TakeMic:
		why = m.seat(me, c.Index)
		why.when(me.role == room.Audience || me.mic == nil && m.choice.MicPolicy != room.Auto && !moderates(me.role), room.MicNotAllowed)
		return why, func() { m.sit(me, c.Index) }
	case room.LeaveMic:
		why.when(me.mic == nil, room.NotOnMic)
		return why, func() { me.mic = nil }
	case room.Mute:
		why.when(me.mic == nil, room.NotOnMic)
		why.when(me.muted && !c.Muted, room.MutedByModerator)
		return why, func() { me.mic.muted = c.Muted }
	case room.RaiseHand:
		if c.Raised == (me.hand != nil) {
			return nil, func() {}
		}
		why.when(c.Raised && m.choice.MicPolicy == room.Appointed, room.HandsRefused)
		why.when(c.Raised && me.mic != nil, room.BadCommand)
		return why, func() {
			if me.hand = nil; c.Raised {
				me.hand = &room.Hand{At: m.now, Until: m.now.Add(room.HandTTL)}
			}
		}
	case room.AnswerAsk:
		why.when(me.asked.IsZero(), room.NotAsked)
		if c.Accept {
			why = append(why, m.seat(me, -1)...)
			return why, func() { m.bringUp(me, -1) }
		}
		return why, func() { me.asked = time.Time{} }
	case room.Rename:
		why.when(c.Name == "" || badName(c.Name), room.BadCommand)
		return why, func() { me.name = c.Name }
	}
	return nil, nil
}

// stage are the rules of microphones and hands, for moderators.
func (m *model) stage(by room.Actor, c room.Command) (reasons, func()) {
	switch c := c.(type) {
	case room.GiveMic:
		return m.onMember(by, c.Member, func(p *person, why *reasons) func() {
			why.when(p.status != room.Entered, room.NotEntered)
			*why = append(*why, m.seat(p, c.Index)...)
			return func() {
				m.bringUp(p, c.Index)
				p.mic.until = m.turn(p)
			}
		})
	case room.PullMic:
		return m.onMember(by, c.Member, func(p *person, why *reasons) func() {
			why.when(p.mic == nil, room.NotOnMic)
			return func() {
				if p.mic = nil; !moderates(p.role) {
					m.setRole(p, room.Audience)
				}
			}
		})
	case room.MuteMember:
		return m.onMember(by, c.Member, func(p *person, why *reasons) func() {
			why.when(!c.Muted && p.muted && own(by, p), room.MutedByModerator)
			return func() { p.muted = c.Muted }
		})
	case room.SetPriority:
		return m.onMember(by, c.Member, func(p *person, _ *reasons) func() { return func() { p.priority = c.Priority } })
	case room.LowerHand:
		return m.onMember(by, c.Member, func(p *person, _ *reasons) func() { return func() { p.hand = nil } })
	case room.HandPriority:
		return m.onMember(by, c.Member, func(p *person, why *reasons) func() {
			why.when(c.Priority < 0 || c.Priority > room.MaxHandPriority, room.BadCommand)
			why.when(p.hand == nil, room.NoHand)
			return func() { p.hand.Priority = c.Priority }
		})
	case room.AskToSpeak:
		return m.onMember(by, c.Member, func(p *person, why *reasons) func() {
			why.when(p.status != room.Entered, room.NotEntered)
			return func() {
				if p.mic == nil {
					p.asked = m.now.Add(room.AskTTL)
				}
			}
		})
	case room.SwapMics, room.LockMic, room.MuteAll, room.ClearHands:
		_, why := m.moderator(by)
		if len(why) > 0 {
			return why, nil
		}
		return m.allMics(by, c)
	}
	return nil, nil
}

func (m *model) allMics(by room.Actor, c room.Command) (reasons, func()) {
	var why reasons
	switch c := c.(type) {
	case room.SwapMics:
		a, b := m.onMic(c.A), m.onMic(c.B)
		why.when(min(c.A, c.B) < 0 || max(c.A, c.B) >= m.choice.MaxMics, room.MicUnavailable)
		why.when(m.locked[c.A] || m.locked[c.B], room.MicLocked)
		why.when(a == nil && b == nil, room.NotOnMic)
		return why, func() {
			if a != nil && c.A != c.B {
				a.mic.index, a.mic.since = c.B, m.step
			}
			if b != nil && c.A != c.B {
				b.mic.index, b.mic.since = c.A, m.step
			}
		}
	case room.LockMic:
		p := m.onMic(c.Index)
		why.when(c.Index < 0 || c.Index >= m.choice.MaxMics, room.MicUnavailable)
		why.when(p != nil && c.Locked && m.above(by, p), room.NotAllowed)
		return why, func() {
			if m.locked[c.Index] = c.Locked; c.Locked && p != nil {
				p.mic = nil
			}
		}
	case room.MuteAll:
		return nil, func() {
			for _, p := range m.members() {
				if p.mic != nil && !moderates(p.role) {
					p.muted = c.Muted
				}
			}
		}
	}
	return nil, func() { // ClearHands
		for _, p := range m.members() {
			p.hand = nil
		}
	}
}

// house are the rules of members and of the room, for moderators.
func (m *model) house(by room.Actor, c room.Command) (reasons, func()) {
	switch c := c.(type) {
	case room.Kick:
		return m.onMember(by, c.Member, func(p *person, why *reasons) func() {
			why.when(by != room.Control && p.session == by.Session, room.BadCommand)
			why.when(by != room.Control && p.subject == m.choice.Owner, room.NotAllowed)
			return func() { m.throwOut(p, c.Ban) }
		})
	case room.ChatMute:
		return m.onMember(by, c.Member, func(p *person, why *reasons) func() {
			why.when(!c.Muted && p.chatMuted && own(by, p), room.MutedByModerator)
			return func() { p.chatMuted = c.Muted }
		})
	case room.SetRole:
		return m.onMember(by, c.Member, func(p *person, why *reasons) func() { return m.assign(by, p, c.Role, why) })
	case room.TransferHost:
		return m.transfer(by, c)
	case room.Unban:
		_, why := m.moderator(by)
		var pardoned []*person
		for _, p := range m.people {
			if p.out() && (p.subject == c.Subject || c.Member != 0 && p.known == c.Member) {
				pardoned = append(pardoned, p)
			}
		}
		why.when(c.Subject == "" && len(pardoned) == 0, room.UnknownMember)
		return why, func() {
			for _, p := range pardoned {
				p.banned, p.kicked = false, time.Time{}
			}
		}
	case room.Configure:
		_, why := m.moderator(by)
		why.when(badConfiguration(c), room.BadCommand)
		return why, func() { m.configure(c) }
	case room.ResetInvites:
		_, why := m.moderator(by)
		return why, func() {
			m.reset = m.now
			m.askAgain()
		}
	case room.Close:
		role, why := m.moderator(by)
		why.when(role != room.Host, room.NotAllowed)
		why.when(len(c.Message) > room.MaxAnnouncement, room.BadCommand)
		return why, func() {
			if m.reason = "ClosedByModerator"; by == room.Control && c.Reason != "" {
				m.reason = c.Reason
			}
			m.closed, m.message = true, c.Message
			for _, p := range m.members() {
				p.place = nil
			}
		}
	}
	return nil, nil
}

// throwOut takes somebody out who may not simply come back, and is no co-host if it does.
func (m *model) throwOut(p *person, ban bool) {
	p.knownAs, p.known = p.name, p.number
	p.kicked, p.banned = m.now, p.banned || ban
	m.list(p.subject, false)
	m.leave(p)
}

// assign judges a change of role.
func (m *model) assign(by room.Actor, p *person, role room.Role, why *reasons) func() {
	as, _ := m.moderator(by)
	known := role == room.CoHost || role == room.Speaker || role == room.Audience
	why.when(!known, room.BadCommand)
	if known && role == p.role {
		return func() {}
	}
	why.when(p.role == room.Host, room.BadCommand)
	why.when(role == room.CoHost && as != room.Host, room.NotAllowed)
	why.when(by != room.Control && p.subject == m.choice.Owner, room.NotAllowed)
	return func() {
		m.list(p.subject, role == room.CoHost)
		if m.setRole(p, role); role == room.Audience {
			p.mic = nil
		}
	}
}

// transfer judges a change of the host, which is the host's and the owner's to decide.
func (m *model) transfer(by room.Actor, c room.TransferHost) (reasons, func()) {
	if by != room.Control {
		me, why := m.commander(by)
		if len(why) > 0 {
			return why, nil
		}
		if me.role != room.Host && me.subject != m.choice.Owner {
			return reasons{room.NotAllowed}, nil
		}
	}
	p := m.byNumber(c.Member)
	if p == nil {
		return reasons{room.UnknownMember}, nil
	}
	var why reasons
	why.when(p.status != room.Entered, room.NotEntered)
	return why, func() {
		if p.role != room.Host {
			m.crown(p)
		}
	}
}

func badConfiguration(c room.Configure) bool {
	return c.Access != nil && *c.Access != room.Public && *c.Access != room.InviteOnly && *c.Access != room.Locked ||
		c.MicPolicy != nil && *c.MicPolicy != room.Auto && *c.MicPolicy != room.OnRequest && *c.MicPolicy != room.Appointed ||
		c.SpeakingSeconds != nil && (*c.SpeakingSeconds < 0 || *c.SpeakingSeconds > room.MaxSpeakingSeconds) ||
		c.DisplayName != nil && badName(*c.DisplayName) ||
		c.Announcement != nil && (len(*c.Announcement) > room.MaxAnnouncement || badName(strings.ReplaceAll((*c.Announcement)[:min(len(*c.Announcement), room.MaxName)], "\n", " "))) ||
		c.Metadata != nil && (len(*c.Metadata) > room.MaxMetadata || slices.ContainsFunc(sorted(*c.Metadata), func(k string) bool { return k == "" || len(k) > room.MaxMetadataKey }))
}
