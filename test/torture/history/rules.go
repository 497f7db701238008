package history

import (
	"time"

	"voiceroom.dev/voiceroom/room"
)

// placeTTL is how long a place waits for its token to be spent.
const placeTTL = int64(60 * time.Second)

// rejoin is the session that is about to take over a subject's place. No version of the
// room shows it, and it ends without a word when its connection does not come to stand.
type rejoin struct {
	known   bool // else there may be any, or none
	session string
	opened  bool
	at      int64 // no earlier than this was it reserved
}

// rejoins are those of all subjects.
type rejoins [MaxSubjects]rejoin

// outcome is one way in which an operation can end.
type outcome struct {
	code room.Code
	next view
	rejoins
}

// rule is what a room answers; some operations end in one of several ways.
type rule func(o *Operation, i int, v view, r rejoins) []outcome

// rules by kind. i is the number of the operation's subject, -1 if it has none.
var rules = map[Kind]rule{
	Join: join, Resume: join, Open: open, Confirm: confirm, Fail: fail, Leave: leave,
	TakeMic: takeMic, LeaveMic: leaveMic, GiveMic: giveMic, PullMic: pullMic, Kick: kick, Unban: unban,
}

// refused and granted are outcomes that change nothing that a version shows.
func refused(v view, r rejoins, codes ...room.Code) []outcome {
	var all []outcome
	for _, c := range codes {
		all = append(all, outcome{c, v, r})
	}
	return all
}

func granted(v view, r rejoins) []outcome { return []outcome{{"", v, r}} }

func join(o *Operation, i int, v view, r rejoins) []outcome {
	all := reserve(o, i, v, r)
	if o.Kind == Resume && v.places[i].id != o.Of {
		// It is looked at before it is reserved: it may have been another's, or nobody's, then.
		all = append(all, refused(v, r, room.UnknownMember)...)
	}
	return all
}

func reserve(o *Operation, i int, v view, r rejoins) []outcome {
	p := v.places[i]
	switch {
	case v.kicked.has(i):
		return refused(v, r, room.IsKicked)
	case p.id != 0 && o.Code == "" && o.Member != p.id:
		return nil // it was given another member's place
	case p.visible():
		r[i] = rejoin{known: true, session: o.Session, at: o.Call}
		return granted(v, r)
	case p.id != 0:
		r[i] = rejoin{known: true}
		v.places[i] = place{id: p.id, session: o.Session, status: room.Reserved, role: p.role}
		return granted(v, r)
	case v.members() >= v.maxMembers:
		return refused(v, r, room.RoomFull, room.Frozen)
	}
	all := append(refused(v, r, room.Frozen), newcomer(o, i, v, r))
	if o.Kind == Resume { // it asks for no more than the role of its token
		down := newcomer(o, i, v, r)
		down.next.places[i].role = room.Audience
		all = append(all, down)
	}
	return all
}

func newcomer(o *Operation, i int, v view, r rejoins) outcome {
	r[i] = rejoin{known: true}
	v.places[i] = place{id: o.Member, session: o.Session, status: room.Reserved, role: v.roleOf(i)}
	return outcome{"", v, r}
}

// roleOf is the role with which a subject comes in.
func (v *view) roleOf(i int) room.Role {
	switch {
	case i == v.host:
		return room.Host
	case i == 0, v.moderators.has(i): // 0 is the owner
		return room.CoHost
	case v.audience.has(i):
		return room.Audience
	}
	return room.Speaker
}

func open(o *Operation, i int, v view, r rejoins) []outcome {
	all := opened(o, i, v, r)
	if !o.Expires.IsZero() && o.Return >= o.Expires.UnixNano() {
		all = append(all, refused(v, r, "token-expired")...)
	}
	return all
}

func opened(o *Operation, i int, v view, r rejoins) []outcome {
	p, j := v.places[i], r[i]
	switch {
	case p.id != 0 && p.session == o.Session && p.status == room.Reserved:
		v.places[i].status = room.Connecting
		return granted(v, r)
	case p.id != 0 && p.session == o.Session:
		return refused(v, r, room.TokenReplayed)
	case !p.visible() || j.known && j.session != o.Session:
		return refused(v, r, room.UnknownSession)
	case j.known && j.opened:
		return refused(v, r, room.TokenReplayed, room.UnknownSession)
	}
	now := r
	now[i] = rejoin{known: true, session: o.Session, opened: true}
	all := granted(v, now)
	if !j.known {
		return append(all, refused(v, r, room.TokenReplayed, room.UnknownSession)...)
	}
	if o.Return-j.at >= placeTTL {
		all = append(all, refused(v, r, room.UnknownSession)...)
	}
	return all
}

