package voiceroom

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
)

func TestGroupFor(t *testing.T) {
	vr := testRoom(func(vr *v1alpha1.VoiceRoom) {
		vr.Spec.DisplayName = "Friday"
		vr.Spec.Chat = v1alpha1.RoomChat{Provider: "nats", DeletionPolicy: v1alpha1.DeletionRetain}
	})
	group := groupFor(vr)
	want := v1alpha1.GroupChatSpec{Provider: "nats", Name: "Friday", Owner: "key:k:ann", MaxMembers: 10, MaxMics: 2, DeletionPolicy: v1alpha1.DeletionRetain}
	if diff := cmp.Diff(want, group.Spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if !metav1.IsControlledBy(group, vr) || group.Name != vr.Name || group.Namespace != vr.Namespace {
		t.Errorf("group %s/%s is not owned by its room: %v", group.Namespace, group.Name, group.OwnerReferences)
	}
	if len(group.Finalizers) != 1 || group.Finalizers[0] != v1alpha1.Finalizer {
		t.Errorf("finalizers %v: the group could be gone before it is dissolved", group.Finalizers)
	}
}

// TestSpecOf: whatever the intent of a room is, its pod is told.
func TestSpecOf(t *testing.T) {
	vr := testRoom(func(vr *v1alpha1.VoiceRoom) {
		vr.Generation = 3
		s := &vr.Spec
		s.DisplayName, s.Access, s.MicPolicy, s.Duplicates = "Friday", v1alpha1.AccessLocked, v1alpha1.MicAppointed, v1alpha1.DuplicatesRefuse
		s.Audience, s.MuteOnEntry, s.SpeakingSeconds, s.Announcement, s.Metadata = v1alpha1.AudienceMix, true, 180, "Hello", map[string]string{"theme": "dark"}
		s.Moderators, s.Banned = []string{"key:k:bob"}, []string{"key:k:eve"}
	})
	want := room.Spec{Generation: 3, DisplayName: "Friday", Owner: "key:k:ann", MaxMembers: 10, MaxMics: 2, Access: room.Locked, MicPolicy: room.Appointed,
		Duplicates: room.Refuse, Audience: room.Mix, MuteOnEntry: true, SpeakingSeconds: 180, Announcement: "Hello", Metadata: map[string]string{"theme": "dark"},
		Moderators: []string{"key:k:bob"}, Banned: []string{"key:k:eve"}}
	if diff := cmp.Diff(want, specOf(vr)); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	for i, v := range reflect.ValueOf(want).Fields() {
		if v.IsZero() {
			t.Errorf("%s of the spec is not tested", i.Name)
		}
	}
}

func TestNodeAddresses(t *testing.T) {
	external := corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: "203.0.113.7"}
	internal := corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "10.0.0.7"}
	name := corev1.NodeAddress{Type: corev1.NodeHostName, Address: "node-7"}
	for what, tt := range map[string]struct {
		node []corev1.NodeAddress
		want []string
	}{
		"external first": {[]corev1.NodeAddress{name, internal, external}, []string{"203.0.113.7"}},
		"internal":       {[]corev1.NodeAddress{name, internal}, []string{"10.0.0.7"}},
		"both families":  {[]corev1.NodeAddress{internal, {Type: corev1.NodeInternalIP, Address: "fd00::7"}}, []string{"10.0.0.7", "fd00::7"}},
		"host's":         {nil, []string{"192.0.2.1"}},
	} {
		t.Run(what, func(t *testing.T) {
			node := &corev1.Node{Status: corev1.NodeStatus{Addresses: tt.node}}
			pod := &corev1.Pod{Status: corev1.PodStatus{HostIP: "192.0.2.1"}}
			if diff := cmp.Diff(tt.want, nodeAddresses(node, pod)); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestShortage(t *testing.T) {
	pod := func(change func(*corev1.Pod)) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{}}}
		p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
		change(&p)
		return p
	}
	assigned := pod(func(p *corev1.Pod) { p.Labels[v1alpha1.LabelRoomUID] = "x" })
	starting := pod(func(p *corev1.Pod) { p.Status = corev1.PodStatus{Phase: corev1.PodPending} })
	claimed := pod(func(*corev1.Pod) {})
	pool := &v1alpha1.MediaPool{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.MediaPoolSpec{MaxPods: 2}}
	for name, tt := range map[string]struct {
		pods     []corev1.Pod
		reason   string
		says     string
		obstacle string // as the pool tells it
	}{
		"no image": {nil, v1alpha1.ReasonWaitingForPod, "0 of at most 2; pod p waits (ErrImagePull): not found", "pod p waits (ErrImagePull): not found"},
		"full":     {[]corev1.Pod{assigned, assigned}, v1alpha1.ReasonPoolExhausted, "2 assigned, 0 being claimed, 0 starting, 2 of at most 2", ""},
		"promised": {[]corev1.Pod{assigned, claimed}, v1alpha1.ReasonPoolExhausted, "1 assigned, 1 being claimed", ""},
		"starting": {[]corev1.Pod{assigned, starting}, v1alpha1.ReasonWaitingForPod, "1 starting", ""},
		"growing":  {nil, v1alpha1.ReasonWaitingForPod, "0 of at most 2", ""},
	} {
		t.Run(name, func(t *testing.T) {
			pool.Status.Conditions = nil
			if tt.obstacle != "" {
				pool.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionProgressing, Status: metav1.ConditionFalse, Message: tt.obstacle}}
			}
			reason, message := numbers(pool, tt.pods)
			if reason != tt.reason || !strings.Contains(message, tt.says) {
				t.Errorf("%s: %s; want %s: ...%s", reason, message, tt.reason, tt.says)
			}
		})
	}
}
