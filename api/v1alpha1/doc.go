// Package v1alpha1 holds the resources of voiceroom.dev: VoiceRoom (a live
// voice room), GroupChat (its instant-messaging group), JoinRequest (a way in
// for callers that speak only Kubernetes), MediaPool (where media pods come
// from) and ChatProvider (where groups live).
//
// Resources hold intent and summaries. The live roster and the seats are exact
// in the room's media pod and nowhere else; status is a summary of them, written
// at most once a second and room.
//
// +kubebuilder:object:generate=true
// +groupName=voiceroom.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion is the API group and version of every resource here.
	GroupVersion = schema.GroupVersion{Group: "voiceroom.dev", Version: "v1alpha1"}

	// SchemeBuilder registers the types with a scheme.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds the types of this group to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

func addKnownTypes(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&VoiceRoom{}, &VoiceRoomList{},
		&GroupChat{}, &GroupChatList{},
		&JoinRequest{}, &JoinRequestList{},
		&MediaPool{}, &MediaPoolList{},
		&ChatProvider{}, &ChatProviderList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
