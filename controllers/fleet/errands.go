package fleet

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

const (
	// confirmAfter is how long a client's own feedback is waited for.
	confirmAfter = time.Second
	// repairAfter gathers the departures of a room, seen or not, into one comparison of its lists.
	repairAfter = 5 * time.Second
	// repairAgain is when the lists are compared once more: a chat back end may have removed
	// a member, or not, long after its caller gave up.
	repairAgain = time.Minute
	// runners bound the errands that run at once: each calls chat and a pod.
	runners = 4
	// errandTimeout bounds one errand.
	errandTimeout = 10 * time.Second
	// Failed errands back off between these.
	errandRetryMin, errandRetryMax = 500 * time.Millisecond, 15 * time.Second
)

// Room is a room as the fleet sees it.
type Room struct {
	ID    room.ID
	Epoch uint64
	Pod   *mediaapi.Client // of the pod that holds it
}

// Clerk does for a room what its clients or their gateway did not. Both methods
// are idempotent and safe for concurrent use; after an error they are called again.
type Clerk interface {
	// Confirm lets a session enter whose media connection stands and whose feedback
	// did not come: plain WHIP and WHEP clients send none, and feedback gets lost
	// (steps 8 and 9 of the flow).
	Confirm(ctx context.Context, r Room, session string) error
	// Repair makes the members of the room's group agree with its pod: somebody left
	// without telling a gateway.
	Repair(ctx context.Context, r Room) error
}

// errand is something that the clerk has to look at: a session, or with none the
// room's lists.
type errand struct {
	room    types.UID
	session string
	again   bool // see repairAgain
}

func newErrands(clk clock.WithTicker) workqueue.TypedRateLimitingInterface[errand] {
	return workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[errand](errandRetryMin, errandRetryMax),
		workqueue.TypedRateLimitingQueueConfig[errand]{Name: "errands", Clock: clk})
}

// errandsOf are what a frame gives the clerk to do. state is the room after it.
func (f *Fleet) errandsOf(uid types.UID, state *room.State, frame mediaapi.Frame) {
	switch e := frame.Event; {
	case frame.Snapshot != nil:
		for _, m := range state.Members {
			if m.Status == room.Associated {
				f.errands.AddAfter(errand{room: uid, session: m.Session}, confirmAfter)
			}
		}
		f.compareLists(uid) // who left unseen?
	case e == nil || e.Member == nil:
	case e.Type == room.EventLeft:
		f.compareLists(uid)
	case e.Member.Status == room.Associated:
		f.errands.AddAfter(errand{room: uid, session: e.Member.Session}, confirmAfter)
	}
}

func (f *Fleet) compareLists(uid types.UID) {
	f.errands.AddAfter(errand{room: uid}, repairAfter)
	f.errands.AddAfter(errand{room: uid, again: true}, repairAgain)
}

// run does errands until the queue is shut down.
func (f *Fleet) run(ctx context.Context) {
	for {
		e, shutdown := f.errands.Get()
		if shutdown {
			return
		}
		if f.do(ctx, e) {
			f.errands.Forget(e)
		} else {
			f.errands.AddRateLimited(e)
		}
		f.errands.Done(e)
	}
}

// do says whether the errand needs no further try.
func (f *Fleet) do(ctx context.Context, e errand) bool {
	f.mu.Lock()
	n := f.followers[e.room]
	gone := n == nil || n.resting // the snapshot of the next watch brings again what is undone
	f.mu.Unlock()
	if gone {
		return true
	}
	r, verdict := n.due(e)
	if verdict != errandDue {
		return verdict == errandMoot
	}
	ctx, cancel := context.WithTimeout(ctx, errandTimeout)
	defer cancel()
	var err error
	if e.session == "" {
		err = f.clerk.Repair(ctx, r)
	} else {
		err = f.clerk.Confirm(ctx, r, e.session)
	}
	if err != nil && ctx.Err() == nil {
		f.log.Info("errand to be run again", "room", n.claim.Room, "repair", e.session == "", "reason", err.Error())
	}
	return err == nil
}

// verdict on an errand.
type verdict int

const (
	errandMoot  verdict = iota // there is nothing to do any more
	errandEarly                // its pod does not answer: it waits until that does, or another has the room
	errandDue
)

// due says whether the errand is to be run, and where.
func (n *follower) due(e errand) (Room, verdict) {
	n.mu.Lock()
	defer n.mu.Unlock()
	state := n.mirror.State()
	if state == nil || !n.live {
		return Room{}, errandEarly
	}
	if e.session != "" {
		if m, ok := state.Session(e.session); !ok || m.Status != room.Associated {
			return Room{}, errandMoot
		}
	}
	return Room{ID: state.ID, Epoch: n.claim.Epoch, Pod: n.pod}, errandDue
}
