package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Access says who may join a room.
// +kubebuilder:validation:Enum=Public;InviteOnly;Locked
type Access string

// Access values.
const (
	AccessPublic     Access = "Public"     // whoever the gateway lets ask
	AccessInviteOnly Access = "InviteOnly" // holders of an invite or ticket, the owner, moderators
	AccessLocked     Access = "Locked"     // nobody new but the owner and moderators
)

// MicPolicy says how microphones are given.
// +kubebuilder:validation:Enum=Auto;OnRequest;Appointed
type MicPolicy string

// Microphone policies.
const (
	MicAuto      MicPolicy = "Auto"      // whoever enters gets one while fewer than maxMics exist
	MicOnRequest MicPolicy = "OnRequest" // raise a hand, a moderator accepts
	MicAppointed MicPolicy = "Appointed" // moderators assign them; hands are refused
)

// Duplicates says what happens when a subject that is in the room joins again.
// +kubebuilder:validation:Enum=Replace;Refuse
type Duplicates string

// Duplicates values.
const (
	DuplicatesReplace Duplicates = "Replace" // the new client takes the place over
	DuplicatesRefuse  Duplicates = "Refuse"  // only the same client may come back
)

// AudienceMode says what members of a room hear who hold no microphone.
// +kubebuilder:validation:Enum=Forward;Mix
type AudienceMode string

// Audience modes.
const (
	AudienceForward AudienceMode = "Forward" // the loudest microphones, each by itself
	AudienceMix     AudienceMode = "Mix"     // all microphones in one, mixed once for all of them
)

// DeletionPolicy says what happens to a group when its resource goes.
// +kubebuilder:validation:Enum=Delete;Retain
type DeletionPolicy string

// Deletion policies.
const (
	DeletionDelete DeletionPolicy = "Delete"
	DeletionRetain DeletionPolicy = "Retain"
)

// ChatFailurePolicy says what a join does while chat is unavailable.
// +kubebuilder:validation:Enum=Fail;Degrade
type ChatFailurePolicy string

// Chat failure policies.
const (
	ChatFail    ChatFailurePolicy = "Fail"    // nobody joins
	ChatDegrade ChatFailurePolicy = "Degrade" // people talk; chat catches up
)

// EmptyPolicy says what happens to a room that is empty for emptyTimeout.
// +kubebuilder:validation:Enum=Close;Sleep
type EmptyPolicy string

// Empty policies.
const (
	EmptyClose EmptyPolicy = "Close" // it ends for good
	EmptySleep EmptyPolicy = "Sleep" // it gives its pod back and wakes at the next join
)

// DrainPolicy says what becomes of a room whose pod has to go.
// +kubebuilder:validation:Enum=Migrate;Wait;Close
type DrainPolicy string

// Drain policies.
const (
	DrainMigrate DrainPolicy = "Migrate" // it moves to another pod at once, and the call goes on
	DrainWait    DrainPolicy = "Wait"    // it goes on until it ends by itself, or the deadline
	DrainClose   DrainPolicy = "Close"   // it ends
)

// VoiceRoomSpec is where a room starts. A later edit is a command: only the
// fields that changed are applied, so that a resync never undoes what a
// moderator did in the call.
// +kubebuilder:validation:XValidation:rule="self.maxMics <= self.maxMembers",message="maxMics (8 unless set) must not exceed maxMembers",fieldPath=".maxMics"
type VoiceRoomSpec struct {
	// DisplayName is what people see. Defaults to the resource's name.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(bytes(self)) <= 128 && self.matches(r'^[\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Zs}]*$')",message="displayName is at most 128 bytes of printable text"
	DisplayName string `json:"displayName,omitempty"`

	// Owner is the subject of the client that asked for the room, such as
	// "key:backend:alice" or "oidc:https://issuer.example:1234". Nobody can enter before
	// the owner did. The owner is counted as a member only once entered.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="owner is immutable"
	Owner string `json:"owner"`

	// MaxMembers is the most members that the room ever holds at once.
	// +optional
	// +kubebuilder:default=50
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	MaxMembers int32 `json:"maxMembers,omitempty"`

	// MaxMics is the most microphones that exist at once.
	// +optional
	// +kubebuilder:default=8
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxMics int32 `json:"maxMics,omitempty"`

	// +optional
	// +kubebuilder:default=Public
	Access Access `json:"access,omitempty"`

	// +optional
	// +kubebuilder:default=Auto
	MicPolicy MicPolicy `json:"micPolicy,omitempty"`

	// Duplicates says what happens when somebody who is in the room joins again.
	// +optional
	// +kubebuilder:default=Replace
	Duplicates Duplicates `json:"duplicates,omitempty"`

	// Audience says what who holds no microphone hears. Forward: the loudest microphones, each
	// by itself. Mix: one stream of all microphones, which the media pod decodes, mixes and
	// encodes once for all; that pays off when many listen to several who talk. Who holds a
	// microphone hears the others each by itself in either case.
	// +optional
	// +kubebuilder:default=Forward
	Audience AudienceMode `json:"audience,omitempty"`

	// MuteOnEntry mutes who enters onto a microphone, until it unmutes itself. Moderators
	// are not muted.
	// +optional
	MuteOnEntry bool `json:"muteOnEntry,omitempty"`

	// SpeakingSeconds is how long a turn on a microphone lasts. The turns of moderators do
	// not end. 0: no limit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=86400
	SpeakingSeconds int32 `json:"speakingSeconds,omitempty"`

	// Announcement is shown to everyone in the room.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="size(bytes(self)) <= 1024 && self.matches(r'^[\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Zs}\\n]*$')",message="announcement is at most 1024 bytes of printable text"
	Announcement string `json:"announcement,omitempty"`

	// Metadata is what the deployer's clients want to know of the room. Everyone in the
	// room can read it; nothing here looks at it.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) > 0 && size(bytes(k)) <= 64 && k.matches(r'^[\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Zs}]*$') && size(bytes(self[k])) <= 256)",message="metadata has printable keys of 1 to 64 bytes and values of up to 256"
	Metadata map[string]string `json:"metadata,omitempty"`

	// Moderators are subjects that enter as co-hosts.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Moderators []string `json:"moderators,omitempty"`

	// Banned subjects are thrown out and cannot join.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Banned []string `json:"banned,omitempty"`

	// +optional
	// +kubebuilder:default={}
	Chat RoomChat `json:"chat,omitzero"`

	// +optional
	// +kubebuilder:default={}
	Media RoomMedia `json:"media,omitzero"`

	// +optional
	// +kubebuilder:default={}
	Lifecycle RoomLifecycle `json:"lifecycle,omitzero"`
}

