package fleet

import (
	"context"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

const (
	// renewEvery leaves room for two lost renewals within mediaapi.Lease.
	renewEvery = 3 * time.Second
	// renewTimeout keeps one pod that hangs from delaying its next renewal.
	renewTimeout = 2 * time.Second
	// acknowledgeAfter gathers what happens in a room into one acknowledgement: a command
	// causes several events.
	acknowledgeAfter = 50 * time.Millisecond
)

// momentous says whether a frame brings what a fail-over must not undo: whom moderators
// dealt with, who may come in, that the room opened or ended, whose place fell free. The pod
// hears at once that it is held here: it tells who waits for that, and gives the place away.
func momentous(f mediaapi.Frame) bool {
	e := f.Event
	return f.Snapshot != nil || e != nil && (e.Record != nil || e.Settings != nil || e.Room != nil || e.Type == room.EventLeft)
}

// acknowledge makes renew run soon. It never blocks.
func (n *follower) acknowledge() {
	select {
	case n.urgent <- struct{}{}:
	default: // it will, and says what is held by then
	}
}

// renew keeps strangers welcome while this claim stands, and tells the pod what is held
// here. Only the leader changes epochs, so for as long as it leads, what it follows is
// the room's epoch.
func (n *follower) renew(ctx context.Context) {
	ticker := n.fleet.clock.NewTicker(renewEvery)
	defer ticker.Stop()
	select {
	case <-n.turn:
	case <-ctx.Done():
		return
	}
	n.renewOnce(ctx)
	urgent, due := n.urgent, (<-chan time.Time)(nil)
	for {
		select {
		case <-ctx.Done():
			return
		case <-urgent:
			urgent, due = nil, n.fleet.clock.After(acknowledgeAfter)
			continue
		case <-due:
			urgent, due = n.urgent, nil
		case <-ticker.C():
		}
		n.renewOnce(ctx)
	}
}

func (n *follower) renewOnce(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	if err := n.pod.Renew(call, n.claim.Epoch, n.held()); err != nil && ctx.Err() == nil {
		n.fleet.log.V(1).Info("admission lease not renewed", "room", n.claim.Room, "epoch", n.claim.Epoch, "reason", err.Error())
	}
}

// held is the last event of the claim's epoch that the replica holds.
func (n *follower) held() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if state := n.mirror.State(); state != nil && state.Epoch == n.claim.Epoch {
		return state.Seq
	}
	return 0
}
