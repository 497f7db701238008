package room

import "fmt"

// Code is a stable, machine-readable reason; the same over the data channel, the
// HTTP API and in status.
type Code string

// The codes of refusals.
const (
	RoomFull         Code = "room-full"
	RoomClosed       Code = "room-closed"
	NotOpenYet       Code = "not-open-yet"          // the owner has not associated
	Frozen           Code = "frozen"                // no admission lease: retry
	Moving           Code = "moving"                // sealed by a higher epoch: retry at the new pod
	IsBanned         Code = "banned"                // until unbanned
	IsKicked         Code = "kicked"                // until invited again
	InviteRequired   Code = "invite-required"       // by the room's access
	InviteVoid       Code = "invite-void"           // expired, or links were reset
	InviteUsed       Code = "invite-used"           // it has let in as many as it may
	RoomLocked       Code = "room-locked"           // by the room's access
	AlreadyJoined    Code = "already-joined"        // the subject is connected, and the room refuses duplicates
	TooMany          Code = "too-many-reservations" // of guests, from one address
	MicUnavailable   Code = "mic-unavailable"       // all that may exist are held, or there is no such index
	MicTaken         Code = "mic-taken"             // the asked index is held
	MicLocked        Code = "mic-locked"            // the asked index is locked
	MicNotAllowed    Code = "mic-not-allowed"       // by policy or role
	NotOnMic         Code = "not-on-mic"            // who is to hold one holds none
	MutedByModerator Code = "muted-by-moderator"    // only a moderator can lift it
	HandsRefused     Code = "hands-refused"         // by policy
	NoHand           Code = "no-hand"               // it is not raised
	NotAsked         Code = "not-asked"             // to speak, or no longer
	NotAllowed       Code = "not-allowed"           // the caller's role may not
	UnknownMember    Code = "unknown-member"
	UnknownSession   Code = "unknown-session" // no such session, or replaced
	TokenReplayed    Code = "token-replayed"  // the session was opened before
	NotAssociated    Code = "not-associated"  // the media connection does not stand
	NotEntered       Code = "not-entered"
	StaleEpoch       Code = "stale-epoch"
	StaleSpec        Code = "stale-generation"
	BadCommand       Code = "bad-command"
)

// The reasons of departures, of lost microphones and of lowered hands, beside IsKicked,
// IsBanned and MicLocked.
const (
	Left        Code = "left"
	Expired     Code = "expired"      // the reservation, the grace or the hand ran out
	Failed      Code = "failed"       // the client said so, or the handshake failed
	Replaced    Code = "replaced"     // the same subject came in again
	PulledDown  Code = "pulled-down"  // a moderator took the microphone
	TimeUp      Code = "time-up"      // the turn was over
	HandRefused Code = "hand-refused" // a moderator lowered the hand
	KeyRevoked  Code = "key-revoked"  // what let it in was signed by a key that is not trusted any more
)

// Error is a refusal: nothing was changed.
type Error struct {
	Code   Code
	Detail string // a sentence for people
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Detail) }

// Is makes errors.Is(err, &Error{Code: c}) compare codes.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

func refuse(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Detail: fmt.Sprintf(format, args...)}
}
