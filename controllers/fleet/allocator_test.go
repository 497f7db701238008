package fleet

import (
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

func idlePod(name string, age time.Duration) corev1.Pod {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name),
		Labels:            map[string]string{v1alpha1.LabelPool: "default"},
		CreationTimestamp: metav1.NewTime(time.Unix(1_000_000, 0).Add(-age))}}
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1",
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	return pod
}

func roomNamed(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "default", Name: name}
}

func TestTakePromisesEachPodOnce(t *testing.T) {
	var a Allocator
	pods := []corev1.Pod{idlePod("young", time.Minute), idlePod("old", time.Hour)}
	if got := a.Take("default", roomNamed("a"), pods); got == nil || got.Name != "old" {
		t.Fatalf("first room got %v, want the pod that has waited longest", got)
	}
	if got := a.Take("default", roomNamed("a"), pods); got == nil || got.Name != "old" {
		t.Errorf("asking again gave %v, want the same pod", got)
	}
	if got := a.Take("default", roomNamed("b"), pods); got == nil || got.Name != "young" {
		t.Errorf("second room got %v, want the other pod", got)
	}
	if got := a.Take("default", roomNamed("c"), pods); got != nil {
		t.Errorf("third room got %s, want none: both are promised", got.Name)
	}
	a.Release(roomNamed("a"))
	if got := a.Take("default", roomNamed("c"), pods); got == nil || got.Name != "old" {
		t.Errorf("third room got %v, want the pod that was given back", got)
	}
}

func TestTakePassesOverPodsThatCannotBeClaimed(t *testing.T) {
	now := metav1.Now()
	unready, assigned, leaving, ended := idlePod("unready", 0), idlePod("assigned", 0), idlePod("leaving", 0), idlePod("ended", 0)
	unready.Status.Conditions[0].Status = corev1.ConditionFalse
	assigned.Labels[v1alpha1.LabelRoomUID] = "somebody"
	leaving.DeletionTimestamp = &now
	ended.Status.Phase = corev1.PodFailed
	var a Allocator
	if got := a.Take("default", roomNamed("a"), []corev1.Pod{unready, assigned, leaving, ended}); got != nil {
		t.Errorf("took %s", got.Name)
	}
}

// TestTakeMovesOn: a promised pod that another leader gave away is not returned again.
func TestTakeMovesOn(t *testing.T) {
	var a Allocator
	pods := []corev1.Pod{idlePod("one", time.Hour), idlePod("two", 0)}
	first := a.Take("default", roomNamed("a"), pods)
	first.Labels[v1alpha1.LabelRoomUID] = "somebody else"
	if got := a.Take("default", roomNamed("a"), pods); got == nil || got.Name != "two" {
		t.Fatalf("got %v, want the pod that is still idle", got)
	}
	if a.Promised(first.UID) {
		t.Error("the pod that was given away is still promised")
	}
}

func TestNextWakesWhoWaitedLongest(t *testing.T) {
	var a Allocator
	for _, name := range []string{"a", "b", "a"} { // asking again keeps the place in the queue
		a.Take("default", roomNamed(name), nil)
	}
	a.Take("other", roomNamed("c"), nil)
	for _, want := range []string{"a", "b"} {
		if got, ok := a.Next("default"); !ok || got != roomNamed(want) {
			t.Errorf("Next = %v, %v; want %s", got, ok, want)
		}
	}
	if got, ok := a.Next("default"); ok {
		t.Errorf("Next = %v of a pool whose waiters were all woken", got)
	}
	if n := a.Waiting("default"); n != 2 {
		t.Errorf("%d rooms wait, want 2: nobody got a pod yet", n)
	}
	a.Take("default", roomNamed("b"), nil)
	a.Take("default", roomNamed("a"), nil)
	if got, _ := a.Next("default"); got != roomNamed("a") {
		t.Errorf("Next = %v, want a, which was there first", got)
	}
	a.Release(roomNamed("a"))
	if n := a.Waiting("default"); n != 1 {
		t.Errorf("%d rooms wait, want 1", n)
	}
}

func TestTwentyRoomsAtOnce(t *testing.T) {
	var a Allocator
	var pods []corev1.Pod
	for i := range 20 {
		pods = append(pods, idlePod(fmt.Sprintf("pod-%d", i), time.Duration(i)*time.Second))
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		taken = map[string]int{}
	)
	for i := range 20 {
		wg.Go(func() {
			pod := a.Take("default", roomNamed(fmt.Sprintf("room-%d", i)), pods)
			if pod == nil {
				t.Errorf("room %d got none of 20 pods", i)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			taken[pod.Name]++
		})
	}
	wg.Wait()
	if len(taken) != 20 {
		t.Errorf("20 rooms share %d pods", len(taken))
	}
}
