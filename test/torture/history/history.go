// Package history judges what callers of a voice room were answered.
//
// A history is of one room in one epoch. It holds the operations of its callers, each
// with when it was asked and answered, and the versions of the room as its media pod
// streamed them: each is one more reader, who saw the whole room right after a change.
// Check looks, with porcupine, for an order of all of them that never contradicts their
// times and in which a small model of a room gives every caller the answer that it got
// and makes every version out of the one before it. If there is none, a cap was overshot,
// somebody was wrongly refused or let in, or the room changed for no reason.
//
// The model is written from the rules in docs/protocol.md, not with package room.
//
// What time and the network do by themselves is in no operation. Such a change of the
// room is allowed where the stream says that it happened, and only there: a connection
// stood or was lost, a place ran out, the operator confirmed a session, somebody became
// the host because the host was gone. So is the effect of an operation whose answer was
// lost, at any time after it was asked.
package history

import (
	"time"

	"voiceroom.dev/voiceroom/room"
)

// Kind is what an operation asked for.
type Kind string

// Kinds.
const (
	Join     Kind = "join"     // a place for Subject; anew for one that has it (a token refresh)
	Resume   Kind = "resume"   // likewise, for one that shows an earlier token: only a place that it has
	Open     Kind = "open"     // an SDP offer with Session's token
	Confirm  Kind = "confirm"  // feedback of Session: connected
	Fail     Kind = "fail"     // feedback of Session: failed
	Leave    Kind = "leave"    // Session, for good
	TakeMic  Kind = "take-mic" // Session asks for Index, -1 for any
	LeaveMic Kind = "leave-mic"
	GiveMic  Kind = "give-mic" // to Member, at Index, -1 for any
	PullMic  Kind = "pull-mic" // from Member
	Kick     Kind = "kick"     // Member
	Unban    Kind = "unban"    // Subject
)

// Operation is one call and its answer. Times are Unix nanoseconds of this machine.
type Operation struct {
	Caller  int       `json:"caller"`
	Via     string    `json:"via"` // the way that it took
	Kind    Kind      `json:"kind"`
	Subject string    `json:"subject,omitempty"` // also whose Session is
	Session string    `json:"session,omitempty"` // Join and Resume: as answered
	Member  uint32    `json:"member,omitempty"`  // Join and Resume: as answered
	Of      uint32    `json:"of,omitempty"`      // Resume: the member of the token that was shown
	Index   int       `json:"index,omitempty"`
	Expires time.Time `json:"expires,omitzero"` // Open: of the token

	Call   int64     `json:"call"`
	Return int64     `json:"return"`
	Code   room.Code `json:"code,omitempty"` // of the refusal; empty: granted
	// Epoch that answered; 0: not known.
	Epoch uint64 `json:"epoch,omitempty"`
}

// retries are the refusals that say nothing about the room: ask again.
var retries = map[room.Code]bool{
	room.Moving: true, room.StaleEpoch: true, "stopping": true, "no-room": true, "room-not-ready": true, "room-waking": true,
	"token-audience": true, "rate-limited": true, "control-plane-unavailable": true, "chat-unavailable": true, "keys-not-ready": true, "gateway-stopping": true,
}

// Retry says whether a refusal says nothing about the room.
func Retry(c room.Code) bool { return retries[c] }

// Version is the room right after a change.
type Version struct {
	// State is nil for a time of which nothing is known: before the stream was seen,
	// after its pod died, or in a gap.
	State *room.State
	// Left are why members left in this change, by subject.
	Left map[string]room.Code
	// The change happened in this closed interval.
	From, Until int64
}

// Window is a part of a history: all of it between two moments at which nobody asked
// for anything.
type Window struct {
	Room     string
	Epoch    uint64
	Subjects []string // all that operations name; the first is the owner
	// Versions in their order. The first one is where the window starts.
	Versions   []Version
	Operations []Operation
	// Lost are operations without an answer: they may have happened, at any time after
	// they were asked.
	Lost []Operation
}
