package room

import (
	"slices"
	"time"
)

func (c MuteMember) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.target(by, c.Member)
	if err != nil {
		return err
	}
	if !c.Muted && r.state.Record(m.Subject).Muted && isOwn(by, m) {
		return refuse(MutedByModerator, "another moderator muted you; the host, or another one, can lift it")
	}
	r.modMute(m, c.Muted)
	return nil
}

// isOwn says whether a co-host acts on itself: it does not lift what the host did to it.
func isOwn(by Actor, m Member) bool {
	return by != Control && m.Role == CoHost && m.Session == by.Session
}

func (c MuteAll) apply(r *Room, _ time.Time, by Actor) error {
	if _, err := r.moderator(by); err != nil {
		return err
	}
	for _, mic := range slices.Clone(r.state.Mics) {
		if m, _ := r.state.Member(mic.Member); !m.Role.moderates() {
			r.modMute(m, c.Muted)
		}
	}
	return nil
}

// modMute mutes a member for a moderator. It is remembered: a microphone that was given
// back and taken again is muted still.
func (r *Room) modMute(m Member, muted bool) {
	if r.state.Record(m.Subject).Muted != muted {
		r.remember(m.Subject, func(rec *Record) { rec.Muted = muted })
	}
	if mic, on := r.state.Mic(m.ID); on && mic.ModMuted != muted {
		mic.ModMuted = muted
		r.setMic(mic)
	}
}

func (c SetPriority) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.target(by, c.Member)
	if err != nil {
		return err
	}
	if m.Priority != c.Priority {
		m.Priority = c.Priority
		r.setMember(m)
	}
	return nil
}

func (c ChatMute) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.target(by, c.Member)
	if err != nil {
		return err
	}
	if !c.Muted && m.ChatMuted && isOwn(by, m) {
		return refuse(MutedByModerator, "another moderator muted you; the host, or another one, can lift it")
	}
	if m.ChatMuted != c.Muted {
		r.remember(m.Subject, func(rec *Record) { rec.ChatMuted = c.Muted })
		m.ChatMuted = c.Muted
		r.setMember(m)
	}
	return nil
}
