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

	released atomic.Bool // see Fleet.ReleaseHeld
	resting  bool        // see Fleet.Rest; guarded by Fleet.mu

	mu      sync.Mutex
	state   *room.State
	shared  *room.State // a copy of state that was given out; nil when state has changed
	live    bool
	refused bool      // the last call found nobody listening
	lostAt  time.Time // since when it is not live
}

func (n *follower) replica() Replica {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := Replica{Epoch: n.claim.Epoch, Live: n.live,
		Lost: !n.live && (n.refused || n.fleet.clock.Since(n.lostAt) >= lostAfter)}
	if n.state != nil && n.shared == nil {
		n.shared = n.state.Clone()
	}
	r.State = n.shared
	return r
}

// watch keeps the replica in step until ctx ends.
func (n *follower) watch(ctx context.Context) {
	defer n.rest()
	for ctx.Err() == nil {
		err := n.pod.Watch(ctx, n.claim.Epoch, 0, n.take)
		if ctx.Err() != nil {
			return
		}
		n.lose(err)
		select {
		case <-ctx.Done():
		case <-n.fleet.clock.After(retryEvery):
		}
	}
}

// rest notes that nobody watches any more, which says nothing about the pod.
func (n *follower) rest() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.live, n.lostAt = false, n.fleet.clock.Now()
}

// take applies one frame of the watch and wakes the controller. The frame is the
// follower's to keep.
func (n *follower) take(f mediaapi.Frame) error {
	urgent, err := n.apply(f)
	switch {
	case err != nil:
		return err
	case urgent:
		n.fleet.wake(n.claim.Room, 0)
	case f.Snapshot != nil || f.Event != nil:
		n.fleet.wake(n.claim.Room, summaryEvery)
	}
	return nil
}

// apply brings the replica up to a frame. It is urgent if the pod was found again or
// the room's phase changed.
func (n *follower) apply(f mediaapi.Frame) (urgent bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	urgent = !n.live
	if f.Snapshot != nil || f.Event != nil {
		n.shared = nil
	}
	n.live, n.refused = true, false
	switch {
	case f.Snapshot != nil:
		urgent = n.replace(f.Snapshot) || urgent
	case f.Event != nil:
		urgent = urgent || f.Event.Room != nil
		if n.state == nil || !n.state.Apply(*f.Event) {
			return false, errGap
		}
	}
	n.fleet.errandsOf(n.claim.RoomUID, n.state, f)
	return urgent, nil
}

// replace takes a snapshot, unless it is the answer to a call that the watch has
// overtaken, and says whether the phase changed. Call it with the lock held.
func (n *follower) replace(s *room.State) bool {
	old := n.state
	if old != nil && old.Epoch == s.Epoch && old.Seq > s.Seq {
		return false
	}
	n.state = s
	return old == nil || old.Phase != s.Phase
}

// lose notes that the watch broke.
func (n *follower) lose(err error) {
	n.mu.Lock()
	was := n.live
	if was || Misconfigured(err) { // a pod that refuses us is not lost
		n.lostAt = n.fleet.clock.Now()
	}
	n.live, n.refused = false, errors.Is(err, syscall.ECONNREFUSED)
	refused := n.refused
	n.mu.Unlock()
	if was {
		n.fleet.log.Info("lost the watch of a room's media pod", "room", n.claim.Room, "epoch", n.claim.Epoch, "reason", err.Error())
	}
	if was || refused {
		n.fleet.wake(n.claim.Room, 0)
	}
	n.fleet.wake(n.claim.Room, lostAfter)
}

// renew keeps strangers welcome while this claim stands. Only the leader changes
// epochs, so for as long as it leads, what it follows is the room's epoch.
func (n *follower) renew(ctx context.Context) {
	ticker := n.fleet.clock.NewTicker(renewEvery)
	defer ticker.Stop()
	for {
		if err := n.renewOnce(ctx); err != nil && ctx.Err() == nil {
			n.fleet.log.V(1).Info("admission lease not renewed", "room", n.claim.Room, "epoch", n.claim.Epoch, "reason", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
	}
}

func (n *follower) renewOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	return n.pod.Renew(ctx, n.claim.Epoch, 0)
}
