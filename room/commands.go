package room

import "time"

// Actor is who gives a command.
type Actor struct {
	// Session of a client that commands over its data channel or the HTTP API. Empty: the
	// control plane, which authorised the command itself.
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
		Role    Role   `json:"role,omitempty"` // asked; above Speaker only if the room lists the subject
		// InvitedAt is when the subject was invited, zero if it was not.
		InvitedAt time.Time `json:"invitedAt,omitzero"`
		// Invite is the link that invited it; nil if something made for this subject did.
		Invite *Invite `json:"invite,omitempty"`
		// Resumes is the session that the caller proved to be its own, if it did.
		Resumes string `json:"resumes,omitempty"`
		// Guest and Origin bound what one address can reserve.
		Guest  bool   `json:"guest,omitempty"`
		Origin string `json:"origin,omitempty"`
		// Keys are the IDs of the keys that signed what lets it in: what proved the subject, and
		// the link. None: another proof.
		Keys []string `json:"keys,omitempty"`
	}

	// Open spends the session's token, which Key signed: the client's offer was taken.
	Open struct{ Session, Key string }

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

	// Leave ends a session for good, and with it the membership of who is connected by it.
	Leave struct {
		Session string `json:"session,omitempty"` // default: the actor's
	}
)

// Invite is an invite link, as far as the room judges it.
type Invite struct {
	ID    string    `json:"id"`
	Uses  int       `json:"uses,omitempty"`  // how many it lets in at most; 0: no limit
	Until time.Time `json:"until"`           // it opens nothing from then on
	Named bool      `json:"named,omitempty"` // it was made for this subject
}

// What a member does for itself.
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
	// RaiseHand raises or lowers one's hand.
	RaiseHand struct {
		Raised bool `json:"raised"`
	}
	// AnswerAsk answers a moderator's AskToSpeak.
	AnswerAsk struct {
		Accept bool `json:"accept"`
	}
	// Rename changes one's display name.
	Rename struct {
		Name string `json:"name"`
	}
)

// Moderation of microphones and hands, by a host or co-host, or by the control plane.
type (
	// GiveMic puts a member on a microphone: it accepts a raised hand, moves a member that
	// has one, and begins a new turn. Who was in the audience becomes a speaker.
	GiveMic struct {
		Member uint32 `json:"member"`
		Index  int    `json:"index"` // -1: the lowest free one, or the one that it has
	}
	// PullMic takes a member's microphone away and puts a speaker into the audience.
	PullMic struct {
		Member uint32 `json:"member"`
	}
	// SwapMics exchanges what is at two indexes; one of them may be free.
	SwapMics struct {
		A int `json:"a"`
		B int `json:"b"`
	}
	// LockMic locks an index, which evicts who is on it, or unlocks it.
	LockMic struct {
		Index  int  `json:"index"`
		Locked bool `json:"locked"`
	}
	// MuteMember mutes a member so that only a moderator can lift it, on this microphone
	// and those that it takes later.
	MuteMember struct {
		Member uint32 `json:"member"`
		Muted  bool   `json:"muted"`
	}
	// MuteAll does so with everyone on a microphone who is no moderator.
	MuteAll struct {
		Muted bool `json:"muted"`
	}
	// SetPriority makes a member a priority speaker, who is heard before all others.
	SetPriority struct {
		Member   uint32 `json:"member"`
		Priority bool   `json:"priority"`
	}
	// LowerHand refuses a raised hand.
	LowerHand struct {
		Member uint32 `json:"member"`
	}
	// ClearHands refuses all of them.
	ClearHands struct{}
	// HandPriority moves a raised hand in the queue.
	HandPriority struct {
		Member   uint32 `json:"member"`
		Priority int    `json:"priority"` // 0 to MaxHandPriority
	}
	// AskToSpeak invites a member onto a microphone, for AskTTL.
	AskToSpeak struct {
		Member uint32 `json:"member"`
	}
)

// Moderation of members and of the room.
type (
	// Kick throws a member out until invited again; Ban also keeps it out.
	Kick struct {
		Member uint32 `json:"member"`
		Ban    bool   `json:"ban,omitempty"`
	}
	// Unban lets somebody in again who was kicked or banned, named by its subject or by the
	// number that it had as a member.
	Unban struct {
		Subject string `json:"subject,omitempty"`
		Member  uint32 `json:"member,omitempty"`
	}
	// ChatMute keeps a member from posting to the chat.
	ChatMute struct {
		Member uint32 `json:"member"`
		Muted  bool   `json:"muted"`
	}
	// SetRole makes a member a co-host, a speaker or one of the audience.
	SetRole struct {
		Member uint32 `json:"member"`
		Role   Role   `json:"role"`
	}
	// TransferHost makes a member the host, and the host a co-host. The owner may always
	// do so, also for itself.
	TransferHost struct {
		Member uint32 `json:"member"`
	}
	// Configure changes the settings that are not nil.
	Configure struct {
		DisplayName     *string            `json:"displayName,omitempty"`
		Access          *Access            `json:"access,omitempty"`
		MicPolicy       *MicPolicy         `json:"micPolicy,omitempty"`
		MuteOnEntry     *bool              `json:"muteOnEntry,omitempty"`
		SpeakingSeconds *int               `json:"speakingSeconds,omitempty"`
		Announcement    *string            `json:"announcement,omitempty"`
		Metadata        *map[string]string `json:"metadata,omitempty"` // all of it
	}
	// ResetInvites makes every invite link useless that exists now, also for those who are on
	// the way in.
	ResetInvites struct{}
	// Close ends the room for everyone.
	Close struct {
		Reason  string `json:"reason,omitempty"` // the control plane's; ClosedByModerator for others
		Message string `json:"message,omitempty"`
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
		// Durable is the event up to which a replica outlives the pod. Places that fell free
		// after it are not given to strangers yet: who left might have a place in the next epoch.
		Durable uint64 `json:"durable,omitempty"`
	}
	// ReleaseHeld lets strangers in, and gives them the places held for members of the
	// epoch before that do not come back: the old pod is proven dead.
	ReleaseHeld struct{}
	// RevokeKeys ends every session that something signed by one of these keys let in.
	// Members that entered keep their places for a grace, for who can prove to be them.
	RevokeKeys struct {
		Keys []string `json:"keys"`
	}
	// Seal fences the room: a higher epoch exists.
	Seal struct{}
	// Tick lets time pass: reservations, graces, turns and hands run out.
	Tick struct{}
)
