// Package flight shares costly answers: while one caller works on a key, all
// others wait for its result, and for a while after it they are given that
// result too. It bounds how often something is done, whoever asks for it.
package flight

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Group runs at most one function per key at a time, and at most one per Every.
// Safe for concurrent use. Keys that were not used for Every are forgotten.
type Group[T any] struct {
	every   time.Duration
	timeout time.Duration
	now     func() time.Time

	mu    sync.Mutex
	runs  map[string]*run[T]
	sweep time.Time
}

type run[T any] struct {
	started time.Time
	done    chan struct{}
	value   T     // once done
	err     error // once done
}

// New makes a Group that keeps a result, an error too, for every from when its
// function started. timeout bounds the function.
func New[T any](every, timeout time.Duration, now func() time.Time) *Group[T] {
	return &Group[T]{every: every, timeout: timeout, now: now, runs: map[string]*run[T]{}}
}

// Do returns what fn returned to the caller that ran it. The one who runs it does
// so to its end even if its own ctx is done, because others wait for it; the ones
// who wait stop waiting when theirs is.
func (g *Group[T]) Do(ctx context.Context, key string, fn func(context.Context) (T, error)) (T, error) {
	r, mine := g.join(key)
	if mine {
		func() {
			defer close(r.done)
			r.err = fmt.Errorf("the shared call for %q panicked", key) // unless it returns
			work, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.timeout)
			defer cancel()
			r.value, r.err = fn(work)
		}()
	}
	select {
	case <-r.done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// join returns the key's run, and whether the caller is to carry it out.
func (g *Group[T]) join(key string) (r *run[T], mine bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.forget(now)
	if r := g.runs[key]; r != nil && !g.stale(r, now) {
		return r, false
	}
	r = &run[T]{started: now, done: make(chan struct{})}
	g.runs[key] = r
	return r, true
}

// stale says that a run has ended and is too old to be told.
func (g *Group[T]) stale(r *run[T], now time.Time) bool {
	select {
	case <-r.done:
		return now.Sub(r.started) >= g.every
	default:
		return false
	}
}

func (g *Group[T]) forget(now time.Time) {
	if now.Before(g.sweep) {
		return
	}
	g.sweep = now.Add(g.every)
	for key, r := range g.runs {
		if g.stale(r, now) {
			delete(g.runs, key)
		}
	}
}
