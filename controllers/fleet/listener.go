package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// errRecalled ends a watch that has brought what was asked of it.
var errRecalled = errors.New("the events are there")

// ReasonDeleted is why a room is over whose resource was deleted.
const ReasonDeleted = "Deleted"

// Listener is told what happens in rooms, of each room in order. Its methods return at
// once, and do not call the fleet.
type Listener interface {
	// Snapshot tells that the room is at a version: it is followed from now on, or was
	// lost from sight meanwhile. s is the fleet's own: it is not to be kept.
	Snapshot(s *room.State)
	// Event tells the next event. It is shared, and never changed.
	Event(id room.ID, e room.Event)
	// Ended tells that the room is over, which may be told again and again.
	Ended(id room.ID, at time.Time, reason, message string)
}

// deaf is the listener of a fleet that has none.
type deaf struct{}

func (deaf) Snapshot(*room.State)                     {}
func (deaf) Event(room.ID, room.Event)                {}
func (deaf) Ended(room.ID, time.Time, string, string) {}

// Tell gives the fleet its listener, before it follows anything.
func (f *Fleet) Tell(l Listener) { f.listener = l }

// State is the newest state known of a room, nil if it is not followed. It is shared:
// read it only. It is not older than what the listener was told.
func (f *Fleet) State(uid string) *room.State { return f.Replica(types.UID(uid)).State }

// Since asks the pod that holds a room under an epoch for the events after one, up to
// another. It fails if the pod does not remember them all.
func (f *Fleet) Since(ctx context.Context, uid string, epoch, after, last uint64) ([]room.Event, error) {
	f.mu.Lock()
	n := f.followers[types.UID(uid)]
	f.mu.Unlock()
	if n == nil || n.claim.Epoch != epoch || after >= last {
		return nil, fmt.Errorf("events %d to %d of epoch %d of room %s are not to be had", after+1, last, epoch, uid)
	}
	return n.since(ctx, after, last)
}

func (n *follower) since(ctx context.Context, after, last uint64) ([]room.Event, error) {
	var events []room.Event
	err := n.pod.Watch(ctx, n.claim.Epoch, after, func(f mediaapi.Frame) error {
		switch {
		case f.Snapshot != nil:
			return errGap // it does not remember them
		case f.Event == nil:
			return nil
		}
		events = append(events, *f.Event)
		if f.Event.Seq >= last {
			return errRecalled
		}
		return nil
	})
	if !errors.Is(err, errRecalled) {
		return nil, fmt.Errorf("asking for events %d to %d of room %s: %w", after+1, last, n.claim.Room, err)
	}
	return events, nil
}

// End drops the replica of a room that has ended for good, and tells the listener why it
// did. It may be called again and again.
func (f *Fleet) End(id room.ID, at time.Time, reason, message string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listener.Ended(id, at, reason, message)
	if name := (types.NamespacedName{Namespace: id.Namespace, Name: id.Name}); f.uids[name] == types.UID(id.UID) {
		f.forget(name)
	}
}

// Deleted drops the replica of whatever room has this name: its resource is gone. The
// listener is told if the room was followed.
func (f *Fleet) Deleted(name types.NamespacedName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deleted(name)
}

func (f *Fleet) deleted(name types.NamespacedName) {
	if n := f.followers[f.uids[name]]; n != nil {
		f.listener.Ended(n.id(), f.clock.Now(), ReasonDeleted, "")
	}
	f.forget(name)
}

// id is the room's. Its group is not known before its pod was.
func (n *follower) id() room.ID {
	n.mu.Lock()
	defer n.mu.Unlock()
	if state := n.mirror.State(); state != nil {
		return state.ID
	}
	return room.ID{UID: string(n.claim.RoomUID), Namespace: n.claim.Room.Namespace, Name: n.claim.Room.Name}
}
