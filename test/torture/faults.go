package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

const (
	// cutTime is longer than it takes to give the room another pod (5 s), to let the old
	// one's lease run out (10 s) and strangers into the new one (10 s).
	cutTime, cutMore = 18 * time.Second, 8 * time.Second
	// wedgeMost is longer than it takes to give a wedged pod up.
	wedgeMost = 12 * time.Second
)

// fault is something that breaks.
type fault struct {
	name   string
	weight int
	do     func(*faults, context.Context, *voiceRoom, *epoch) error
}

// kindsOfFaults by how often they come.
var kindsOfFaults = []fault{
	{"media pod killed", 10, (*faults).killPod},
	{"media pod wedged", 4, (*faults).wedgePod},
	{"media pod cut off", 3, (*faults).cutPod},
	{"gateway killed", 3, (*faults).killGateway},
	{"operator killed", 3, (*faults).killOperator},
}

// faults breaks things, in an order that the seed gives.
type faults struct {
	world  *world
	rng    *rand.Rand
	counts map[string]int
}

// run breaks something after every so many operations, until ctx ends. Then it waits for
// what is broken to be whole again.
func (f *faults) run(ctx context.Context, every int64) {
	total := 0
	for _, kind := range kindsOfFaults {
		total += kind.weight
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for next := every / 2; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if f.world.report.operations.Load() < next {
			continue
		}
		next = f.world.report.operations.Load() + every/2 + f.rng.Int64N(every)
		n := f.rng.IntN(total)
		for _, kind := range kindsOfFaults {
			if n -= kind.weight; n < 0 {
				f.begin(ctx, kind)
				break
			}
		}
	}
}

// begin breaks one thing in a room in which nothing is broken.
func (f *faults) begin(ctx context.Context, kind fault) {
	r := f.world.rooms[f.rng.IntN(len(f.world.rooms))]
	e, s := r.current()
	if e == nil || s == nil || !r.take() {
		return
	}
	f.world.report.faults.Add(1)
	f.counts[kind.name]++
	f.world.running.Go(func() {
		defer r.release()
		if err := kind.do(f, ctx, r, e); err != nil {
			f.world.report.trouble(err)
		}
	})
}

// take makes the room faulty, unless it is.
func (r *voiceRoom) take() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.faulty {
		return false
	}
	r.faulty = true
	return true
}

func (r *voiceRoom) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faulty = false
}

func (f *faults) killPod(_ context.Context, _ *voiceRoom, e *epoch) error {
	return f.world.stack.KillPod(context.Background(), e.pod)
}

// wedgePod stops a pod's process for a while: sometimes it is given up meanwhile.
func (f *faults) wedgePod(ctx context.Context, _ *voiceRoom, e *epoch) error {
	if err := f.world.stack.SignalPod(ctx, e.pod, syscall.SIGSTOP); err != nil {
		return err
	}
	pause(ctx, time.Second+time.Duration(rand.Int64N(int64(wedgeMost))))
	if _, ended := e.state(); ended {
		return nil // its node has killed it
	}
	_ = f.world.stack.SignalPod(context.WithoutCancel(ctx), e.pod, syscall.SIGCONT) // likewise
	return nil
}

// cutPod parts a pod from operator and gateway; its clients go on there. Somebody who
// still reaches it finds that it lets strangers in for as long as its lease runs, and then
// no more.
func (f *faults) cutPod(ctx context.Context, r *voiceRoom, e *epoch) error {
	if !f.world.stack.CutPod(e.pod) {
		return nil // it is gone
	}
	e.cutOff(time.Now())
	defer func() {
		e.cutOff(time.Time{})
		f.world.stack.HealPod(e.pod)
	}()
	c := &caller{number: len(f.world.callers), world: f.world, room: r, rng: rand.New(rand.NewPCG(f.world.opts.seed, e.number))}
	rest := time.Now().Add(cutTime + time.Duration(rand.Int64N(int64(cutMore))))
	for ctx.Err() == nil && time.Now().Before(rest) {
		if _, ended := e.state(); ended {
			return nil
		}
		c.reserveAt(ctx, e.inside, e, c.someone(), "island")
		pause(ctx, 10*breath)
	}
	return nil
}

func (f *faults) killGateway(ctx context.Context, _ *voiceRoom, _ *epoch) error {
	return f.restart(context.WithoutCancel(ctx), "gateway")
}

func (f *faults) killOperator(ctx context.Context, _ *voiceRoom, _ *epoch) error {
	for _, r := range f.world.rooms {
		r.forget()
	}
	return f.restart(context.WithoutCancel(ctx), "operator")
}

func (f *faults) restart(ctx context.Context, process string) error {
	f.world.killing.Lock()
	defer f.world.killing.Unlock()
	if process == "gateway" {
		f.world.gateway.away.Store(true)
		defer f.world.gateway.away.Store(false)
	}
	f.world.stack.KillProcess(process)
	if err := f.world.stack.StartProcess(process); err != nil {
		return fmt.Errorf("starting the %s again: %w", process, err)
	}
	return f.world.stack.WaitProcess(ctx, process)
}
