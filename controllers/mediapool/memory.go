package mediapool

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// A pod that the API server refused is tried again after retryFirst, then ever less
	// often.
	retryFirst = 5 * time.Second
	retryMost  = 2 * time.Minute
)

// memory is what is known of a pool beyond its resource and its pods. It may be lost. But
// for demand, it belongs to the one pass over the pool that runs.
type memory struct {
	mu     sync.Mutex
	demand demand // guarded by mu: events of pods note what they see

	uid         types.UID
	passed      time.Time // the last pass over the pool's pods
	wrote       time.Time // the last write of its status
	certificate time.Time // when to look at its certificate again
	refused     refused
}

// refused is a pod that the API server did not take.
type refused struct {
	problem
	until      time.Time // when to try again
	wait       time.Duration
	generation int64 // of the pool
	total      int   // pods that there were
}

// note is called with what became of an attempt to make pods.
func (r *refused) note(p problem, generation int64, total int, now time.Time) {
	wait := min(max(2*r.wait, retryFirst), retryMost)
	*r = refused{problem: p, until: now.Add(wait), wait: wait, generation: generation, total: total}
}

// stands says for how long more not to try again: not at all, if the pool was changed or
// pods have gone since.
func (r *refused) stands(generation int64, total int, now time.Time) time.Duration {
	if r.reason == "" || generation != r.generation || total < r.total {
		return 0
	}
	return max(r.until.Sub(now), 0)
}

// claimed notes that a room took one of the pool's pods.
func (m *memory) claimed(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.demand.claimed(now)
}

// cameUp notes how long a pod took to be ready.
func (m *memory) cameUp(took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.demand.cameUp(took)
}

func (m *memory) ahead(now time.Time) (pods int, again time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.demand.ahead(now)
}

// memories are those of all pools, by name. The zero value is empty. Safe for concurrent
// use.
type memories struct {
	mu sync.Mutex
	of map[string]*memory
}

// get returns what is remembered of a pool of that name.
func (m *memories) get(pool string) *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = map[string]*memory{}
	}
	if m.of[pool] == nil {
		m.of[pool] = &memory{}
	}
	return m.of[pool]
}

func (m *memories) forget(pool string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.of, pool)
}
