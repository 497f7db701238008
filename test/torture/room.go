package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/torture/history"
)

const (
	namespace = "default"
	// windowSize is how many operations are judged at once.
	windowSize = 300
	// settle is how long after a move a gateway may still have answered for the pod before.
	settle = 3 * time.Second
	// grantsKept is how many tokens of a room callers go on to use.
	grantsKept = 40
)

// voiceRoom is one room under torture.
type voiceRoom struct {
	world    *world
	name     string
	subjects []string // the owner first

	gate     sync.RWMutex // held for reading during a call, for writing between windows
	cutting  atomic.Bool
	inWindow atomic.Int64

	mu       sync.Mutex
	epochs   map[uint64]*epoch
	moved    time.Time // when the newest epoch was first seen
	over     bool      // more places than may be, across pods
	breached map[uint64]bool
	grants   []grant
	opened   map[string]bool // sessions whose token was taken
	clients  []*peer
	faulty   bool // one fault at a time
	unjudged int  // operations of which nobody knows which epoch's they were

	kicked    map[string]bool  // who is thrown out durably
	unbanned  map[string]int64 // until when somebody may have been let in again
	forgotten int64            // when the operator was last killed
}

func newVoiceRoom(w *world, name string) *voiceRoom {
	r := &voiceRoom{world: w, name: name, epochs: map[uint64]*epoch{}, opened: map[string]bool{}, breached: map[uint64]bool{}, kicked: map[string]bool{}, unbanned: map[string]int64{}}
	for i := range w.opts.subjects {
		r.subjects = append(r.subjects, fmt.Sprintf("%ss%d", subjectPrefix, i))
	}
	return r
}

// newest is the room's highest epoch, nil if there is none. Call it with the lock held.
func (r *voiceRoom) newest() (*epoch, *room.State) {
	var top *epoch
	for _, e := range r.epochs {
		if top == nil || e.number > top.number {
			top = e
		}
	}
	if top == nil {
		return nil, nil
	}
	s, _ := top.state()
	return top, s
}

// current is the room's newest epoch and its state, which may be nil.
func (r *voiceRoom) current() (*epoch, *room.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newest()
}

// places says who has which place where, and had when the pod began. Call it with the
// lock held.
func (r *voiceRoom) places() string {
	text := ""
	for _, e := range r.epochs {
		if s, ended := e.state(); s != nil && !ended {
			text += fmt.Sprintf("; epoch %d began with%s at %s and has%s", e.number, roster(e.first), e.began.UTC().Format(time.TimeOnly), roster(s))
		}
	}
	if r.forgotten > 0 {
		text += "; the operator was last killed at " + time.Unix(0, r.forgotten).UTC().Format(time.TimeOnly)
	}
	return text
}

func roster(s *room.State) string {
	text := fmt.Sprintf(" [seq %d", s.Seq)
	for _, m := range s.Members {
		text += fmt.Sprintf(" %s/%s", userOf(m.Subject), m.Status)
		if m.Entered != nil {
			text += m.Entered.UTC().Format("@" + time.TimeOnly)
		}
	}
	return text + "]"
}

// claimed notes that the room has a pod, and follows it.
func (r *voiceRoom) claimed(ctx context.Context, media *v1alpha1.RoomMediaStatus) {
	if media == nil || media.Endpoint == "" {
		return
	}
	inside := r.world.stack.PodProcessAddress(media.Pod)
	if !inside.IsValid() {
		return // it is gone already
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epochs[uint64(media.Epoch)] != nil {
		return
	}
	e := &epoch{room: r, number: uint64(media.Epoch), pod: media.Pod, uid: media.PodUID, endpoint: media.Endpoint, grew: make(chan struct{}), gone: map[string]bool{}, entered: map[string]uint64{},
		inside: r.world.watchers.Pod(fmt.Sprintf("%s:%d", inside, controlPort), media.PodUID)}
	r.epochs[e.number], r.moved = e, time.Now()
	r.world.running.Go(func() { e.follow(ctx) })
}

// begins looks at the first state of a room at a pod: who was thrown out for good, as
// far as callers were told, is not back.
func (r *voiceRoom) begins(e *epoch, s *room.State) {
	r.mu.Lock()
	if e.first != nil {
		r.mu.Unlock()
		return
	}
	e.first, e.began = s, time.Now()
	var back []string
	for subject := range r.kicked {
		if s.Record(subject).Kicked == nil {
			back = append(back, subject)
		}
	}
	r.mu.Unlock()
	for _, subject := range r.homeless(e, s) {
		r.world.report.violation(r, s.Epoch, "nothing is held for "+subject+", who was in the room durably", nil)
	}
	for _, subject := range back {
		r.world.report.violation(r, s.Epoch, subject+" was kicked durably, and the room does not know at version "+fmt.Sprint(s.Seq), nil)
	}
}

// homeless are those who were in the room as far as callers were told that it outlives
// its pod, and for whom the next pod holds no place.
func (r *voiceRoom) homeless(e *epoch, s *room.State) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.epochs[e.number-1]
	if before == nil || s.Seq > 0 { // somebody may have given it up
		return nil
	}
	var subjects []string
	for _, subject := range before.settled() {
		if _, held := s.Subject(subject); !held {
			subjects = append(subjects, subject)
		}
	}
	return subjects
}

