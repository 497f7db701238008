package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// JoinRole is what a JoinRequest may ask to be.
// +kubebuilder:validation:Enum=CoHost;Speaker;Audience
type JoinRole string

// Roles of a JoinRequest.
const (
	JoinCoHost   JoinRole = "CoHost" // only for subjects that the room's spec lists
	JoinSpeaker  JoinRole = "Speaker"
	JoinAudience JoinRole = "Audience"
)

// JoinRequestSpec asks for a ticket to a room. Whoever may create one is
// trusted like an API key: it names any user. The ticket is an invitation made for the
// user: it lets in again who was kicked before, but not who is banned.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a JoinRequest is immutable; create another one"
type JoinRequestSpec struct {
	// Room is a VoiceRoom of the same namespace.
	// +required
	Room LocalReference `json:"room"`

	// User is the subject that joins, such as "key:backend:alice".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('guest:')",message="guest subjects are made by the gateway only"
	User string `json:"user"`

	// DisplayName is what people see.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(bytes(self)) <= 128 && self.matches(r'^[\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Zs}]*$')",message="displayName is at most 128 bytes of printable text"
	DisplayName string `json:"displayName,omitempty"`

	// +optional
	// +kubebuilder:default=Speaker
	Role JoinRole `json:"role,omitempty"`

	// TicketSeconds is how long the ticket may be used to ask.
	// +optional
	// +kubebuilder:default=600
	// +kubebuilder:validation:Minimum=30
	// +kubebuilder:validation:Maximum=86400
	TicketSeconds int32 `json:"ticketSeconds,omitempty"`

	// TTLSecondsAfterFinished deletes the request this long after it was denied,
	// joined or expired.
	// +optional
	// +kubebuilder:default=3600
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2592000
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// JoinPhase is how far a JoinRequest came.
// +kubebuilder:validation:Enum=Pending;Granted;Denied;Joined;Expired
type JoinPhase string

// Phases of a JoinRequest.
const (
	JoinPending JoinPhase = "Pending"
	JoinGranted JoinPhase = "Granted"
	JoinDenied  JoinPhase = "Denied"
	JoinJoined  JoinPhase = "Joined"
	JoinExpired JoinPhase = "Expired"
)

// JoinRequestStatus is the answer.
type JoinRequestStatus struct {
	// +optional
	Phase JoinPhase `json:"phase,omitempty"`
	// Reason is a stable code, the same as in the HTTP API (room-full, banned ...).
	// +optional
	Reason string `json:"reason,omitempty"`
	// TicketSecret names the Secret that holds the ticket under the key "ticket".
	// +optional
	TicketSecret string `json:"ticketSecret,omitempty"`
	// TicketKey is the ID of the key that signed that ticket. The ticket ends with it.
	// +optional
	TicketKey string `json:"ticketKey,omitempty"`
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// +optional
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// JoinRequest asks for a ticket to a room, for callers that speak only Kubernetes.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=jr,categories=voice
// +kubebuilder:printcolumn:name="Room",type=string,JSONPath=`.spec.room.name`
// +kubebuilder:printcolumn:name="User",type=string,JSONPath=`.spec.user`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type JoinRequest struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec JoinRequestSpec `json:"spec"`
	// +optional
	Status JoinRequestStatus `json:"status,omitzero"`
}

// JoinRequestList is a list of JoinRequest.
// +kubebuilder:object:root=true
type JoinRequestList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []JoinRequest `json:"items"`
}
