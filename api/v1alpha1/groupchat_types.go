package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// GroupState is the state that the group carries at its provider.
// +kubebuilder:validation:Enum=Invalid;Valid
type GroupState string

// Group states. Invalid to Valid is a one-way latch.
const (
	GroupInvalid GroupState = "Invalid"
	GroupValid   GroupState = "Valid"
)

// GroupChatSpec asks for an instant-messaging group.
// +kubebuilder:validation:XValidation:rule="self.maxMics <= self.maxMembers",message="maxMics (8 unless set) must not exceed maxMembers",fieldPath=".maxMics"
type GroupChatSpec struct {
	// Provider names a ChatProvider.
	// +optional
	// +kubebuilder:default=default
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="provider is immutable"
	Provider string `json:"provider,omitempty"`

	// Name is what people see. Defaults to the resource's name.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name,omitempty"`

	// Owner is the subject of the client that the group is tied to.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="owner is immutable"
	Owner string `json:"owner"`

	// +optional
	// +kubebuilder:default=50
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	MaxMembers int32 `json:"maxMembers,omitempty"`

	// +optional
	// +kubebuilder:default=8
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxMics int32 `json:"maxMics,omitempty"`

	// +optional
	// +kubebuilder:default=Delete
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// BoundRoom is the one room that a group belongs to.
type BoundRoom struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// GroupChatStatus is what the provider holds.
type GroupChatStatus struct {
	// GroupID is the group's ID at the provider.
	// +optional
	GroupID string `json:"groupID,omitempty"`
	// +optional
	State GroupState `json:"state,omitempty"`
	// Members that are associated with the group.
	// +optional
	Members int32 `json:"members"`
	// BoundRoom is set by an optimistic patch, once.
	// +optional
	BoundRoom *BoundRoom `json:"boundRoom,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// GroupChat is an instant-messaging group at a chat provider.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=gc,categories=voice
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Members",type=integer,JSONPath=`.status.members`
// +kubebuilder:printcolumn:name="Room",type=string,JSONPath=`.status.boundRoom.name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Group",type=string,priority=1,JSONPath=`.status.groupID`
// +kubebuilder:printcolumn:name="Provider",type=string,priority=1,JSONPath=`.spec.provider`
type GroupChat struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec GroupChatSpec `json:"spec"`
	// +optional
	Status GroupChatStatus `json:"status,omitzero"`
}

// GroupChatList is a list of GroupChat.
// +kubebuilder:object:root=true
type GroupChatList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GroupChat `json:"items"`
}
