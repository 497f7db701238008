// Package pace spaces the writes that only follow what goes on in a room: summaries of
// rooms and of their groups. What somebody waits for is written at once and does not ask
// here; it is only noted, so that a summary keeps its distance from it.
//
// Whoever has to wait is given a turn of its own and asks again when that has come: ten
// thousand rooms with news at once are looked at about once each, not again and again
// until there is a write left for them.
package pace

import (
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
)

// grace is how long a turn is kept for who does not come for it.
const grace = time.Minute

// Budget bounds the summaries of all objects together. Safe for concurrent use.
type Budget struct {
	mu      sync.Mutex
	limiter *rate.Limiter
	gap     time.Duration // between turns
	last    time.Time     // the last turn that was given
}

// NewBudget lets at most so many summaries through in any second: four fifths of them
// evenly, one fifth at once.
func NewBudget(most int) *Budget {
	even := rate.Limit(most) * 4 / 5
	return &Budget{limiter: rate.NewLimiter(even, most-int(even)), gap: time.Duration(float64(time.Second) / float64(even))}
}

// take says whether a summary may be written now; if not, when to ask again. Nobody is
// served before those who have a turn, but for one whose turn it is.
func (b *Budget) take(now time.Time, itsTurn bool) (again time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if (itsTurn || !b.last.After(now)) && b.limiter.AllowN(now, 1) {
		return time.Time{}, true
	}
	if b.last.Before(now) {
		b.last = now
	}
	b.last = b.last.Add(b.gap)
	return b.last, false
}

// Pacer spaces the summaries of each object of one kind. Safe for concurrent use.
type Pacer struct {
	budget *Budget
	every  time.Duration

	mu      sync.Mutex
	objects map[types.UID]times
	swept   time.Time // when objects was last rid of what is over
}

// times of one object.
type times struct {
	free time.Time // from then on it may be summarised
	turn time.Time // that it was given; zero: none
}

// New makes a pacer that lets each object write a summary once in every, within budget.
func New(budget *Budget, every time.Duration) *Pacer {
	return &Pacer{budget: budget, every: every, objects: map[types.UID]times{}}
}

// Wait says how long an object's summary has to wait. With 0 its turn is taken: it is to
// be written now.
func (p *Pacer) Wait(object types.UID, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep(now)
	o := p.objects[object]
	if wait := max(o.free.Sub(now), o.turn.Sub(now)); wait > 0 {
		return wait
	}
	again, ok := p.budget.take(now, !o.turn.IsZero())
	if ok {
		p.objects[object] = times{free: now.Add(p.every)}
		return 0
	}
	p.objects[object] = times{turn: again}
	return again.Sub(now)
}

// Wrote notes that something else of an object was written.
func (p *Pacer) Wrote(object types.UID, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep(now)
	o := p.objects[object]
	o.free = now.Add(p.every)
	p.objects[object] = o
}

// sweep forgets, now and then, whose times are over. Call it with the lock held.
func (p *Pacer) sweep(now time.Time) {
	if now.Sub(p.swept) < p.every {
		return
	}
	p.swept = now
	maps.DeleteFunc(p.objects, func(_ types.UID, o times) bool {
		return !o.free.After(now) && (o.turn.IsZero() || now.Sub(o.turn) > grace)
	})
}
