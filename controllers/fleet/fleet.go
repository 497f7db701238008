package fleet

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

const (
	// retryEvery is how far calls of a lost pod are apart at least.
	retryEvery = 250 * time.Millisecond
	// lostAfter is how long a pod that does not answer is waited for. The watch itself
	// takes two and a half seconds to notice a silent pod; with what comes after it, its
	// people hear again within five. A refused connection counts at once.
	lostAfter = 1500 * time.Millisecond
	// unmetAfter is the same for a pod that has not answered this process yet: another
	// operator claimed it. Network policies let a new operator's calls through only when
	// every node has learned of its address.
	unmetAfter = 10 * time.Second
	// meetings are how many pods are called for the first time at once.
	meetings = 64
	// summaryEvery is how often a change of members or mics wakes the controller.
	summaryEvery = time.Second
)

// Claim says which pod holds a room under which epoch.
type Claim struct {
	Room     types.NamespacedName
	RoomUID  types.UID
	Epoch    uint64
	PodUID   string
	Endpoint string
}

// Replica is what the leader knows of a room.
type Replica struct {
	// State is the room's newest known state, nil if none was seen yet. It is shared:
	// read it only.
	State *room.State
	// Epoch is the one that is followed; State may still be of the one before.
	Epoch uint64
	// Live says that State is the room's state now: the watch stands.
	Live bool
	// Lost says that the pod refuses connections or has not answered for long: the
	// room needs another one.
	Lost bool
	// Silent says that a lost pod does not even refuse: it may well be alive.
	Silent bool
	// Patience is for how long yet a pod that does not answer is waited for before it is
	// lost; 0: it is live, or lost.
	Patience time.Duration
}

// Fleet follows the pods that hold rooms. It runs in the leader (it is a
// manager.Runnable); Follow, Rest, Replica and the others are safe for
// concurrent use and do nothing once it has stopped.
type Fleet struct {
	dialer   *mediaapi.Dialer
	clerk    Clerk
	clock    clock.WithTicker
	log      logr.Logger
	errands  workqueue.TypedRateLimitingInterface[errand] // see begin
	listener Listener
	wg       sync.WaitGroup // of the followers
	// turns bound how many pods are called for the first time at once: a new leader has
	// thousands to meet, and takes none for lost that it had no time for.
	turns chan struct{}

	mu        sync.Mutex
	stopped   bool
	queue     workqueue.TypedRateLimitingInterface[reconcile.Request]
	followers map[types.UID]*follower // by room
	uids      map[types.NamespacedName]types.UID
}

// New makes a fleet that calls pods through dialer.
func New(dialer *mediaapi.Dialer, clerk Clerk, clk clock.WithTicker, log logr.Logger) *Fleet {
	return &Fleet{dialer: dialer, clerk: clerk, clock: clk, log: log, listener: deaf{}, turns: make(chan struct{}, meetings), followers: map[types.UID]*follower{},
		uids: map[types.NamespacedName]types.UID{}}
}

// Start runs until ctx ends and then until every goroutine of the fleet has ended.
func (f *Fleet) Start(ctx context.Context) error {
	f.mu.Lock()
	f.begin()
	f.mu.Unlock()
	var running sync.WaitGroup
	for range runners {
		running.Go(func() { f.run(ctx) })
	}
	<-ctx.Done()
	f.errands.ShutDown()
	f.mu.Lock()
	f.stopped = true
	for _, n := range f.followers {
		n.cancel()
	}
	f.mu.Unlock()
	running.Wait()
	f.wg.Wait()
	f.dialer.Close()
	return nil
}

// begin makes the queue of errands, which Start ends: a fleet that never led leaves no
// goroutine behind. Call it with the lock held.
func (f *Fleet) begin() {
	if f.errands == nil {
		f.errands = newErrands(f.clock)
	}
}

// NeedLeaderElection makes the fleet run in the leader only.
func (f *Fleet) NeedLeaderElection() bool { return true }

