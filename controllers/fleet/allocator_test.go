package fleet

import (
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

func idlePod(name string, age time.Duration) corev1.Pod {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name),
		Labels:            map[string]string{v1alpha1.LabelPool: "default"},
		CreationTimestamp: metav1.NewTime(now.Add(-age))}}
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1",
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	return pod
}

func roomNamed(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "default", Name: name}
}

func poolNamed(name string) *v1alpha1.MediaPool {
	return &v1alpha1.MediaPool{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

var now = time.Unix(1_000_000, 0)

func TestTakePromisesEachPodOnce(t *testing.T) {
	var a Allocator
	pods := []corev1.Pod{idlePod("young", time.Minute), idlePod("old", time.Hour)}
	if got := a.Take(poolNamed("default"), roomNamed("a"), pods, nil, now); got == nil || got.Name != "old" {
		t.Fatalf("first room got %v, want the pod that has waited longest", got)
	}
	if got := a.Take(poolNamed("default"), roomNamed("a"), pods, nil, now); got == nil || got.Name != "old" {
		t.Errorf("asking again gave %v, want the same pod", got)
	}
	if got := a.Take(poolNamed("default"), roomNamed("b"), pods, nil, now); got == nil || got.Name != "young" {
		t.Errorf("second room got %v, want the other pod", got)
	}
	if got := a.Take(poolNamed("default"), roomNamed("c"), pods, nil, now); got != nil {
		t.Errorf("third room got %s, want none: both are promised", got.Name)
	}
	a.Release(roomNamed("a"))
	if got := a.Take(poolNamed("default"), roomNamed("c"), pods, nil, now); got == nil || got.Name != "old" {
		t.Errorf("third room got %v, want the pod that was given back", got)
	}
}

func TestTakePassesOverPodsThatCannotBeClaimed(t *testing.T) {
	unready, assigned, leaving, ended := idlePod("unready", 0), idlePod("assigned", 0), idlePod("leaving", 0), idlePod("ended", 0)
	unready.Status.Conditions[0].Status = corev1.ConditionFalse
	assigned.Labels[v1alpha1.LabelRoomUID] = "somebody"
	leaving.DeletionTimestamp = &metav1.Time{Time: now}
	ended.Status.Phase = corev1.PodFailed
	var a Allocator
	if got := a.Take(poolNamed("default"), roomNamed("a"), []corev1.Pod{unready, assigned, leaving, ended}, nil, now); got != nil {
		t.Errorf("took %s", got.Name)
	}
}

// TestTakePassesOverPodsThatHaveToGo: neither one of a node that is drained, promised or
// not, nor one whose pool has waited long enough for its rooms to leave it.
func TestTakePassesOverPodsThatHaveToGo(t *testing.T) {
	pool := poolNamed("default")
	pool.Spec.Update.Deadline = &metav1.Duration{Duration: time.Hour}
	pool.Status.Template = v1alpha1.TemplateStatus{Hash: "new", Since: &metav1.Time{Time: now.Add(-time.Minute)}}
	onNode := func(name, node, template string) corev1.Pod {
		pod := idlePod(name, time.Minute)
		pod.Spec.NodeName, pod.Labels[v1alpha1.LabelTemplate] = node, template
		return pod
	}
	pods := []corev1.Pod{onNode("outdated", "stays", "old"), onNode("leaves", "drained", "new"), onNode("stays", "stays", "new")}
	nodes := map[string]*corev1.Node{"drained": {}, "stays": {}}

	var a Allocator
	if got := a.Take(pool, roomNamed("a"), pods, nodes, now); got == nil || got.Name != "leaves" {
		t.Fatalf("the first room got %v, want the first pod of the new template", got)
	}
	nodes["drained"].Spec.Unschedulable = true
	if got := a.Take(pool, roomNamed("a"), pods, nodes, now); got == nil || got.Name != "stays" {
		t.Fatalf("asking again gave %v, want the pod whose node stays", got)
	}
	if got := a.Take(pool, roomNamed("b"), pods, nodes, now); got == nil || got.Name != "outdated" {
		t.Errorf("the second room got %v, want the outdated pod: it may still be used", got)
	}
	a.Release(roomNamed("b"))
	if got := a.Take(pool, roomNamed("b"), pods, nodes, now.Add(time.Hour)); got != nil {
		t.Errorf("the second room got %s after the deadline", got.Name)
	}
}

// TestTakeMovesOn: a promised pod that another leader gave away is not returned again.
func TestTakeMovesOn(t *testing.T) {
	var a Allocator
	pods := []corev1.Pod{idlePod("one", time.Hour), idlePod("two", 0)}
	first := a.Take(poolNamed("default"), roomNamed("a"), pods, nil, now)
	first.Labels[v1alpha1.LabelRoomUID] = "somebody else"
	if got := a.Take(poolNamed("default"), roomNamed("a"), pods, nil, now); got == nil || got.Name != "two" {
		t.Fatalf("got %v, want the pod that is still idle", got)
	}
	if a.Promised(first.UID) {
		t.Error("the pod that was given away is still promised")
	}
}

func TestNextWakesWhoWaitedLongest(t *testing.T) {
	var a Allocator
	for _, name := range []string{"a", "b", "a"} { // asking again keeps the place in the queue
		a.Take(poolNamed("default"), roomNamed(name), nil, nil, now)
	}
	a.Take(poolNamed("other"), roomNamed("c"), nil, nil, now)
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
	a.Take(poolNamed("default"), roomNamed("b"), nil, nil, now)
	a.Take(poolNamed("default"), roomNamed("a"), nil, nil, now)
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
			pod := a.Take(poolNamed("default"), roomNamed(fmt.Sprintf("room-%d", i)), pods, nil, now)
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

// TestSource: a pool hears of each room that begins to wait, not of one that asks again. A new
// leader's rooms may say in their status since long ago that they wait.
func TestSource(t *testing.T) {
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer q.ShutDown()
	var a Allocator
	if err := a.Source().Start(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		room string
		news bool
	}{{"a", true}, {"a", false}, {"b", true}} {
		a.Take(poolNamed("default"), roomNamed(step.room), nil, nil, now)
		if got := q.Len() == 1; got != step.news {
			t.Fatalf("room %s waits: news is %v, want %v", step.room, got, step.news)
		}
		if step.news {
			request, _ := q.Get()
			q.Done(request)
			if request.Name != "default" || request.Namespace != "" {
				t.Errorf("told %v", request)
			}
		}
	}
}

// TestVoidPromise: a pod that was promised and has to go is nobody's, or its pool would keep it
// for a room that waits for another.
func TestVoidPromise(t *testing.T) {
	var a Allocator
	pod := idlePod("a", time.Minute)
	if a.Take(poolNamed("default"), roomNamed("a"), []corev1.Pod{pod}, nil, now) == nil {
		t.Fatal("no pod")
	}
	pod.Spec.NodeName = "drained"
	nodes := map[string]*corev1.Node{"drained": {Spec: corev1.NodeSpec{Unschedulable: true}}}
	if got := a.Take(poolNamed("default"), roomNamed("a"), []corev1.Pod{pod}, nodes, now); got != nil {
		t.Fatalf("took %s", got.Name)
	}
	if a.Promised(pod.UID) || a.Waiting("default") != 1 {
		t.Errorf("promised: %v, %d wait", a.Promised(pod.UID), a.Waiting("default"))
	}
}
