package webhook

import (
	"context"
	"errors"
	"time"
)

// errNoProgress is the failure of a delivery that was taken without getting the receiver
// any further.
var errNoProgress = errors.New("the receiver's cursor did not move")

// settle follows the answer to a delivery that was taken: c is what the receiver says it
// has, nil that it has everything up to there. It says how long to wait then.
func (s *Sender) settle(ctx context.Context, f *feed, p parcel, c *Cursor) time.Duration {
	switch {
	case p.kind == Ended:
		s.mu.Lock()
		defer s.mu.Unlock()
		f.end.told, f.failures = true, 0
		return 0
	case c == nil, c.compare(p.last) > 0 && c.Epoch != p.last.Epoch, p.kind == Resync && (p.final || c.Epoch != p.last.Epoch):
		c = &p.last
	}
	switch {
	case p.kind == Events && c.compare(p.last) < 0 && (c.Epoch != p.last.Epoch || c.Seq < p.first):
		// It has less than it said before: it lost something, or could not store anything.
		s.rewind(ctx, f, p, *c)
		return s.failed(f, p, errNoProgress)
	case p.kind == Resync && c.Seq < p.last.Seq:
		s.rewind(ctx, f, p, *c)
		return s.progress(f, *c)
	}
	return s.progress(f, *c)
}

// progress notes that the receiver has everything up to c.
func (s *Sender) progress(f *feed, c Cursor) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := f.bytes
	f.acknowledge(c)
	s.bytes += f.bytes - before
	if f.failures > 0 {
		s.log.Info("webhooks of a room are delivered again", "room", f.id.UID, "failures", f.failures)
	}
	f.failures = 0
	return 0
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
