package media

import (
	"sync/atomic"
	"time"

	"voiceroom.dev/voiceroom/media/egress"
	"voiceroom.dev/voiceroom/media/transport"
)

// batchOf is how many listeners are served while the lock is held: about half a millisecond, with ten
// talkers. A packet that comes in, and a grant that is revoked, waits no longer for a shard.
const batchOf = 32

// shard serves a part of the audience on a tick, on a goroutine and through a socket of its own. While
// nothing is due it sleeps.
type shard struct {
	forwarder *forwarder
	tick      time.Duration
	start     time.Time // of a tick; others follow every tick
	outbox    *egress.Outbox
	due       atomic.Bool   // since the last tick
	eager     atomic.Bool   // it does not wait for the tick: nothing gathers
	woken     chan struct{} // one may wait
	listeners []*listener   // the forwarder's
}

func newShard(f *forwarder, tick, offset time.Duration, batch *transport.Batch) *shard {
	return &shard{forwarder: f, tick: tick, start: time.Now().Add(offset), outbox: egress.NewOutbox(batch), woken: make(chan struct{}, 1)}
}

// wake makes the shard serve its listeners on the next tick. It may be called from anywhere, and costs
// next to nothing when the shard is to do so anyway.
func (s *shard) wake() {
	if s.due.Load() || s.due.Swap(true) {
		return
	}
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

func (s *shard) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-s.woken:
		case <-s.forwarder.stopping:
			return
		}
		if !s.eager.Load() {
			timer.Reset(s.untilTick(time.Now()))
			select {
			case <-timer.C:
			case <-s.forwarder.stopping:
				return
			}
		}
		s.due.Store(false) // what comes from here on may be missed by this tick, and has the next
		s.serve()
	}
}

func (s *shard) untilTick(now time.Time) time.Duration {
	return s.tick - max(now.Sub(s.start), 0)%s.tick
}

// serve sends what is due to all listeners.
func (s *shard) serve() {
	for from := 0; s.serveSome(from); from += batchOf {
	}
}

// serveSome serves a batch of listeners. It is false when there are none any more.
func (s *shard) serveSome(from int) bool {
	s.forwarder.mu.RLock()
	defer s.forwarder.mu.RUnlock()
	if from >= len(s.listeners) {
		return false
	}
	for _, l := range s.listeners[from:min(from+batchOf, len(s.listeners))] {
		l.out.Serve(s.outbox)
	}
	s.outbox.Flush()
	return true
}
