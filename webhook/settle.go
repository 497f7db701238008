package webhook

import (
	"context"
	"errors"
	"time"
)

// errNoProgress is the failure of a delivery that was taken without getting the receiver
// any further.
var errNoProgress = errors.New("the receiver's cursor did not move")

// settle follows the answer to a delivery that was taken, and says how long to wait then.
func (s *Sender) settle(ctx context.Context, f *feed, p parcel, answer *Cursor) time.Duration {
	if p.kind == Ended {
		s.told(f)
		return 0
	}
	c := p.reached(answer)
	switch {
	case p.kind == Events && c.compare(Cursor{p.last.Epoch, p.first}) < 0:
		// It has less than it said before: it lost something, or could store nothing.
		s.rewind(ctx, f, p, c)
		return s.failed(f, p, errNoProgress)
	case p.kind == Resync && c.compare(p.last) < 0:
		s.rewind(ctx, f, p, c)
	}
	s.progress(f, c)
	return 0
}

// reached is where the receiver is after it took p with an answer. Without a cursor it has
// everything; with one of a newer epoch too, for it heard of that from another sender.
// There is no way back from a state to an older epoch, nor from a final one.
func (p parcel) reached(answer *Cursor) Cursor {
	switch {
	case answer == nil, answer.Epoch > p.last.Epoch,
		p.kind == Resync && answer.compare(p.last) < 0 && (p.final || answer.Epoch < p.last.Epoch):
		return p.last
	}
	return *answer
}

// told notes that the receiver knows of the room's end.
func (s *Sender) told(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.failures = 0
	if f.end != nil { // it has not come back meanwhile
		f.end.told = true
	}
}

// progress notes that the receiver has everything up to c.
func (s *Sender) progress(f *feed, c Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := f.bytes
	f.acknowledge(c)
	s.bytes += f.bytes - before
	if f.failures > 0 {
		s.log.Info("webhooks of a room are delivered again", "room", f.id.UID, "failures", f.failures)
	}
	f.failures, f.underWay = 0, false
}

// rewind makes the queue begin after c. If the events in between cannot be had, the whole
// state is sent in their place, for good.
func (s *Sender) rewind(ctx context.Context, f *feed, p parcel, c Cursor) {
	s.mu.Lock()
	next := f.next(p.last.Epoch, p.last.Seq+1)
	s.mu.Unlock()
	if c.Epoch == p.last.Epoch && c.Seq+1 >= next {
		return // the queue has them
	}
	older, err := s.recall(ctx, f, p.last.Epoch, c, next-1)
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := f.bytes
	if err == nil && f.prepend(c.Epoch, older) {
		s.bytes += f.bytes - before
		return
	}
	s.again(f, true)
}

// recall asks the room's source for the events after c up to last.
func (s *Sender) recall(ctx context.Context, f *feed, epoch uint64, c Cursor, last uint64) ([]queued, error) {
	if c.Epoch != epoch {
		return nil, errNotHad
	}
	ctx, cancel := context.WithTimeout(ctx, recallTimeout)
	defer cancel()
	events, err := s.rooms.Since(ctx, f.id.UID, c.Epoch, c.Seq, last)
	if err != nil {
		return nil, err
	}
	return recalled(events, c, last, s.clock.Now())
}
