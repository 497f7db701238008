package webhook

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"voiceroom.dev/voiceroom/room"
)

const (
	// Concurrency is how many deliveries are under way at most.
	Concurrency = 16
	// KeepEnded is for how long it is tried to say that a room has ended.
	KeepEnded = 24 * time.Hour
	// recallTimeout bounds asking a room's source for older events.
	recallTimeout = 5 * time.Second
)

// Rooms is where the sender reads what it does not keep. It is called from many
// goroutines.
type Rooms interface {
	// State returns the newest state that is known of a room, not older than what the
	// sender was told of it. Nil: none. It is shared, and never changed.
	State(uid string) *room.State
	// Since returns the events of an epoch after one, up to another, that the room's pod
	// still remembers.
	Since(ctx context.Context, uid string, epoch, after, last uint64) ([]room.Event, error)
}

// Clock tells the time. k8s.io/utils/clock has a real one and one for tests.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

// Config is what a Sender needs. All fields are required but Client.
type Config struct {
	URL string // where to POST; see CheckURL
	// Secrets returns the text that ParseSecrets reads. It is called for each delivery, so
	// that new secrets sign at once.
	Secrets func() ([]byte, error)
	Client  *http.Client // nil: one of its own
	Clock   Clock
	Random  func() float64 // in [0, 1), for the jitter; safe for concurrent use
	Metrics prometheus.Registerer
	Log     *slog.Logger
}

// Sender sends webhooks. Its methods are safe for concurrent use and return at once, and
// nothing is sent once it has stopped. What one room is told about is told in order.
type Sender struct {
	rooms   Rooms
	post    *poster
	clock   Clock
	random  func() float64
	log     *slog.Logger
	metrics *metrics
	slots   chan struct{} // one for each delivery that is under way
	wake    chan struct{} // of capacity 1: some are ready

	mu      sync.Mutex
	feeds   map[string]*feed // by the room's UID
	ready   []*feed          // busy ones whose goroutine is to be started
	bytes   int              // of all queues
	stopped bool
}

// New makes a sender. It sends nothing before Start.
func New(c Config, rooms Rooms) (*Sender, error) {
	if err := CheckURL(c.URL); err != nil {
		return nil, err
	}
	s := &Sender{rooms: rooms, post: newPoster(c), clock: c.Clock, random: c.Random, log: c.Log,
		slots: make(chan struct{}, Concurrency), wake: make(chan struct{}, 1), feeds: map[string]*feed{}}
	var err error
	s.metrics, err = newMetrics(c.Metrics, s)
	return s, err
}

// Start sends until ctx ends, and returns when no goroutine of the sender is left.
// Deliveries that are under way then are cut: whoever follows the rooms next sends them
// again.
func (s *Sender) Start(ctx context.Context) error {
	var running sync.WaitGroup
	for {
		select {
		case <-s.wake:
			for _, f := range s.takeReady() {
				running.Go(func() { s.run(ctx, f) })
			}
		case <-ctx.Done():
			s.mu.Lock()
			s.stopped = true
			s.mu.Unlock()
			running.Wait()
			s.post.close()
			return nil
		}
	}
}

// NeedLeaderElection makes a controller manager run the sender where rooms are followed.
func (s *Sender) NeedLeaderElection() bool { return true }

func (s *Sender) takeReady() []*feed {
	s.mu.Lock()
	defer s.mu.Unlock()
	ready := s.ready
	s.ready = nil
	return ready
}

// Snapshot tells that a room is at a version that the events before do not lead to, if
// they do not. state is not kept.
func (s *Sender) Snapshot(state *room.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, at := s.feed(state.ID), Cursor{state.Epoch, state.Seq}
	if at.compare(f.head) <= 0 {
		return // nothing was missed, or the snapshot was overtaken
	}
	if f.end != nil {
		if at.Epoch <= f.head.Epoch {
			return
		}
		f.end = nil // it has not ended after all
	}
	f.begin(at, s.clock.Now())
	s.kick(f)
}

// Event tells the next event of a room. The sender keeps it.
func (s *Sender) Event(id room.ID, e room.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, at := s.feed(id), Cursor{e.Epoch, e.Seq}
	switch {
	case f.end != nil, at.compare(f.head) <= 0:
		return // seen already, or of a pod that has been replaced
	case e.Epoch != f.head.Epoch || e.Seq != f.head.Seq+1:
		f.begin(at, s.clock.Now())
	default:
		f.head = at
		s.enqueue(f, e)
	}
	s.kick(f)
}

// Ended tells that a room is over. It may be told again and again: it is sent once by
// each sender, unless it is longer ago than KeepEnded.
func (s *Sender) Ended(id room.ID, at time.Time, reason, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	for uid, f := range s.feeds {
		if f.over(now) && !f.busy {
			delete(s.feeds, uid)
		}
	}
	if now.Sub(at) > KeepEnded {
		return
	}
	f := s.feed(id)
	if f.end != nil {
		return
	}
	f.end = &ending{at: at, reason: reason, message: message}
	f.resync = false // see again
	s.kick(f)
}

