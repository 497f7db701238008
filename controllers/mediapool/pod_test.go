package mediapool

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/fleet"
)

// TestPodFor checks what the media server, the node and the fleet rely on.
func TestPodFor(t *testing.T) {
	pod := podFor(pool(1, 2), 20003, "media:v1", "voiceroom-media", "hash")
	c := pod.Spec.Containers[0]
	want := []string{"--pod-uid=$(POD_UID)", "--control=$(POD_IP):9443", "--health=$(POD_IP):9090", "--media=:20003",
		"--keys=/etc/voiceroom/keys", "--tls=/etc/voiceroom/tls"}
	if diff := cmp.Diff(want, c.Args); diff != "" {
		t.Errorf("args (-want +got):\n%s", diff)
	}
	if pod.Name != "p-20003" || pod.Labels[v1alpha1.LabelPool] != "p" || c.Image != "media:v1" {
		t.Errorf("pod %s of pool %s runs %s", pod.Name, pod.Labels[v1alpha1.LabelPool], c.Image)
	}
	if port := fleet.MediaPort(pod); port != 20003 {
		t.Errorf("the fleet takes %d for the media port", port)
	}
	for _, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolTCP} {
		if !slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool {
			return p.Protocol == protocol && p.HostPort == 20003 && p.ContainerPort == 20003
		}) {
			t.Errorf("no %s host port", protocol)
		}
	}
	if fleet.Assigned(pod) {
		t.Error("a new pod counts as assigned")
	}
	if pod.Labels[v1alpha1.LabelTemplate] != "hash" || pod.Annotations[fleet.SafeToEvict] != "true" || *pod.Spec.TerminationGracePeriodSeconds != 60 {
		t.Errorf("labels %v, annotations %v, %d s to end", pod.Labels, pod.Annotations, *pod.Spec.TerminationGracePeriodSeconds)
	}
}

// TestAudienceTick: the media server is told what it would not do anyway, and a pool that says
// nothing, or what is so, keeps the pods that it has.
func TestAudienceTick(t *testing.T) {
	before := hashOf(t, pool(1, 2), "media:v1")
	for tick, want := range map[time.Duration]string{v1alpha1.DefaultAudienceTick: "", 0: "--audience-tick=0s", 40 * time.Millisecond: "--audience-tick=40ms"} {
		mp := pool(1, 2)
		mp.Spec.AudienceTick = &metav1.Duration{Duration: tick}
		flags := podFor(mp, 20003, "media:v1", "voiceroom-media", "hash").Spec.Containers[0].Args
		got := slices.DeleteFunc(slices.Clone(flags), func(flag string) bool { return !strings.HasPrefix(flag, "--audience-tick") })
		if strings.Join(got, " ") != want {
			t.Errorf("a tick of %v: %q, want %q", tick, got, want)
		}
		if same := hashOf(t, mp, "media:v1") == before; same != (want == "") {
			t.Errorf("a tick of %v: pods stay: %v", tick, same)
		}
	}
}

// TestPodHoldsNoCredentials: it faces the Internet.
func TestPodHoldsNoCredentials(t *testing.T) {
	pod := podFor(pool(1, 2), 20003, "media:v1", "voiceroom-media", "hash")
	s, c := pod.Spec, pod.Spec.Containers[0].SecurityContext
	switch {
	case s.AutomountServiceAccountToken == nil || *s.AutomountServiceAccountToken:
		t.Error("a service account's token is mounted")
	case s.HostNetwork, s.HostPID, s.HostIPC:
		t.Error("it shares its node's namespaces")
	case !*s.SecurityContext.RunAsNonRoot, !*c.ReadOnlyRootFilesystem, *c.AllowPrivilegeEscalation:
		t.Error("it may become root, or write")
	case !slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}), s.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
		t.Error("it has capabilities, or no seccomp profile")
	}
	for _, v := range s.Volumes {
		if v.Secret != nil && v.Secret.SecretName != "p-tls" {
			t.Errorf("Secret %s is mounted", v.Secret.SecretName)
		}
	}
}

func TestPodPartsOfThePool(t *testing.T) {
	mp := pool(1, 2)
	mp.Spec.Template = v1alpha1.PodParts{Image: "own:v2", NodeSelector: map[string]string{"edge": "yes"}, PriorityClassName: "voice",
		Tolerations: []corev1.Toleration{{Key: "edge"}},
		Resources:   corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")}}}
	pod := podFor(mp, 20003, "media:v1", "voiceroom-media", "hash")
	got := v1alpha1.PodParts{Image: pod.Spec.Containers[0].Image, NodeSelector: pod.Spec.NodeSelector, PriorityClassName: pod.Spec.PriorityClassName,
		Tolerations: pod.Spec.Tolerations, Resources: pod.Spec.Containers[0].Resources}
	if diff := cmp.Diff(mp.Spec.Template, got); diff != "" {
		t.Errorf("template (-want +got):\n%s", diff)
	}
}

// TestPodsAreSpread over nodes and zones, and idle ones apart from each other. The API
// server takes each topology once for what must not keep a pod from being scheduled.
func TestPodsAreSpread(t *testing.T) {
	pod := podFor(pool(1, 2), 20003, "media:v1", "voiceroom-media", "hash")
	idle, occupied := labels.Set(pod.Labels), labels.Merge(pod.Labels, labels.Set{v1alpha1.LabelRoomUID: "room"})
	matches := func(s *metav1.LabelSelector, set labels.Set) bool {
		t.Helper()
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			t.Fatal(err)
		}
		return selector.Matches(set)
	}
	want := []string{"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
	var all, apart []string
	for _, c := range pod.Spec.TopologySpreadConstraints {
		all = append(all, c.TopologyKey)
		if c.WhenUnsatisfiable != corev1.ScheduleAnyway || !matches(c.LabelSelector, idle) || !matches(c.LabelSelector, occupied) {
			t.Errorf("constraint %+v", c)
		}
	}
	for _, term := range pod.Spec.Affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
		apart = append(apart, term.PodAffinityTerm.TopologyKey)
		if s := term.PodAffinityTerm.LabelSelector; !matches(s, idle) || matches(s, occupied) {
			t.Errorf("anti-affinity %+v", term)
		}
	}
	if diff := cmp.Diff([][]string{want, want}, [][]string{all, apart}); diff != "" {
		t.Errorf("topologies of all and of idle pods (-want +got):\n%s", diff)
	}
}
