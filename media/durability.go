package media

import (
	"context"
	"sync"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
)

// durability is up to which event of one epoch the operator holds a replica. The keeper
// moves it; the handlers of requests wait for it, never the keeper.
type durability struct {
	mu    sync.Mutex
	seq   uint64
	moved chan struct{} // closed when seq grows
}

func newDurability() *durability { return &durability{moved: make(chan struct{})} }

// reach notes that the operator holds the events up to seq.
func (d *durability) reach(seq uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if seq <= d.seq {
		return
	}
	d.seq = seq
	close(d.moved)
	d.moved = make(chan struct{})
}

func (d *durability) get() (seq uint64, moved <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seq, d.moved
}

func (d *durability) covers(seq uint64) bool {
	durable, _ := d.get()
	return durable >= seq
}

// await waits until the events up to seq are durable. It is false if they are not before
// the caller has gone, the pod has ended, or mediaapi.AwaitTime is over.
func (d *durability) await(ctx context.Context, ended <-chan struct{}, seq uint64) bool {
	patience := time.NewTimer(mediaapi.AwaitTime)
	defer patience.Stop()
	for {
		durable, moved := d.get()
		if durable >= seq {
			return true
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return false
		case <-ended:
			return false
		case <-patience.C:
			return false
		}
	}
}
