package media

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"voiceroom.dev/voiceroom/room"
)

// do gives the room one command and makes everything follow.
func (k *keeper) do(by room.Actor, c room.Command) error {
	events, err := k.room.Do(k.now(), by, c)
	if err == nil || len(events) > 0 {
		k.follow(events)
	}
	return err
}

// follow makes forwarding, connections, watchers and clients follow the room: what
// takes audio away first.
func (k *keeper) follow(events []room.Event) {
	now := time.Now() // after the room decided: see talker.since
	grants := false
	for _, e := range events {
		switch e.Type {
		case room.EventMember:
			k.followMember(e, now)
			grants = true
		case room.EventLeft:
			k.end(k.connectionOf(*e.Member), e.Reason, "you are no longer in this room", now)
			grants = true
		case room.EventMic:
			grants = true
		}
	}
	if grants {
		k.forwarder.setGrants(k.grants(), moved(events), now)
	}
	k.forwarder.setMix(k.room.View().Settings.Audience == room.Mix, now)
	for s := range k.opening { // the room has no event for the end of one that was to replace another
		if !k.room.Knows(s.id) {
			k.end(s, room.Replaced, "this session has ended or was replaced", now)
		}
	}
	k.pushWatchers(events)
	k.publisher.news.add(events)
	k.followPhase(now)
	k.metrics.follow(k)
}

// connectionOf is a member's connection, whether it stands already or not. Nil: none.
func (k *keeper) connectionOf(m room.Member) *session {
	if s := k.members[m.ID]; s != nil {
		return s
	}
	return k.sessions[m.Session]
}

// followMember ties a member to the session that it is on now.
func (k *keeper) followMember(e room.Event, now time.Time) {
	m := *e.Member
	s := k.sessions[m.Session]
	switch old := k.members[m.ID]; {
	case old == nil || old == s:
	case m.Session == "": // its place is kept, its session is not
		k.end(old, e.Reason, "this session is not trusted any more; join again", now)
	default:
		k.end(old, room.Replaced, "you joined again elsewhere", now)
	}
	if s == nil || s.out == nil {
		return
	}
	delete(k.opening, s)
	s.member, k.members[m.ID] = m.ID, s
	if m.Status == room.Entered && !s.entered {
		s.entered, s.stale = true, true
		s.journey.last = now
		k.forwarder.enter(s, s.out, now)
	}
}

// grants are the grants of members that entered, oldest first.
func (k *keeper) grants() []grant {
	state := k.room.View()
	mics := slices.Clone(state.Mics)
	slices.SortFunc(mics, func(a, b room.Mic) int { return cmp.Compare(a.Grant, b.Grant) })
	var grants []grant
	for _, mic := range mics {
		if s := k.members[mic.Member]; s != nil && s.entered {
			m, _ := state.Member(mic.Member)
			grants = append(grants, grant{session: s, member: m.ID, number: mic.Grant, priority: m.Priority,
				muted: !mic.Live() || k.departure.silent[mic.Member]})
		}
	}
	return grants
}

// moved are the grants that one command ended without a reason: if their holders have
// another one now, it is because they were moved or swapped.
func moved(events []room.Event) []uint64 {
	var numbers []uint64
	for _, e := range events {
		if e.Type == room.EventMic && e.Mic.Member == 0 && e.Reason == "" {
			numbers = append(numbers, e.Mic.Grant)
		}
	}
	return numbers
}

// followPhase ends what a closed room, or an empty sealed one, no longer needs.
func (k *keeper) followPhase(now time.Time) {
	switch state := k.room.View(); state.Phase {
	case room.Closed:
		for _, s := range k.sessions {
			k.end(s, room.RoomClosed, cmp.Or(state.CloseMessage, "the room has ended"), now)
		}
	case room.Sealed:
		for _, s := range k.sessions {
			if s.out != nil && !s.entered { // those without a connection are told once it stands
				k.end(s, room.Moving, "the room is moving to another media pod; join again", now)
			}
		}
		if len(k.sessions) > 0 {
			return
		}
	default:
		return
	}
	k.finish()
}

// distrust ends what keys let in that are not trusted any more. It may be called from
// any goroutine; when it returns, that has happened.
func (k *keeper) distrust(keys []string) {
	k.call(func() {
		if k.room == nil {
			return
		}
		k.log.Info("keys are not trusted any more; what they let in ends", "keys", keys)
		if err := k.do(room.Control, room.RevokeKeys{Keys: keys}); err != nil && !errors.Is(err, &room.Error{Code: room.RoomClosed}) {
			k.log.Error("ending what keys let in that are not trusted any more", "error", err)
		}
	})
}
