package room

import "time"

// Actor is who gives a command.
type Actor struct {
	// Session of a client that commands over its data channel. Empty: the control
	// plane, which authorised the command itself.
	Session string
}

// Control is the operator or a gateway, over the control API.
var Control = Actor{}

// Command is one of the types below.
type Command interface {
	apply(r *Room, now time.Time, by Actor) error
}

// The way in. These come from the control plane or the media server only.
type (
	// Reserve takes a place for a subject. A subject that has a place keeps it: a
	// new session replaces the one that was reserved, and takes over from the one
	// that is connected once it is associated.
	Reserve struct {
		Subject string `json:"subject"`
		Session string `json:"session"` // unique, made by the caller
		Name    string `json:"name,omitempty"`
		Role    Role   `json:"role,omitempty"` // asked; above Speaker only if the spec lists the subject
		// InvitedAt is when the subject was invited, zero if it was not.
		InvitedAt time.Time `json:"invitedAt,omitzero"`
		// Guest and Origin bound what one address can reserve.
		Guest  bool   `json:"guest,omitempty"`
		Origin string `json:"origin,omitempty"`
	}

	// Open spends the session's token: the client's offer was taken.
	Open struct{ Session string }

	// Associate says that the session's media connection stands.
	Associate struct{ Session string }

	// Enter says that the chat group took the client in. The first one, the
	// owner's, activates the room.
	Enter struct {
		Session string `json:"session"`
	}

	// Fail releases a session that did not come to stand.
	Fail struct {
		Session string `json:"session"`
		Reason  Code   `json:"reason,omitempty"` // default Failed
	}

	// Lost says that a session's connection is gone; its place is kept for a grace.
	Lost struct{ Session string }

	// Leave ends a session for good.
	Leave struct {
		Session string `json:"session,omitempty"` // default: the actor's
	}
)

// Microphones and hands. From a client, or from the control plane for Session.
type (
	// TakeMic takes a microphone: the given index, or with -1 the lowest free one.
	TakeMic struct {
		Index int `json:"index"`
	}
	// LeaveMic gives the microphone back.
	LeaveMic struct{}
	// Mute mutes or unmutes one's own microphone.
	Mute struct {
		Muted bool `json:"muted"`
	}
	// Hand raises or lowers one's hand.
	Hand struct {
		Raised bool `json:"raised"`
	}
	// Rename changes one's display name.
	Rename struct {
		Name string `json:"name"`
	}
)

// Moderation, by a host or co-host, or by the control plane.
type (
	// GiveMic puts a member on a microphone (it accepts a raised hand).
	GiveMic struct {
		Member uint32 `json:"member"`
		Index  int    `json:"index"` // -1: the lowest free one
	}
	// PullMic takes a member's microphone away.
	PullMic struct {
		Member uint32 `json:"member"`
	}
	// MuteMember mutes a member so that only a moderator can lift it.
	MuteMember struct {
		Member uint32 `json:"member"`
		Muted  bool   `json:"muted"`
	}
	// LowerHand refuses a raised hand.
	LowerHand struct {
		Member uint32 `json:"member"`
	}
	// Kick throws a member out until invited again; Ban also keeps it out.
	Kick struct {
		Member uint32 `json:"member"`
		Ban    bool   `json:"ban,omitempty"`
	}
	// Unban lets a subject in again.
	Unban struct {
		Subject string `json:"subject"`
	}
	// SetAccess changes who may join.
	SetAccess struct {
		Access Access `json:"access"`
	}
	// Close ends the room for everyone.
	Close struct {
		Reason string `json:"reason,omitempty"`
	}
)

// Control of the room by the operator.
type (
	// SetSpec applies what changed between the last spec and this one. An older
	// generation is refused, the same one changes nothing.
	SetSpec struct{ Spec Spec }
	// Renew lets strangers in until the time given; without it the room freezes.
	Renew struct {
		Until time.Time `json:"until"`
	}
	// ReleaseHeld gives places held for members of the epoch before to strangers:
	// the old pod is proven dead.
	ReleaseHeld struct{}
	// Seal fences the room: a higher epoch exists.
	Seal struct{}
	// Tick lets time pass: reservations and graces run out.
	Tick struct{}
)
