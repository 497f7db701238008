package voiceroom

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// migrations go on at once: a node that is drained must not fall upon the others.
	migrations = 8
	// turnTime is longer than a migration takes, with all goodbyes. A turn that nobody gave
	// back ends then.
	turnTime = 20 * time.Second
	// turnRetry is how soon a room asks again, multiplied by how often all turns have to
	// be over before its own comes.
	turnRetry = time.Second
)

// turns bounds the migrations of this operator that go on at once. The zero value is
// ready to use. Safe for concurrent use.
type turns struct {
	mu      sync.Mutex
	until   map[types.NamespacedName]time.Time // of the rooms that migrate
	waiting map[types.NamespacedName]struct{}
}

// take says how long a room has to wait before it asks again. With 0, it has a turn.
func (t *turns) take(room types.NamespacedName, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.until == nil {
		t.until, t.waiting = map[types.NamespacedName]time.Time{}, map[types.NamespacedName]struct{}{}
	}
	maps.DeleteFunc(t.until, func(_ types.NamespacedName, until time.Time) bool { return !now.Before(until) })
	if _, has := t.until[room]; !has && len(t.until) >= migrations {
		t.waiting[room] = struct{}{}
		return time.Duration(1+len(t.waiting)/migrations) * turnRetry
	}
	delete(t.waiting, room)
	t.until[room] = now.Add(turnTime)
	return 0
}

// end gives a turn back, or the wish for one: who only stopped asking would make all others
// wait longer.
func (t *turns) end(room types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.until, room)
	delete(t.waiting, room)
}
