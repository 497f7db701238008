package v1alpha1

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NetworkType says how clients reach a media pod.
// +kubebuilder:validation:Enum=HostPort
type NetworkType string

// NetworkHostPort pods listen on a port of its node, UDP and TCP.
const NetworkHostPort NetworkType = "HostPort"

// DefaultAudienceTick is that of pools that do not say, and of media pods that are not told.
const DefaultAudienceTick = 20 * time.Millisecond

// PortRange is inclusive.
// +kubebuilder:validation:XValidation:rule="self.min <= self.max",message="min must not exceed max"
// +kubebuilder:validation:XValidation:rule="self.max < 9090 || (self.min > 9090 && self.max < 9443) || self.min > 9443",message="the range must not include 9090 and 9443, on which every media pod serves metrics and control calls"
type PortRange struct {
	// +required
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:validation:Maximum=65535
	Min int32 `json:"min"`
	// +required
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:validation:Maximum=65535
	Max int32 `json:"max"`
}

// PoolNetwork says how clients reach the pool's pods.
type PoolNetwork struct {
	// +optional
	// +kubebuilder:default=HostPort
	Type NetworkType `json:"type,omitempty"`

	// PortRange: each pod has one port of it, unique in the pool. The pod is named
	// after it, which is the port's lock.
	// +optional
	// +kubebuilder:default={min: 20000, max: 20999}
	PortRange PortRange `json:"portRange,omitzero"`

	// Advertise are the IP addresses that clients are told, instead of the node's
	// ExternalIP (else its InternalIP).
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="self.all(a, isIP(a))",message="advertise takes IP addresses"
	Advertise []string `json:"advertise,omitempty"`
}

// PodParts are the parts of a media pod that a deployer sets.
type PodParts struct {
	// Image of the media server. Defaults to the operator's own version.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitzero"`
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`
}

// MediaPoolSpec says how many media pods there are and what they look like.
// +kubebuilder:validation:XValidation:rule="self.warm <= self.maxPods",message="warm must not exceed maxPods",fieldPath=".warm"
type MediaPoolSpec struct {
	// AllowedNamespaces are the namespaces whose rooms may use the pool; "*" is any.
	// +optional
	// +listType=set
	// +kubebuilder:default={"*"}
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	AllowedNamespaces []string `json:"allowedNamespaces,omitempty"`

	// Warm is how many idle pods stay ready at least. When rooms are made faster than pods
	// start, more are kept.
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Warm int32 `json:"warm"`

	// MaxPods bounds idle and claimed pods together.
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	MaxPods int32 `json:"maxPods,omitempty"`

	// RoomsPerPod: a pod holds one room and is never given another.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1
	RoomsPerPod int32 `json:"roomsPerPod,omitempty"`

	// +optional
	// +kubebuilder:default={}
	Network PoolNetwork `json:"network,omitzero"`

	// AudienceTick is how often listeners who hold no microphone are sent what was said since:
	// longer takes the pods less CPU and adds half of it to what these listeners hear late. 0s:
	// they are sent everything at once, as who holds a microphone always is. A change makes new
	// pods, as one of the template does.
	// +optional
	// +kubebuilder:default="20ms"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('60ms')",message="must be between 0s and 60ms"
	AudienceTick *metav1.Duration `json:"audienceTick,omitempty"`

	// +optional
	// +kubebuilder:default={}
	Template PodParts `json:"template,omitzero"`

	// +optional
	// +kubebuilder:default={}
	Update PoolUpdate `json:"update,omitzero"`

	// NamespaceQuota bounds what the rooms of any one namespace may sum to in this pool. How
	// many rooms a namespace may have is a ResourceQuota's to say
	// (count/voicerooms.voiceroom.dev).
	// +optional
	NamespaceQuota NamespaceQuota `json:"namespaceQuota,omitzero"`
}

// PoolUpdate says how pods are replaced whose template is not the pool's any more: idle
// ones at once, and those that hold a room when it has ended, or at the deadline.
type PoolUpdate struct {
	// Deadline is how long after a change of the template the rooms in older pods are left
	// alone. Then each room's own drain policy applies.
	// +optional
	// +kubebuilder:default="24h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('8760h')",message="must be between 0s and 8760h"
	Deadline *metav1.Duration `json:"deadline,omitempty"`
}

// NamespaceQuota are sums over the rooms of one namespace that have, or want, a pod.
type NamespaceQuota struct {
	// MaxMembers is the most that the rooms' maxMembers may sum to. Unset: no limit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000000
	MaxMembers *int32 `json:"maxMembers,omitempty"`
	// MaxMics is the most that the rooms' maxMics may sum to. Unset: no limit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	MaxMics *int32 `json:"maxMics,omitempty"`
}

// MediaPoolStatus counts the pool's pods.
type MediaPoolStatus struct {
	// Ready pods are idle and can be claimed.
	// +optional
	Ready int32 `json:"ready"`
	// Assigned pods hold a room.
	// +optional
	Assigned int32 `json:"assigned"`
	// Starting pods are not ready yet.
	// +optional
	Starting int32 `json:"starting"`
	// Wanted is how many idle pods the pool keeps now: warm, or more when rooms are made fast.
	// +optional
	Wanted int32 `json:"wanted"`
	// Outdated pods were made from an earlier template.
	// +optional
	Outdated int32 `json:"outdated"`
	// Template is what pods are made from now.
	// +optional
	Template TemplateStatus `json:"template,omitzero"`
	// Selector of the pool's pods, for the scale subresource.
	// +optional
	Selector string `json:"selector,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// TemplateStatus tells a pod template from those before.
type TemplateStatus struct {
	// Hash of the template, which pods carry in the label voiceroom.dev/template.
	// +optional
	Hash string `json:"hash,omitempty"`
	// Since is when the pool began to make pods of it; update.deadline counts from then.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
}

// MediaPool is where media pods come from.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.warm,statuspath=.status.ready,selectorpath=.status.selector
// +kubebuilder:resource:scope=Cluster,shortName=mp,categories=voice
// +kubebuilder:printcolumn:name="Warm",type=integer,JSONPath=`.spec.warm`
// +kubebuilder:printcolumn:name="Ready",type=integer,JSONPath=`.status.ready`
// +kubebuilder:printcolumn:name="Assigned",type=integer,JSONPath=`.status.assigned`
// +kubebuilder:printcolumn:name="Starting",type=integer,JSONPath=`.status.starting`
// +kubebuilder:printcolumn:name="Max",type=integer,JSONPath=`.spec.maxPods`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Why",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 40",message="the name must be at most 40 characters"
type MediaPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec MediaPoolSpec `json:"spec"`
	// +optional
	Status MediaPoolStatus `json:"status,omitzero"`
}

// MediaPoolList is a list of MediaPool.
// +kubebuilder:object:root=true
type MediaPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MediaPool `json:"items"`
}
