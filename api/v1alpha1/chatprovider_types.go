package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SecretKey names a key of a Secret in the operator's namespace.
type SecretKey struct {
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}

// NATSProvider keeps groups in NATS JetStream.
type NATSProvider struct {
	// URL of the server, or several separated by commas.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(nats|tls)://[^\s@]+$`
	URL string `json:"url"`

	// Token is the shared secret of the server.
	// +optional
	Token *SecretKey `json:"token,omitempty"`

	// CA verifies the server's certificate (PEM), for tls:// addresses.
	// +optional
	CA *SecretKey `json:"ca,omitempty"`

	// Replicas of each stream; 1, 3 or 5, at most as many as there are servers.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Enum=1;3;5
	Replicas int32 `json:"replicas,omitempty"`
}

// ChatProviderSpec says where groups live: exactly one back end is set.
// +kubebuilder:validation:ExactlyOneOf=nats
type ChatProviderSpec struct {
	// AllowedNamespaces are the namespaces whose groups may live here; "*" is any.
	// +optional
	// +listType=set
	// +kubebuilder:default={"*"}
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	AllowedNamespaces []string `json:"allowedNamespaces,omitempty"`

	// +optional
	NATS *NATSProvider `json:"nats,omitempty"`
}

// ChatProviderStatus says whether the back end can be reached and what it can do.
type ChatProviderStatus struct {
	// Capabilities beyond the required contract: History, Subscribe, Durable.
	// +optional
	// +listType=set
	Capabilities []string `json:"capabilities,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ChatProvider is an instant-messaging back end.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=cp,categories=voice
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Capabilities",type=string,JSONPath=`.status.capabilities`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Why",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="the name must be at most 63 characters"
type ChatProvider struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec ChatProviderSpec `json:"spec"`
	// +optional
	Status ChatProviderStatus `json:"status,omitzero"`
}

// ChatProviderList is a list of ChatProvider.
// +kubebuilder:object:root=true
type ChatProviderList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ChatProvider `json:"items"`
}
