package sim

import (
	"container/heap"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"iter"
	"math/rand/v2"
	"time"
)

// engine is a virtual clock, a heap of events and one source of randomness. It runs one
// event at a time, and one process at a time within it.
type engine struct {
	*rand.Rand
	now       time.Time
	queue     events
	scheduled uint64
	steps     int
	trace     trace
	processes []*process
}

// traceLines is how much of the trace a result shows.
var traceLines = 50

// birth is when every world begins.
var birth = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func newEngine(seed uint64) *engine {
	return &engine{Rand: rand.New(rand.NewPCG(seed, 0x5EA75)), now: birth, trace: trace{hash: fnv.New64a(), keep: traceLines}}
}

type event struct {
	at  time.Duration // since birth
	seq uint64        // of those at one moment, the one that was scheduled first comes first
	run func()
}

type events []*event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(*event)) }
func (q *events) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return e
}

// after runs f once d has passed.
func (e *engine) after(d time.Duration, f func()) {
	e.scheduled++
	heap.Push(&e.queue, &event{at: e.now.Sub(birth) + max(d, 0), seq: e.scheduled, run: f})
}

// run runs what is due until then, or until broken says to stop.
func (e *engine) run(until time.Time, broken func() bool) {
	for len(e.queue) > 0 && e.queue[0].at <= until.Sub(birth) {
		next := heap.Pop(&e.queue).(*event)
		e.now = birth.Add(next.at)
		e.steps++
		next.run()
		if broken() {
			return
		}
	}
	e.now = until
}

// close ends every process, so that none of their coroutines is left.
func (e *engine) close() {
	for _, p := range e.processes {
		p.kill()
	}
}

// chance is true once in a while.
func (e *engine) chance(p float64) bool { return e.Float64() < p }

// between returns a duration from least to most.
func (e *engine) between(least, most time.Duration) time.Duration {
	return least + time.Duration(e.Int64N(int64(most-least)+1))
}

func pick[T any](e *engine, from []T) T { return from[e.IntN(len(from))] }

// process is code that waits for answers and for time, as a coroutine: it runs until it
// waits, and while it runs nothing else does. It lives on a host.
type process struct {
	*engine
	host   *host
	resume func() (struct{}, bool)
	end    func()
	yield  func(struct{}) bool
	waits  uint64 // how often it has waited; a waker wakes from one wait only
	parked bool
	over   bool
}

// killed unwinds a process whose host has crashed.
type killed struct{}

// spawn starts a process, now.
func (e *engine) spawn(h *host, body func(p *process)) {
	p := &process{engine: e, host: h}
	p.resume, p.end = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			p.over = true
			if r := recover(); r != nil && r != (killed{}) {
				panic(r)
			}
		}()
		p.yield = yield
		body(p)
	})
	e.processes = append(e.processes, p)
	h.processes = append(h.processes, p)
	e.after(0, func() { h.do(p.step) })
}

func (p *process) step() {
	if !p.over {
		p.parked = false
		p.resume()
	}
}

// kill ends a process where it waits. It must not kill itself.
func (p *process) kill() {
	p.end()
	p.over = true
}

// waker returns what ends the next wait, soon. It may be called any number of times, later
// too.
func (p *process) waker() func() {
	wake := p.ender()
	return func() { p.after(0, wake) }
}

// ender is waker for the engine alone: it ends the wait at once, and no process may call it.
func (p *process) ender() func() {
	wait := p.waits + 1
	return func() {
		p.host.do(func() {
			if p.waits == wait && p.parked {
				p.step()
			}
		})
	}
}

// wait waits until a waker of this wait is called.
func (p *process) wait() {
	p.waits++
	p.parked = true
	if !p.yield(struct{}{}) {
		panic(killed{})
	}
}

// sleep waits for time to pass.
func (p *process) sleep(d time.Duration) {
	p.after(d, p.ender())
	p.wait()
}

// trace is what happened: the last lines to be read, all of them to be compared.
type trace struct {
	hash  hash.Hash64
	keep  int
	last  []string
	lines int
}

// note adds a line to the trace.
func (e *engine) note(who, format string, args ...any) {
	t := &e.trace
	line := fmt.Sprintf("%9.4fs  %-11s %s", e.now.Sub(birth).Seconds(), who, fmt.Sprintf(format, args...))
	t.lines++
	_, _ = io.WriteString(t.hash, line) // a hash takes everything
	if t.last = append(t.last, line); len(t.last) >= 2*t.keep {
		t.last = append(t.last[:0], t.tail()...)
	}
}

// tail are the last lines.
func (t *trace) tail() []string { return t.last[max(0, len(t.last)-t.keep):] }
