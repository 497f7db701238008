package room

import "fmt"

// Code is a stable, machine-readable reason; the same over the data channel, the
// HTTP API and in status.
type Code string

// The codes of refusals and of departures.
const (
	RoomFull       Code = "room-full"
	RoomClosed     Code = "room-closed"
	NotOpenYet     Code = "not-open-yet"    // the owner has not associated
	Frozen         Code = "frozen"          // no admission lease: retry
	Moving         Code = "moving"          // sealed by a higher epoch: retry at the new pod
	IsBanned       Code = "banned"          //
	IsKicked       Code = "kicked"          // until invited again
	InviteRequired Code = "invite-required" //
	RoomLocked     Code = "room-locked"     //
	TooMany        Code = "too-many-reservations"
	MicUnavailable Code = "mic-unavailable" // all that may exist are held
	MicTaken       Code = "mic-taken"       // the asked index is held
	MicNotAllowed  Code = "mic-not-allowed" // by policy or role
	NotOnMic       Code = "not-on-mic"      //
	HandsRefused   Code = "hands-refused"   // by policy
	NotAllowed     Code = "not-allowed"     // the caller's role may not
	UnknownMember  Code = "unknown-member"  //
	UnknownSession Code = "unknown-session" // no such session, or replaced
	TokenReplayed  Code = "token-replayed"  // the session was opened before
	NotAssociated  Code = "not-associated"  // the media connection does not stand
	NotEntered     Code = "not-entered"     //
	StaleEpoch     Code = "stale-epoch"     //
	StaleSpec      Code = "stale-generation"
	BadCommand     Code = "bad-command"

	// Reasons of departures and of lost microphones.
	Left       Code = "left"
	Expired    Code = "expired"     // the reservation or the grace ran out
	Failed     Code = "failed"      // the client said so, or the handshake failed
	Replaced   Code = "replaced"    // the same subject came in again
	PulledDown Code = "pulled-down" // a moderator took the mic
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
