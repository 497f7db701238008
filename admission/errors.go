package admission

import (
	"errors"
	"fmt"

	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// Codes beside those of package room.
const (
	// ChatUnavailable: the group's chat back end does not answer, or refuses us.
	ChatUnavailable room.Code = "chat-unavailable"
	// ChatFull: the chat back end itself takes no more members, although the pod has room.
	ChatFull room.Code = "chat-full"
	// GroupGone: the room's group was dissolved.
	GroupGone room.Code = "group-gone"
	// MediaUnavailable: the room's media pod does not answer.
	MediaUnavailable room.Code = "media-unavailable"
)

// Error is why somebody cannot come in, or why a step could not be taken.
type Error struct {
	Code   room.Code
	Detail string // a sentence for people, without internals
	// Retryable: the same call may succeed in a moment, without anybody doing anything.
	Retryable bool

	cause error // for our logs; nil for a decision of the room
}

func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Detail, e.cause)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Detail)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, &Error{Code: c}) compare codes.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// CodeOf returns the code of an error of this package, and "" for any other.
func CodeOf(err error) room.Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// passing are the refusals that time alone lifts.
var passing = map[room.Code]bool{
	room.Frozen:        true, // until the lease is renewed
	room.Moving:        true, // until we know the new pod
	room.StaleEpoch:    true, // likewise
	room.NotOpenYet:    true, // until the owner comes
	room.NotAssociated: true, // until the media connection stands
	room.TooMany:       true, // until reservations run out
}

// ours are refusals that concern how we call the pod, not who wants to come in.
var ours = map[room.Code]bool{
	mediaapi.NoRoom:          true, // it restarts, or the claim is not complete
	mediaapi.OtherRoom:       true,
	mediaapi.Stopping:        true,
	mediaapi.Unauthenticated: true,
	mediaapi.Forbidden:       true,
	mediaapi.NotFound:        true,
	mediaapi.Internal:        true,
}

// FromPod types an error of a media pod: a refusal of the room keeps its code,
// whatever concerns how we call the pod is MediaUnavailable. doing is for our logs.
func FromPod(doing string, err error) error {
	if refusal, ok := errors.AsType[*room.Error](err); ok && !ours[refusal.Code] {
		return &Error{Code: refusal.Code, Detail: refusal.Detail, Retryable: passing[refusal.Code]}
	}
	return &Error{Code: MediaUnavailable, Detail: "the room's media server does not answer", Retryable: true,
		cause: fmt.Errorf("%s: %w", doing, err)}
}

// ofChat types what a chat back end answered.
func ofChat(doing string, err error) error {
	e := &Error{cause: fmt.Errorf("%s: %w", doing, err)}
	switch {
	case errors.Is(err, chat.ErrNotFound):
		e.Code, e.Detail = GroupGone, "the room's chat group is gone"
	case errors.Is(err, chat.ErrFull):
		e.Code, e.Detail, e.Retryable = ChatFull, "the room's chat group takes no more members", true
	case errors.Is(err, chat.ErrDenied), errors.Is(err, chat.ErrInvalid):
		e.Code, e.Detail = ChatUnavailable, "the room's chat refuses this"
	default:
		e.Code, e.Detail, e.Retryable = ChatUnavailable, "the room's chat does not answer", true
	}
	return e
}
