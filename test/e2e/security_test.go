package e2e

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/fleet"
)

// mediaPod is an idle pod of the default pool.
func mediaPod(t *testing.T) *corev1.Pod {
	t.Helper()
	var found *corev1.Pod
	until(t, "a media pod is idle", func() (bool, error) {
		var pods corev1.PodList
		if err := world.client.List(t.Context(), &pods, client.InNamespace(mediaNamespace), client.MatchingLabels{v1alpha1.LabelPool: "default"}); err != nil {
			return false, err
		}
		i := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool { return fleet.Idle(&p) })
		if i >= 0 {
			found = &pods.Items[i]
		}
		return i >= 0, nil
	})
	return found
}

// onlyHostPorts is what Pod Security says of a pod that is restricted but for its ports.
var onlyHostPorts = regexp.MustCompile(`violates PodSecurity "restricted:latest": hostPort \(container "media" uses hostPorts? [0-9, ]+\)$`)

// podSecurity: the namespace of operator, gateway and chat admits restricted pods only, and
// a media pod would be one but for its host port. It has no credentials.
func podSecurity(t *testing.T) {
	pod := mediaPod(t)
	twin := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: "twin"}, Spec: pod.Spec}
	twin.Spec.NodeName = ""
	if err := world.client.Create(t.Context(), twin, client.DryRunAll); err == nil || !onlyHostPorts.MatchString(err.Error()) {
		t.Errorf("a media pod among restricted ones: %v", err)
	}
	for _, v := range pod.Spec.Volumes {
		if v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool { return s.ServiceAccountToken != nil }) {
			t.Errorf("volume %s of a media pod has a token of the API server", v.Name)
		}
	}
	var secrets corev1.SecretList
	must(t, world.client.List(t.Context(), &secrets, client.InNamespace(mediaNamespace)))
	for _, s := range secrets.Items {
		if s.Name != "default-tls" {
			t.Errorf("Secret %s is in the media pods' namespace", s.Name)
		}
	}
}

// networkPolicies: who reaches what, tried from pods, where the cluster enforces it.
func networkPolicies(t *testing.T) {
	pod := mediaPod(t)
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: mediaNamespace, Name: "voiceroom-media"}}
	must(t, world.client.Get(t.Context(), client.ObjectKeyFromObject(policy), policy))
	selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
	must(t, err)
	if !selector.Matches(labels.Set(pod.Labels)) {
		t.Fatalf("NetworkPolicy %s does not select %s", policy.Name, pod.Name)
	}
	if !world.cluster.NetworkPolicies() {
		t.Skip("this cluster does not enforce NetworkPolicies")
	}
	chat := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: "voiceroom-chat-0"}}
	must(t, world.client.Get(t.Context(), client.ObjectKeyFromObject(chat), chat))
	control := net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(fleet.ControlPort))
	health := net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(fleet.HealthPort))
	media := net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(fleet.MediaPort(pod))))
	nats := net.JoinHostPort(chat.Status.PodIP, "4222")
	operator := map[string]string{"app.kubernetes.io/name": "voiceroom", "app.kubernetes.io/instance": release, "app.kubernetes.io/component": "operator"}
	asMedia := map[string]string{"app.kubernetes.io/name": "voiceroom", "app.kubernetes.io/component": "media"}
	for _, from := range []struct {
		what, namespace string
		labelled        map[string]string
		to              string
		gets            bool
	}{
		{"the operator, to a pod's control port", systemNamespace, operator, control, true},
		{"the operator, to chat", systemNamespace, operator, nats, true},
		{"anyone, to a pod's media port", "default", nil, media, true},
		{"anyone, to a pod's control port", "default", nil, control, false},
		{"one labelled like the operator elsewhere, to a pod's control port", "default", operator, control, false},
		{"anyone, to a pod's health port", "default", nil, health, false},
		{"anyone, to chat", "default", nil, nats, false},
		{"a media pod, to chat", mediaNamespace, asMedia, nats, false},
		{"a media pod, to the gateway", mediaNamespace, asMedia, strings.TrimPrefix(world.gateway, "http://"), false},
	} {
		if !dials(t, from.namespace, from.labelled, from.to, from.gets) {
			t.Errorf("%s: it gets through: %v, want %v", from.what, !from.gets, from.gets)
		}
	}
}

// dials says whether a pod reaches an address, or does not, as wanted.
func dials(t *testing.T, namespace string, labelled map[string]string, address string, reaches bool) bool {
	t.Helper()
	wanted := map[bool]string{true: "open", false: "closed"}[reaches]
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "dial-", Labels: labelled},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: ptr.To(false), TerminationGracePeriodSeconds: ptr.To[int64](0),
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: ptr.To(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{Name: "dial", Image: dialImage, Args: []string{wanted, address}, SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}}},
		},
	}
	must(t, world.client.Create(t.Context(), pod))
	await(t, pod, fmt.Sprintf("%s has dialled", pod.Name), func() bool {
		return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	})
	must(t, world.client.Delete(context.WithoutCancel(t.Context()), pod))
	return pod.Status.Phase == corev1.PodSucceeded
}
