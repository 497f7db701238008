package controllers_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// refresh reads a room and returns its MediaReady.
func refresh(t *testing.T, vr *v1alpha1.VoiceRoom) metav1.Condition {
	t.Helper()
	must(t, cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr))
	if c := meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionMediaReady); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// TestNamespaceQuota: a room that is too much waits and says so, an edit that is too much is
// not applied, and both go on by themselves.
func TestNamespaceQuota(t *testing.T) {
	startOperator(t, nil)
	pool := newPool("shared", 2, 10, 22500)
	pool.Spec.NamespaceQuota.MaxMembers = ptr.To[int32](80)
	must(t, cluster.Create(t.Context(), pool))
	sized := func(n int32) func(*v1alpha1.VoiceRoom) {
		return func(vr *v1alpha1.VoiceRoom) { vr.Spec.Media.Pool, vr.Spec.MaxMembers = "shared", n }
	}
	first := newRoom(t, "quota-first", sized(50))
	waitReady(t, first)
	second := newRoom(t, "quota-second", sized(50))
	c := waitCondition(t, second, v1alpha1.ConditionMediaReady, metav1.ConditionFalse, v1alpha1.ReasonQuotaExceeded)
	if !strings.Contains(c.Message, "wants 50") || !strings.Contains(c.Message, "50 of the 80") || !strings.Contains(c.Message, "raise the quota") {
		t.Errorf("message %q", c.Message)
	}
	edit := func(vr *v1alpha1.VoiceRoom, members int32) {
		t.Helper()
		stored := vr.DeepCopy()
		vr.Spec.MaxMembers = members
		must(t, cluster.Patch(t.Context(), vr, client.MergeFrom(stored)))
	}
	edit(first, 81)
	waitCondition(t, first, v1alpha1.ConditionMediaReady, metav1.ConditionTrue, v1alpha1.ReasonQuotaExceeded)
	if first.Status.EffectiveMaxMembers != 50 {
		t.Errorf("the caps are %d", first.Status.EffectiveMaxMembers)
	}
	// Without its pod the room keeps what it had, and no more.
	must(t, cluster.Delete(t.Context(), podOf(t, first)))
	until(t, "another pod holds the room with the old caps", func() (bool, error) {
		c := refresh(t, first)
		return first.Status.Media != nil && first.Status.Media.Epoch > 1 && c.Reason == v1alpha1.ReasonQuotaExceeded && c.Status == metav1.ConditionTrue, nil
	})
	if first.Status.EffectiveMaxMembers != 50 {
		t.Errorf("in the next pod the caps are %d", first.Status.EffectiveMaxMembers)
	}
	edit(first, 30)
	waitReady(t, second) // 30 and 50
	edit(first, 40)
	waitCondition(t, first, v1alpha1.ConditionMediaReady, metav1.ConditionTrue, v1alpha1.ReasonQuotaExceeded)
	stored := pool.DeepCopy()
	pool.Spec.NamespaceQuota.MaxMembers = ptr.To[int32](90)
	must(t, cluster.Patch(t.Context(), pool, client.MergeFrom(stored)))
	until(t, "the edit is applied", func() (bool, error) { return refresh(t, first).Reason == v1alpha1.ReasonPodClaimed, nil })
	if first.Status.EffectiveMaxMembers != 40 {
		t.Errorf("the caps are %d", first.Status.EffectiveMaxMembers)
	}
	removeRoom(t, first)
	removeRoom(t, second)
}

// TestOperatorCutOff: an operator whom no pod answers gives none of them up; one whom others
// answer does.
func TestOperatorCutOff(t *testing.T) {
	startOperator(t, nil)
	must(t, cluster.Create(t.Context(), newPool("island", 4, 8, 22800)))
	waitWarm(t, "island")
	var rooms []*v1alpha1.VoiceRoom
	for _, name := range []string{"cut-a", "cut-b", "cut-c", "cut-d"} {
		rooms = append(rooms, newRoom(t, name, inPool("island")))
	}
	for _, vr := range rooms {
		waitReady(t, vr)
	}
	waitWarm(t, "island")
	waitWarm(t, "default")
	everyPod := func(do func(namespace, name string) bool) {
		t.Helper()
		var pods corev1.PodList
		must(t, cluster.List(t.Context(), &pods, client.InNamespace(mediaNamespace)))
		for i := range pods.Items {
			do(mediaNamespace, pods.Items[i].Name)
		}
	}
	everyPod(node.Cut)
	for _, vr := range rooms {
		until(t, vr.Name+" is left where it is", func() (bool, error) {
			everyPod(node.Cut) // also one that has just started
			return strings.Contains(refresh(t, vr).Message, "neither does any other pod"), nil
		})
	}
	everyPod(node.Heal)
	for _, vr := range rooms {
		until(t, vr.Name+" is found again", func() (bool, error) {
			return strings.HasSuffix(refresh(t, vr).Message, "holds the room under epoch 1"), nil
		})
	}
	claimed := map[string]bool{}
	for _, vr := range rooms {
		claimed[vr.Status.Media.Pod] = node.Cut(mediaNamespace, vr.Status.Media.Pod)
	}
	for _, vr := range rooms {
		until(t, vr.Name+" has another pod", func() (bool, error) {
			c := refresh(t, vr)
			return c.Status == metav1.ConditionTrue && !claimed[vr.Status.Media.Pod], nil
		})
	}
	for pod := range claimed {
		node.Heal(mediaNamespace, pod)
	}
	for _, vr := range rooms {
		removeRoom(t, vr)
	}
}
