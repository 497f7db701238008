package fleet

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/drain"
)

// Allocator remembers which room each warm pod was promised to, from the moment
// when a room chose it until the promise is visible on the pod itself, and which
// rooms wait. It decides nothing for good: two leaders that promise one pod are
// told apart by the optimistic patch on the pod. The zero value is ready to use.
// Safe for concurrent use.
type Allocator struct {
	mu       sync.Mutex
	promised map[types.UID]types.NamespacedName // room by pod
	waiting  []waiter                           // longest first
	queue    workqueue.TypedRateLimitingInterface[reconcile.Request]
}

type waiter struct {
	room  types.NamespacedName
	pool  string
	woken bool // by Next, and not back yet
}

// Source wakes a controller for every pool that one more room waits for.
func (a *Allocator) Source() source.Source {
	return source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.queue = q
		return nil
	})
}

// Take promises the room an idle pod out of a pool's pods. Asked again, it returns
// the same pod for as long as that can be claimed. Without one left, the room is put
// on the waiting list and nil is returned. Pods that have to go are given to nobody;
// nodes, by name, are those of the idle pods. Pods of the pool's present template go
// before older ones, then the longest-ready first, so that every replica of the choice
// comes to the same order.
func (a *Allocator) Take(pool *v1alpha1.MediaPool, room types.NamespacedName, pods []corev1.Pod, nodes map[string]*corev1.Node, now time.Time) *corev1.Pod {
	a.mu.Lock()
	defer a.mu.Unlock()
	var free *corev1.Pod
	for i := range pods {
		pod := &pods[i]
		if !Idle(pod) || drain.Judge(pod, nodes[pod.Spec.NodeName], pool, now).MustGo() {
			continue
		}
		switch owner, taken := a.promised[pod.UID]; {
		case taken && owner == room:
			return pod
		case !taken && (free == nil || better(pod, free, pool)):
			free = pod
		}
	}
	a.renege(room) // or that pod is not replaced as long as the room waits
	if free == nil {
		a.await(room, pool.Name)
		return nil
	}
	a.leave(room)
	if a.promised == nil {
		a.promised = map[types.UID]types.NamespacedName{}
	}
	a.promised[free.UID] = room
	return free
}

// await puts a room on the waiting list; one that is on it keeps its place. Call it with the
// lock held.
func (a *Allocator) await(room types.NamespacedName, pool string) {
	if i := slices.IndexFunc(a.waiting, func(w waiter) bool { return w.room == room }); i >= 0 {
		a.waiting[i].woken = false
		return
	}
	a.waiting = append(a.waiting, waiter{room: room, pool: pool})
	if a.queue != nil {
		a.queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: pool}})
	}
}

// better says whether to give pod a away before pod b.
func better(a, b *corev1.Pod, pool *v1alpha1.MediaPool) bool {
	if outdated := drain.Outdated(a, pool); outdated != drain.Outdated(b, pool) {
		return !outdated
	}
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Name < b.Name
}

// Release ends the promise to a room, and its wait: its claim is made, failed, or
// no longer wanted.
func (a *Allocator) Release(room types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.renege(room)
	a.leave(room)
}

// renege ends the promise to a room. Call it with the lock held.
func (a *Allocator) renege(room types.NamespacedName) {
	maps.DeleteFunc(a.promised, func(_ types.UID, owner types.NamespacedName) bool { return owner == room })
}

// leave takes a room off the waiting list. Call it with the lock held.
func (a *Allocator) leave(room types.NamespacedName) {
	a.waiting = slices.DeleteFunc(a.waiting, func(w waiter) bool { return w.room == room })
}

// Promised says whether a pod was promised to a room.
func (a *Allocator) Promised(pod types.UID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.promised[pod]
	return ok
}

// Waiting is how many rooms wait for a pod of this pool.
func (a *Allocator) Waiting(pool string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, w := range a.waiting {
		if w.pool == pool {
			n++
		}
	}
	return n
}

// Next is the room that has waited longest for a pod of this pool. It is not named
// again until it has asked in vain once more.
func (a *Allocator) Next(pool string) (types.NamespacedName, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.waiting {
		if w := &a.waiting[i]; w.pool == pool && !w.woken {
			w.woken = true
			return w.room, true
		}
	}
	return types.NamespacedName{}, false
}
