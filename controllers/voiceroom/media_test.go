package voiceroom

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
)

// TestAlone: places that are held since a fail-over are given away only if no pod is left
// that may talk to who has them, and not while the cache may be behind our own writes.
func TestAlone(t *testing.T) {
	vr := testRoom(func(vr *v1alpha1.VoiceRoom) {
		vr.UID = "room"
		vr.Status.Media = &v1alpha1.RoomMediaStatus{Pod: "new", PodUID: "new", Epoch: 2}
	})
	bind := func(uid types.UID, room, epoch string, phase corev1.PodPhase) corev1.Pod {
		return corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid, Labels: map[string]string{v1alpha1.LabelRoomUID: room},
			Annotations: map[string]string{v1alpha1.AnnotationEpoch: epoch}}, Status: corev1.PodStatus{Phase: phase}}
	}
	here := bind("new", "room", "2", corev1.PodRunning)
	for what, tt := range map[string]struct {
		pod  corev1.Pod
		pods []corev1.Pod
		want bool
	}{
		"no other pod":                        {here, []corev1.Pod{here}, true},
		"the old one lives":                   {here, []corev1.Pod{bind("old", "room", "1", corev1.PodRunning), here}, false},
		"the old one has ended":               {here, []corev1.Pod{bind("old", "room", "1", corev1.PodFailed), here}, true},
		"the bind is not seen yet":            {corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "new"}}, nil, false},
		"only that of another epoch is seen":  {bind("new", "room", "1", corev1.PodRunning), nil, false},
		"it is seen to belong to another one": {bind("new", "other", "2", corev1.PodRunning), nil, false},
	} {
		if got := alone(vr, &tt.pod, tt.pods); got != tt.want {
			t.Errorf("%s: alone %t, want %t", what, got, tt.want)
		}
	}
}

// TestHolds: a room is in its pod, and who asked for more than that pod does is told so.
func TestHolds(t *testing.T) {
	r := &Reconciler{Clock: testclock.NewFakePassiveClock(epochZero)}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p-20000"}}
	for what, tt := range map[string]struct {
		spec   v1alpha1.AudienceMode
		pod    room.AudienceMode
		short  *shortage
		reason string
		says   string
	}{
		"all is as asked":         {v1alpha1.AudienceForward, room.Forward, nil, v1alpha1.ReasonPodClaimed, "epoch 2"},
		"an older pod forwards":   {v1alpha1.AudienceForward, "", nil, v1alpha1.ReasonPodClaimed, "epoch 2"},
		"a mix":                   {v1alpha1.AudienceMix, room.Mix, nil, v1alpha1.ReasonPodClaimed, "epoch 2"},
		"an older pod cannot mix": {v1alpha1.AudienceMix, "", nil, v1alpha1.ReasonMixUnavailable, "cannot mix"},
		"a pod without encoder":   {v1alpha1.AudienceMix, room.Forward, nil, v1alpha1.ReasonMixUnavailable, "no Opus encoder"},
		"the mix is not allowed":  {v1alpha1.AudienceMix, room.Forward, &shortage{reason: v1alpha1.ReasonQuotaExceeded, message: "too many"}, v1alpha1.ReasonQuotaExceeded, "too many"},
	} {
		vr := testRoom(func(vr *v1alpha1.VoiceRoom) {
			vr.Spec.Audience, vr.Status.Media = tt.spec, &v1alpha1.RoomMediaStatus{Epoch: 2}
		})
		r.holds(vr, pod, &room.State{Settings: room.Settings{Audience: tt.pod}}, tt.short)
		c := meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionMediaReady)
		if c.Status != metav1.ConditionTrue || c.Reason != tt.reason || !strings.HasPrefix(c.Message, "pod p-20000 holds the room") || !strings.Contains(c.Message, tt.says) {
			t.Errorf("%s: %+v", what, c)
		}
	}
}
