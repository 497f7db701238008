package weak

import (
	"context"
	"sync"
)

// barrier holds the pages of a run until all have come.
type barrier struct {
	pages int // how many that is; set before the first comes

	mu   sync.Mutex
	come int
	pass chan struct{} // closed then
}

func newBarrier() barrier { return barrier{pass: make(chan struct{})} }

// wait waits for the others. The last one does something before all go on; its error is the last one's.
func (b *barrier) wait(ctx context.Context, last func() error) error {
	if err := b.arrive(last); err != nil {
		return err
	}
	select {
	case <-b.pass:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *barrier) arrive(last func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.come++; b.come != b.pages {
		return nil
	}
	if err := last(); err != nil {
		return err
	}
	close(b.pass)
	return nil
}