// feed returns the feed of a room. Call it with the lock held.
func (s *Sender) feed(id room.ID) *feed {
	f := s.feeds[id.UID]
	if f == nil {
		f = &feed{id: id}
		s.feeds[id.UID] = f
	}
	return f
}

// enqueue queues an event, or drops the queue if it is too long. Call it with the lock
// held.
func (s *Sender) enqueue(f *feed, e room.Event) {
	if !f.wants() {
		return
	}
	now := s.clock.Now()
	q, err := queue(e, now)
	if err != nil { // a room.Event always can be written
		s.log.Error("an event cannot be sent; the room is resynced instead", "room", f.id.UID, "seq", e.Seq, "error", err)
	}
	if size := q.size(); err == nil && f.bytes+size <= maxQueueBytes && s.bytes+size <= maxQueuedBytes {
		f.add(e.Epoch, q)
		s.bytes += size
		return
	}
	s.again(f, false)
	s.metrics.overflows.Inc()
}

// drop empties a feed's queue. Call it with the lock held.
func (s *Sender) drop(f *feed) {
	s.bytes -= f.bytes
	f.drop()
}

// kick gives a feed a goroutine if it needs one. Call it with the lock held.
func (s *Sender) kick(f *feed) {
	if f.busy || s.stopped || !f.due() {
		return
	}
	f.busy = true
	s.ready = append(s.ready, f)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run sends what there is to send of a room, one delivery after the other.
func (s *Sender) run(ctx context.Context, f *feed) {
	for s.goesOn(f) {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		wait := s.step(ctx, f)
		<-s.slots
		if ctx.Err() != nil {
			return
		}
		if wait == 0 {
			continue
		}
		select {
		case <-s.clock.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// goesOn says whether a feed has more to send; if not, it needs its goroutine no longer.
func (s *Sender) goesOn(f *feed) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.over(s.clock.Now()) && f.due() {
		s.log.Warn("gave up telling how a room ended", "room", f.id.UID, "name", f.id.Namespace+"/"+f.id.Name)
		s.drop(f)
		f.end.told = true
	}
	f.busy = f.due()
	return f.busy
}

// step makes one attempt at the next delivery and says how long to wait before the next.
func (s *Sender) step(ctx context.Context, f *feed) time.Duration {
	p, err := s.compose(f)
	if err != nil {
		return s.failed(f, p, err)
	}
	if p.id == "" {
		return 0
	}
	started := s.clock.Now()
	c, err := s.post.send(ctx, p)
	if ctx.Err() != nil {
		return 0
	}
	s.metrics.delivered(p.kind, err, s.clock.Now().Sub(started))
	if err != nil {
		return s.failed(f, p, err)
	}
	return s.settle(ctx, f, p, c)
}

// compose makes the next delivery of a feed. The zero parcel: there is none after all.
func (s *Sender) compose(f *feed) (parcel, error) {
	s.mu.Lock()
	id, head, end := f.id, f.head, f.end
	switch {
	case len(f.queue) > 0:
		epoch, batch := f.epoch, f.batch()
		s.mu.Unlock()
		return eventsOf(id, epoch, batch)
	case f.resync:
		// Events that come from now on are queued, so that none is missed between the
		// state that is read below and its acknowledgement.
		final := f.final
		f.resync, f.underWay, f.final = false, true, false
		s.mu.Unlock()
		if state := s.rooms.State(id.UID); state != nil {
			return resyncOf(state, final)
		}
		s.mu.Lock()
		f.underWay = false
		s.drop(f) // it would follow nothing
	case end != nil && !end.told:
		s.mu.Unlock()
		return endedOf(id, head, *end)
	}
	s.mu.Unlock()
	return parcel{}, nil
}

// again makes the whole state due, in place of the queue. Of a room that is over there is
// nothing more to be known. Call it with the lock held.
func (s *Sender) again(f *feed, final bool) {
	s.drop(f)
	if f.end == nil {
		f.final = f.final || final
		f.owe(s.clock.Now())
	}
}

// failed notes that a delivery was not taken, and says when to try again.
func (s *Sender) failed(f *feed, p parcel, err error) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.kind == Resync {
		s.again(f, p.final)
		f.underWay = false
	}
	refused, _ := errors.AsType[*refusal](err)
	if refused != nil && refused.status == http.StatusGone {
		s.log.Info("the receiver wants no more of a room", "room", f.id.UID, "name", f.id.Namespace+"/"+f.id.Name)
		s.drop(f)
		f.gone = true
		return 0
	}
	f.failures++
	wait := backoff(f.failures, s.random())
	if refused != nil {
		wait = max(wait, refused.after)
	}
	level := slog.LevelDebug
	if f.failures == 1 {
		level = slog.LevelWarn
	}
	s.log.Log(context.Background(), level, "webhook not delivered; it is tried again", "room", f.id.UID, "webhook", p.id, "failures", f.failures,
		"in", wait, "reason", err.Error())
	return wait
}
