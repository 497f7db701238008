// Package room is the voice room itself, as a deterministic state machine.
//
// It has no I/O, no goroutine and no clock: time is an argument, identifiers come
// with the commands. Everything exact is decided here: who is a member, who holds
// which microphone, whose audio may flow. One goroutine of the room's media pod
// owns a Room and feeds it every command in turn, which makes that goroutine the
// room's one linearisation point.
//
//	r := room.New(id, epoch, spec, nil, now)
//	events, err := r.Do(now, room.Control, room.Reserve{Subject: "key:shop:ann", Session: s})
//
// Time passes before a command is looked at, so that no answer is about a place or
// a turn whose time is over. The command then either changes the room and returns
// the events that say how, or returns an *Error and changes nothing. Every event
// has the next sequence number of the room's epoch, none skipped; an event carries
// the whole new value of what changed, so that a State plus the events after it is
// the later State (see State.Apply).
//
// A client comes in by these steps (CN111343079B, claim 1): Reserve takes a place
// under the cap before a token is minted; Open spends the token; Associate says
// that the media connection stands; Enter, after the chat group took the client
// in, makes it count as entered and gives it a microphone if there is one for it.
// No audio flows before Enter.
//
// What moderators decide about somebody (kicked, banned, muted, pulled down) is a
// Record of the subject: it outlives the membership and, in the seed of the next
// epoch, the pod. Leaving and coming back lifts none of it.
package room
