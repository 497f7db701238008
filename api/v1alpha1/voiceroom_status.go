package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RoomPhase is one word for printing; conditions are the truth.
// +kubebuilder:validation:Enum=Pending;Ready;Open;Asleep;Closed
type RoomPhase string

// Room phases.
const (
	RoomPending RoomPhase = "Pending" // group or media pod is not there yet
	RoomReady   RoomPhase = "Ready"   // waits for its owner
	RoomOpen    RoomPhase = "Open"    // people can join
	RoomAsleep  RoomPhase = "Asleep"  // empty, without a pod, wakes at the next join
	RoomClosed  RoomPhase = "Closed"  // ended, for good
)

// VoiceRoomStatus is a summary of the room.
type VoiceRoomStatus struct {
	// +optional
	Phase RoomPhase `json:"phase,omitempty"`

	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// GroupID is the group's ID at the chat provider, to be passed on to others.
	// +optional
	GroupID string `json:"groupID,omitempty"`

	// GroupChat names the GroupChat of this room.
	// +optional
	GroupChat string `json:"groupChat,omitempty"`

	// +optional
	Media *RoomMediaStatus `json:"media,omitempty"`

	// Members in the room now, as the media pod counts them.
	// +optional
	Members int32 `json:"members"`

	// Mics that exist now, by index.
	// +optional
	// +listType=map
	// +listMapKey=index
	Mics []MicStatus `json:"mics,omitempty"`

	// OnMic names the holders of Mics who are in the room, in one line: a printer column
	// shows only the first of a list.
	// +optional
	OnMic string `json:"onMic,omitempty"`

	// EffectiveMaxMembers and EffectiveMaxMics are the caps as the pod acknowledged them.
	// +optional
	EffectiveMaxMembers int32 `json:"effectiveMaxMembers,omitempty"`
	// +optional
	EffectiveMaxMics int32 `json:"effectiveMaxMics,omitempty"`

	// Host is the subject that is the host while it is in the room: the owner, unless
	// somebody took its place.
	// +optional
	Host string `json:"host,omitempty"`

	// Banned are the subjects that moderators banned in the call, beside spec.banned.
	// +optional
	// +listType=set
	Banned []string `json:"banned,omitempty"`

	// Kicked are the subjects that were thrown out and not let in again, the latest 256.
	// +optional
	// +listType=map
	// +listMapKey=subject
	Kicked []KickedStatus `json:"kicked,omitempty"`

	// Muted are subjects whose microphones a moderator muted, here or not; at most 256.
	// +optional
	// +listType=set
	Muted []string `json:"muted,omitempty"`

	// ChatMuted are subjects that may not post to the chat, here or not; at most 256.
	// +optional
	// +listType=set
	ChatMuted []string `json:"chatMuted,omitempty"`

	// InvitesResetAt is when a moderator made all invite links useless that existed then.
	// +optional
	InvitesResetAt *metav1.Time `json:"invitesResetAt,omitempty"`

	// HostTicketSecret names the Secret with the owner's ticket.
	// +optional
	HostTicketSecret string `json:"hostTicketSecret,omitempty"`

	// HostTicketExpiresAt is until when that ticket can be used. A new one is put into
	// the Secret long before.
	// +optional
	HostTicketExpiresAt *metav1.Time `json:"hostTicketExpiresAt,omitempty"`

	// HostTicketKey is the ID of the key that signed that ticket. A ticket whose key is
	// gone is replaced at once.
	// +optional
	HostTicketKey string `json:"hostTicketKey,omitempty"`

	// JoinURL is the link that people open in a browser, if the operator knows the
	// gateway's public address.
	// +optional
	JoinURL string `json:"joinURL,omitempty"`

	// StartedAt is when the first client entered (the group turned Valid).
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`

	// EmptySince is when the last member left.
	// +optional
	EmptySince *metav1.Time `json:"emptySince,omitempty"`

	// +optional
	CloseReason CloseReason `json:"closeReason,omitempty"`

	// CloseMessage is what the moderator who closed the room had to say.
	// +optional
	CloseMessage string `json:"closeMessage,omitempty"`

	// +optional
	ClosedAt *metav1.Time `json:"closedAt,omitempty"`
}

// RoomMediaStatus is the claim: which pod holds the room, under which epoch.
type RoomMediaStatus struct {
	// Pod is the media pod's name, in the operator's media namespace.
	Pod string `json:"pod"`
	// PodUID fences against a pod of the same name.
	PodUID string `json:"podUID"`
	// +optional
	Node string `json:"node,omitempty"`
	// Endpoint is the pod's control address, host:port.
	// +optional
	Endpoint string `json:"endpoint,omitempty"`
	// Epoch counts the claims of this room; a higher one fences all lower ones.
	Epoch int64 `json:"epoch"`
}

// KickedStatus is somebody who was thrown out.
type KickedStatus struct {
	Subject string `json:"subject"`
	// At is when. Only an invitation that was made for the subject later lets it in again,
	// or a moderator's unban.
	At metav1.Time `json:"at"`
}

// MicStatus is one microphone.
type MicStatus struct {
	Index int32 `json:"index"`
	// Holder is the subject on this microphone.
	Holder string `json:"holder"`
	// +optional
	Muted bool `json:"muted,omitempty"`
}