// durable notes that an epoch outlives its pod as of a version, if the operator lives on
// that said so.
func (r *voiceRoom) durable(epoch, seq uint64, asked int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.epochs[epoch]; e != nil && r.forgotten < asked {
		e.replicated(seq)
	}
}

// unbanning notes that a subject may be let in again at any time until then.
func (r *voiceRoom) unbanning(subject string, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.kicked, subject)
	r.unbanned[subject] = max(r.unbanned[subject], until.UnixNano())
}

// keptOut notes that a kick is durable, unless somebody may have let the subject in since.
func (r *voiceRoom) keptOut(subject string, kick history.Operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unbanned[subject] < kick.Call && r.forgotten < kick.Call {
		r.kicked[subject] = true
	}
}

// forget drops what was durable: the operator, which holds the replica, is killed. If the
// pod dies before the next one has a replica, it is lost.
func (r *voiceRoom) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.kicked)
	for _, e := range r.epochs {
		e.replicated(0)
	}
	r.forgotten = time.Now().UnixNano()
}

// call carries out an operation and notes what came of it.
func (r *voiceRoom) call(ctx context.Context, o history.Operation, f func(*history.Operation) outcome) (history.Operation, outcome) {
	r.gate.RLock()
	o.Call = time.Now().UnixNano()
	out := f(&o)
	o.Return = time.Now().UnixNano()
	if out != unsent {
		r.note(o, out == lost)
	}
	r.gate.RUnlock()
	if out != unsent && !history.Retry(o.Code) && o.Code != room.Frozen {
		r.world.report.operation(o, out == lost)
	}
	if r.inWindow.Load() >= windowSize {
		r.judge(ctx)
	}
	return o, out
}

// note adds an operation to the window of the epoch that answered it.
func (r *voiceRoom) note(o history.Operation, gone bool) {
	r.inWindow.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.Kind == history.Open && o.Code == "" && !gone {
		if r.opened[o.Session] {
			defer r.world.report.violation(r, o.Epoch, "the token of session "+o.Session+" was taken twice", nil)
		}
		r.opened[o.Session] = true
	}
	switch e := r.epochs[o.Epoch]; {
	case e != nil:
		e.note(o, gone)
	case gone:
		for _, e := range r.epochs {
			e.note(o, true)
		}
	case o.Epoch != 0: // of a pod that we have not heard of yet, or that came and went
		r.unjudged++
	default:
		if top, _ := r.newest(); top != nil && r.moved.UnixNano() < o.Call-settle.Nanoseconds() {
			top.note(o, false)
			return
		}
		r.unjudged++
	}
}

// judge waits until nobody calls, and has what happened since the last time judged.
func (r *voiceRoom) judge(ctx context.Context) {
	if !r.cutting.CompareAndSwap(false, true) {
		return
	}
	defer r.cutting.Store(false)
	r.gate.Lock()
	defer r.gate.Unlock()
	r.inWindow.Store(0)
	r.mu.Lock()
	all := make([]*epoch, 0, len(r.epochs))
	for _, e := range r.epochs {
		all = append(all, e)
	}
	r.mu.Unlock()
	for _, e := range all {
		_, ended := e.state()
		if !ended && !e.catchUp(ctx) {
			if _, ended = e.state(); !ended {
				continue // it is wedged: next time
			}
		}
		r.world.report.judge(r, e.cut())
		if ended {
			r.mu.Lock()
			if top, _ := r.newest(); top != e {
				delete(r.epochs, e.number)
			}
			r.mu.Unlock()
		}
	}
}

// discard begins the first window: who opened the room is not judged.
func (r *voiceRoom) discard(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.epochs {
		if e.catchUp(ctx) {
			e.cut()
		}
	}
}

// granted keeps a grant for callers to use.
func (r *voiceRoom) granted(g grant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.grants) >= grantsKept {
		r.grants = slices.Delete(r.grants, 0, 1)
	}
	r.grants = append(r.grants, g)
}

// someGrant picks one that was given lately, or any; false if there is none.
func (r *voiceRoom) someGrant(rng *rand.Rand) (grant, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.grants)
	if n == 0 {
		return grant{}, false
	}
	if rng.IntN(3) > 0 { // likely to be current
		return r.grants[n-1-rng.IntN(min(n, 6))], true
	}
	return r.grants[rng.IntN(n)], true
}

// someClient picks a client that is connected; nil if there is none.
func (r *voiceRoom) someClient(rng *rand.Rand) *peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients = slices.DeleteFunc(r.clients, func(c *peer) bool { return c.isDown() })
	if len(r.clients) == 0 {
		return nil
	}
	return r.clients[rng.IntN(len(r.clients))]
}

func (r *voiceRoom) connected(c *peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients = append(r.clients, c)
}

// pod is the control API of the room's newest pod, as a gateway reaches it.
func (r *voiceRoom) pod() (*mediaapi.Client, *epoch, *room.State) {
	e, s := r.current()
	if e == nil || s == nil {
		return nil, nil, nil
	}
	return r.world.gateways.Pod(e.endpoint, e.uid), e, s
}
