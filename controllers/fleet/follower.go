package fleet

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// errGap ends a watch whose events do not follow the replica: the next one starts
// with a snapshot.
var errGap = errors.New("events do not follow the replica")

// follower keeps the replica of one room in one epoch.
type follower struct {
	fleet  *Fleet
	claim  Claim
	cancel context.CancelFunc
	pod    *mediaapi.Client

	released atomic.Bool   // see Fleet.ReleaseHeld
	resting  bool          // see Fleet.Rest; guarded by Fleet.mu
	urgent   chan struct{} // of capacity 1: the pod is to hear at once what is held
	turn     chan struct{} // closed when its pod may be called; see Fleet.turns
	met      func()        // lets the next one have the turn: the first call was answered, or failed

	mu      sync.Mutex
	watched uint64 // the last event that the watch brought; 0: none yet
	mirror  room.Replica
	shared  *room.State // a clone of its state that was given out; nil when that has changed
	live    bool
	reached bool      // the pod has answered us since it was claimed
	refused bool      // the last call found nobody listening
	lostAt  time.Time // since when it is not live
}

func (n *follower) replica() Replica {
	n.mu.Lock()
	defer n.mu.Unlock()
	left := n.patience()
	lost := !n.live && left <= 0
	r := Replica{Epoch: n.claim.Epoch, Live: n.live, Lost: lost, Silent: lost && !n.refused}
	if !n.live && !lost {
		r.Patience = left
	}
	if state := n.mirror.State(); state != nil && n.shared == nil {
		n.shared = state.Clone()
	}
	r.State = n.shared
	return r
}

// patience is how long yet the pod may fail to answer before it is lost. One that never
// answered us says less of itself: the network may not know yet that we may call it. That it
// has ended, its kubelet says. Call it with the lock held.
func (n *follower) patience() time.Duration {
	most := unmetAfter
	if n.reached {
		most = lostAfter
	}
	switch {
	case n.refused && n.reached:
		return 0
	case !n.mayCall():
		return most
	}
	return max(0, most-n.fleet.clock.Since(n.lostAt))
}

func (n *follower) isLive() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.live
}

// watch keeps the replica in step until ctx ends.
func (n *follower) watch(ctx context.Context) {
	defer n.rest()
	if !n.await(ctx) {
		return
	}
	defer n.met()
	for ctx.Err() == nil {
		called := n.fleet.clock.Now()
		err := n.pod.Watch(ctx, n.claim.Epoch, n.seen(), n.take)
		if ctx.Err() != nil {
			return
		}
		n.met()
		n.lose(err)
		early := retryEvery - n.fleet.clock.Since(called)
		if early <= 0 {
			continue // it stood for a while: a pod that is dead refuses the next call at once
		}
		select {
		case <-ctx.Done():
		case <-n.fleet.clock.After(early):
		}
	}
}

// await waits for a turn to call the pod, and counts its silence from then. It is false if
// ctx ended before.
func (n *follower) await(ctx context.Context) bool {
	select {
	case n.fleet.turns <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	n.mu.Lock()
	n.lostAt = n.fleet.clock.Now()
	n.mu.Unlock()
	close(n.turn)
	return true
}

// mayCall says whether the pod is being called by now.
func (n *follower) mayCall() bool {
	select {
	case <-n.turn:
		return true
	default:
		return false
	}
}

// rest notes that nobody watches any more, which says nothing about the pod.
func (n *follower) rest() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.live, n.lostAt = false, n.fleet.clock.Now()
}

// seen is the event after which the watch goes on.
func (n *follower) seen() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.watched
}

// take is given every frame of the watch, in order: it brings the replica up to it,
// acknowledges what must not be lost, and wakes the controller. The frame is the
// follower's to keep.
func (n *follower) take(f mediaapi.Frame) error {
	n.met()
	news, err := n.apply(f)
	if err != nil {
		return err
	}
	if momentous(f) {
		n.acknowledge()
	}
	switch {
	case news || n.pressing(f):
		n.fleet.wake(n.claim.Room, 0)
	case f.Snapshot != nil || f.Event != nil:
		n.fleet.wake(n.claim.Room, summaryEvery)
	}
	return nil
}

// pressing says whether a frame brings what a pod that the room has left must follow at
// once, if it still forwards: somebody was muted, lost a microphone or was thrown out.
func (n *follower) pressing(f mediaapi.Frame) bool {
	e := f.Event
	return e != nil && (e.Mic != nil || e.Type == room.EventLeft) && n.claim.Epoch > 1 && !n.released.Load()
}

// apply brings the replica up to a frame. It is news if the pod was found again or the
// room's phase changed.
func (n *follower) apply(f mediaapi.Frame) (news bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	news = !n.live
	switch e := f.Event; {
	case f.Snapshot != nil:
		news = n.replace(n.mirror.Begin, f.Snapshot) || news
		n.watched = f.Snapshot.Seq
		n.fleet.listener.Snapshot(f.Snapshot)
	case e != nil:
		news = news || e.Room != nil
		if !n.mirror.Follow(*e) {
			n.watched = 0 // a snapshot mends it
			return false, errGap
		}
		n.watched, n.shared = e.Seq, nil
		n.fleet.listener.Event(n.mirror.State().ID, *e)
	}
	n.live, n.reached, n.refused = true, true, false
	n.fleet.errandsOf(n.claim.RoomUID, n.mirror.State(), f)
	return news, nil
}

// replace takes a whole state, by one of the ways that the replica has, and says whether the
// phase changed. Call it with the lock held.
func (n *follower) replace(take func(*room.State), s *room.State) bool {
	old := n.mirror.State()
	take(s)
	n.shared = nil
	return old == nil || old.Phase != n.mirror.State().Phase
}

// learn takes the answer to a call, which may have overtaken the watch.
func (n *follower) learn(s *room.State) {
	n.mu.Lock()
	news := n.replace(n.mirror.Learn, s)
	n.reached = true
	n.mu.Unlock()
	if news {
		n.fleet.wake(n.claim.Room, 0)
	}
}

// lose notes that the watch broke.
func (n *follower) lose(err error) {
	n.mu.Lock()
	was := n.live
	if was || Misconfigured(err) { // a pod that refuses us is not lost
		n.lostAt = n.fleet.clock.Now()
	}
	n.live, n.refused = false, errors.Is(err, syscall.ECONNREFUSED)
	n.mu.Unlock()
	if was {
		n.fleet.log.Info("lost the watch of a room's media pod", "room", n.claim.Room, "epoch", n.claim.Epoch, "reason", err.Error())
	}
	n.fleet.wake(n.claim.Room, 0) // it comes again when the patience is at its end
}