// Source wakes a controller for every room whose replica changed: at once when
// its phase changed or its pod was lost or found, within a second otherwise.
func (f *Fleet) Source() source.Source {
	return source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.queue = q
		return nil
	})
}

// Follow makes the fleet watch the pod of a claim. A claim that is followed already
// changes nothing, a higher epoch replaces it. state is the room as the pod has
// just returned it, nil if it has not.
func (f *Fleet) Follow(c Claim, state *room.State) {
	if known := f.adopt(c, state); known != nil && state != nil {
		known.learn(state)
	}
}

// adopt starts to follow c, or returns who follows it already.
func (f *Fleet) adopt(c Claim, state *room.State) *follower {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.followers[c.RoomUID]
	switch {
	case f.stopped || old != nil && old.claim.Epoch > c.Epoch:
		return nil
	case old != nil && old.claim == c && !old.resting:
		return old
	case old != nil:
		old.cancel()
		if state == nil {
			state = old.replica().State // still the best seed that there is
		}
	}
	f.begin()
	ctx, cancel := context.WithCancel(context.Background()) // until the fleet stops
	n := &follower{fleet: f, cancel: cancel, claim: c, pod: f.dialer.Pod(c.Endpoint, c.PodUID), urgent: make(chan struct{}, 1),
		turn: make(chan struct{}), met: sync.OnceFunc(func() { <-f.turns }),
		lostAt: f.clock.Now()}
	n.reached = state != nil && state.Epoch == c.Epoch // it has just taken the room from us
	if state != nil {
		n.mirror.Learn(state)
	}
	if uid, ok := f.uids[c.Room]; ok && uid != c.RoomUID {
		f.deleted(c.Room) // an earlier room of this name
	}
	f.followers[c.RoomUID], f.uids[c.Room] = n, c.RoomUID
	f.wg.Go(func() { n.watch(ctx) })
	f.wg.Go(func() { n.renew(ctx) })
	return nil
}

// Rest stops following a room but keeps its last state, for the pod that it gets
// next, or the same one if the write that lets go of it fails.
func (f *Fleet) Rest(roomUID types.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.followers[roomUID]; n != nil {
		n.cancel()
		n.resting = true
	}
}

// forget stops following whatever room has this name and drops its replica. Call it with
// the lock held.
func (f *Fleet) forget(name types.NamespacedName) {
	uid, ok := f.uids[name]
	if !ok {
		return
	}
	f.followers[uid].cancel()
	delete(f.followers, uid)
	delete(f.uids, name)
}

// Replica returns what is known of a room; the zero Replica if it is not followed.
func (f *Fleet) Replica(roomUID types.UID) Replica {
	f.mu.Lock()
	n := f.followers[roomUID]
	f.mu.Unlock()
	if n == nil {
		return Replica{}
	}
	return n.replica()
}

// Census counts the pods that are followed, and those of them that answer.
func (f *Fleet) Census() (live, followed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.followers {
		if n.resting {
			continue
		}
		followed++
		if n.isLive() {
			live++
		}
	}
	return live, followed
}

// ReleaseHeld tells the pod of a room, once, that the pods of all earlier epochs are
// proven dead: the places that it holds for their members become free for others
// unless those come back soon.
func (f *Fleet) ReleaseHeld(ctx context.Context, roomUID types.UID) error {
	f.mu.Lock()
	n := f.followers[roomUID]
	f.mu.Unlock()
	if n == nil || n.released.Load() {
		return nil
	}
	if _, err := n.pod.Command(ctx, n.claim.Epoch, "", room.ReleaseHeld{}); err != nil {
		return fmt.Errorf("releasing the held places of room %s: %w", n.claim.Room, err)
	}
	n.released.Store(true)
	return nil
}

// wake asks the VoiceRoom controller to look at a room after a while.
func (f *Fleet) wake(name types.NamespacedName, after time.Duration) {
	f.mu.Lock()
	q := f.queue
	f.mu.Unlock()
	if q != nil {
		q.AddAfter(reconcile.Request{NamespacedName: name}, after)
	}
}