func confirm(o *Operation, i int, v view, r rejoins) []outcome {
	p := v.places[i]
	switch {
	case p.id == 0 || p.session != o.Session:
		return refused(v, r, room.UnknownSession)
	case p.status == room.Associated:
		v.enter(i)
		return granted(v, r)
	case p.visible():
		return granted(v, r)
	}
	return refused(v, r, room.NotAssociated)
}

func fail(o *Operation, i int, v view, r rejoins) []outcome {
	p := v.places[i]
	switch {
	case p.id == 0:
	case p.session == o.Session && p.visible():
		return refused(v, r, room.BadCommand)
	case p.session == o.Session:
		v.remove(i)
		r[i] = rejoin{known: true}
	case r[i].session == o.Session:
		r[i] = rejoin{known: true}
	}
	return granted(v, r)
}

func leave(o *Operation, i int, v view, r rejoins) []outcome {
	switch {
	case v.places[i].id != 0 && v.places[i].session == o.Session:
		v.remove(i)
		r[i] = rejoin{known: true}
	case r[i].session == o.Session: // whoever has the place keeps it
		r[i] = rejoin{known: true}
	}
	return granted(v, r)
}

// commander says why a session may not command, or nothing.
func commander(o *Operation, i int, v view, r rejoins) []room.Code {
	p, j := v.places[i], r[i]
	switch {
	case p.id != 0 && p.session == o.Session && p.status == room.Entered:
		return nil
	case p.id != 0 && p.session == o.Session:
		return []room.Code{room.NotEntered}
	case p.visible() && (!j.known || j.session == o.Session):
		return []room.Code{room.NotEntered, room.UnknownSession}
	}
	return []room.Code{room.UnknownSession}
}

func takeMic(o *Operation, i int, v view, r rejoins) []outcome {
	if why := commander(o, i, v, r); why != nil {
		return refused(v, r, why...)
	}
	if v.places[i].role == room.Audience {
		return refused(v, r, room.MicNotAllowed)
	}
	return seat(o, i, v, r)
}

// seat puts a member on a microphone.
func seat(o *Operation, i int, v view, r rejoins) []outcome {
	id := v.places[i].id
	held, index := v.mic(id), o.Index
	switch {
	case held >= 0 && (index == -1 || index == held):
		return granted(v, r)
	case index == -1:
		if index = v.free(); index < 0 {
			return refused(v, r, room.MicUnavailable)
		}
	case index >= v.maxMics:
		return refused(v, r, room.MicUnavailable)
	case v.mics[index] != 0:
		return refused(v, r, room.MicTaken)
	}
	if held >= 0 {
		v.mics[held] = 0
	}
	v.mics[index] = id
	return granted(v, r)
}

func leaveMic(o *Operation, i int, v view, r rejoins) []outcome {
	if why := commander(o, i, v, r); why != nil {
		return refused(v, r, why...)
	}
	m := v.mic(v.places[i].id)
	if m < 0 {
		return refused(v, r, room.NotOnMic)
	}
	v.mics[m] = 0
	return granted(v, r)
}

func giveMic(o *Operation, _ int, v view, r rejoins) []outcome {
	i := v.member(o.Member)
	switch {
	case i < 0:
		return refused(v, r, room.UnknownMember)
	case v.places[i].status != room.Entered:
		return refused(v, r, room.NotEntered)
	}
	all := seat(o, i, v, r)
	for n := range all {
		if all[n].code == "" && all[n].next != v && v.places[i].role == room.Audience {
			all[n].next.places[i].role = room.Speaker
			all[n].next.audience = v.audience.with(i, false)
		}
	}
	return all
}

func pullMic(o *Operation, _ int, v view, r rejoins) []outcome {
	i := v.member(o.Member)
	if i < 0 {
		return refused(v, r, room.UnknownMember)
	}
	m := v.mic(o.Member)
	if m < 0 {
		return refused(v, r, room.NotOnMic)
	}
	v.mics[m] = 0
	if !v.places[i].moderates() {
		v.places[i].role, v.audience = room.Audience, v.audience.with(i, true)
	}
	return granted(v, r)
}

func kick(o *Operation, _ int, v view, r rejoins) []outcome {
	i := v.member(o.Member)
	if i < 0 {
		return refused(v, r, room.UnknownMember)
	}
	v.remove(i)
	v.kicked, v.moderators = v.kicked.with(i, true), v.moderators.with(i, false)
	r[i] = rejoin{known: true}
	return granted(v, r)
}

func unban(_ *Operation, i int, v view, r rejoins) []outcome {
	v.kicked = v.kicked.with(i, false)
	return granted(v, r)
}