// RoomChat says where the room's group lives.
// +kubebuilder:validation:XValidation:rule="has(self.groupChatRef) == has(oldSelf.groupChatRef) && (!has(self.groupChatRef) || self.groupChatRef == oldSelf.groupChatRef)",message="chat.groupChatRef is immutable, once left unset too",fieldPath=".groupChatRef"
type RoomChat struct {
	// Provider names a ChatProvider. Not used when GroupChatRef is set.
	// +optional
	// +kubebuilder:default=default
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="chat.provider is immutable"
	Provider string `json:"provider,omitempty"`

	// GroupChatRef names a GroupChat of the same namespace that gets this room. The
	// room's caps must fit the group's, and the group is never deleted with the room.
	// +optional
	GroupChatRef *LocalReference `json:"groupChatRef,omitempty"`

	// DeletionPolicy of the group that is made for this room.
	// +optional
	// +kubebuilder:default=Delete
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// +optional
	// +kubebuilder:default=Fail
	FailurePolicy ChatFailurePolicy `json:"failurePolicy,omitempty"`
}

// LocalReference names a resource of the same namespace.
type LocalReference struct {
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// RoomMedia says where the room's media pod comes from.
type RoomMedia struct {
	// Pool names a MediaPool.
	// +optional
	// +kubebuilder:default=default
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="media.pool is immutable"
	Pool string `json:"pool,omitempty"`

	// +optional
	// +kubebuilder:default={}
	Drain RoomDrain `json:"drain,omitzero"`
}

// RoomDrain says what becomes of the room when its pod has to go: its node is drained or
// scaled away, the pod is evicted, or its pool's update has reached its deadline.
type RoomDrain struct {
	// +optional
	// +kubebuilder:default=Migrate
	Policy DrainPolicy `json:"policy,omitempty"`

	// Deadline is how long a room that waits may go on; then it is migrated.
	// +optional
	// +kubebuilder:default="1h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('720h')",message="must be between 0s and 720h"
	Deadline *metav1.Duration `json:"deadline,omitempty"`
}

// RoomLifecycle says when a room ends by itself.
type RoomLifecycle struct {
	// UnclaimedTimeout closes a room (and dissolves its group) whose owner never
	// entered.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('720h')",message="must be between 1s and 720h"
	UnclaimedTimeout *metav1.Duration `json:"unclaimedTimeout,omitempty"`

	// +optional
	// +kubebuilder:default=Close
	WhenEmpty EmptyPolicy `json:"whenEmpty,omitempty"`

	// EmptyTimeout is how long a room that was entered may be empty.
	// +optional
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('720h')",message="must be between 1s and 720h"
	EmptyTimeout *metav1.Duration `json:"emptyTimeout,omitempty"`

	// MaxDuration closes a room this long after it was activated. Unset: never.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('8760h')",message="must be between 1s and 8760h"
	MaxDuration *metav1.Duration `json:"maxDuration,omitempty"`

	// TTLSecondsAfterClosed deletes the resource this long after it closed. Unset: it stays.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=31536000
	TTLSecondsAfterClosed *int32 `json:"ttlSecondsAfterClosed,omitempty"`
}

// VoiceRoom is a live voice room.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=vr,categories=voice
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Members",type=integer,JSONPath=`.status.members`
// +kubebuilder:printcolumn:name="Max",type=integer,JSONPath=`.spec.maxMembers`
// +kubebuilder:printcolumn:name="On-Mic",type=string,JSONPath=`.status.onMic`
// +kubebuilder:printcolumn:name="Join",type=string,JSONPath=`.status.joinURL`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Host",type=string,priority=1,JSONPath=`.status.host`
// +kubebuilder:printcolumn:name="Group",type=string,priority=1,JSONPath=`.status.groupID`
// +kubebuilder:printcolumn:name="Pod",type=string,priority=1,JSONPath=`.status.media.pod`
// +kubebuilder:printcolumn:name="Why",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="the name must be at most 63 characters"
type VoiceRoom struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec VoiceRoomSpec `json:"spec"`
	// +optional
	Status VoiceRoomStatus `json:"status,omitzero"`
}

// VoiceRoomList is a list of VoiceRoom.
// +kubebuilder:object:root=true
type VoiceRoomList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VoiceRoom `json:"items"`
}
