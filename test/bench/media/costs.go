//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"voiceroom.dev/voiceroom/test/bench/media/client"
)

const (
	// joinSlots are those of a client whose join is measured; it has an uplink and a data channel too.
	joinSlots = 4
	// restTime is how long a server at rest is watched, and calm what it is given to come to rest.
	restTime, calm = 10 * time.Second, 2 * time.Second
	kib            = 1024
)

// costs is what a room costs besides forwarding. What was not measured is 0.
type costs struct {
	join, joinReference []float64       // milliseconds of CPU for a join, one number a round, sorted
	idle                float64         // milliseconds of CPU a second and listener
	rss                 int64           // bytes, of a pod without a room
	memory, resident    float64         // KiB a listener: heap and stack; RSS
	firstAudio          []time.Duration // from the offer on
	joined              int             // listeners that came into a room that talks
	calmLoss, joinLoss  float64         // share of packets lost without and with them
}

// measureCosts measures what does not depend on how much is said.
func (b *bench) measureCosts(ctx context.Context) error {
	for _, measure := range []func(context.Context) error{b.idlePod, b.joinsAndRest, b.memoryOfListeners, b.joinsIntoTalk} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// idlePod measures a pod that waits for a room, with its control API called once and its metrics read.
func (b *bench) idlePod(ctx context.Context) error {
	p, err := b.startPod(podOptions{tick: defaultTick})
	if err != nil {
		return err
	}
	defer p.stop()
	if _, err := p.metric(ctx, "go_goroutines"); err != nil {
		return err
	}
	_, _ = p.control.Get(ctx, 0) // it has no room
	if err := pause(ctx, calm); err != nil {
		return err
	}
	b.costs.rss, err = p.rss()
	b.say("a pod without a room takes %.1f MiB", float64(b.costs.rss)/kib/kib)
	return err
}

// joinsAndRest lets people into a silent room and the reference, in turns, and then leaves ours alone.
func (b *bench) joinsAndRest(ctx context.Context) error {
	ours, err := b.startRoom(ctx, podOptions{talkers: 1, tick: defaultTick})
	if err != nil {
		return err
	}
	room := &stage{server: ours, mode: &mode{name: forwardMode}}
	defer room.close()
	theirs, err := b.startReference(joinSlots)
	if err != nil {
		return err
	}
	reference := &stage{server: theirs, mode: &mode{name: referenceMode}}
	defer reference.close()
	empty, err := ours.rest(ctx)
	if err != nil {
		return err
	}
	for range 3 {
		for s, into := range map[*stage]*[]float64{room: &b.costs.join, reference: &b.costs.joinReference} {
			each, err := s.joins(ctx, b.joins)
			if err != nil {
				return err
			}
			*into = append(*into, each.Seconds()*1000)
			b.say("%s: %.2f ms of CPU for each of %d joins", s.mode.name, each.Seconds()*1000, b.joins)
		}
	}
	slices.Sort(b.costs.join)
	slices.Sort(b.costs.joinReference)
	full, err := ours.rest(ctx)
	if err != nil {
		return err
	}
	b.costs.idle = (full - empty) * 1000 / float64(len(room.listeners))
	b.say("at rest, %d listeners take %.3f ms of CPU a second each (no listeners: %.2f in all)", len(room.listeners), b.costs.idle, empty*1000)
	return nil
}

// joins lets n listeners in, one after the other, and returns the server's CPU time for each.
func (s *stage) joins(ctx context.Context, n int) (time.Duration, error) {
	before, err := s.cpu()
	if err != nil {
		return 0, err
	}
	for range n {
		c, err := client.New(client.Options{Uplink: true, Slots: joinSlots, Data: true})
		if err != nil {
			return 0, err
		}
		s.listeners = append(s.listeners, c)
		if err := s.admit(ctx, c, -1); err != nil {
			return 0, err
		}
	}
	after, err := s.cpu()
	return (after - before) / time.Duration(n), err
}

// rest returns how much of a core a server takes that is left alone.
func (p *process) rest(ctx context.Context) (float64, error) {
	if err := pause(ctx, calm); err != nil {
		return 0, err
	}
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := pause(ctx, restTime); err != nil {
		return 0, err
	}
	after, err := p.cpu()
	return (after - before).Seconds() / time.Since(began).Seconds(), err
}

// memoryOfListeners lets an audience hear something and then grow. The server collects garbage all the
// time, so that what its heap holds is what it needs.
func (b *bench) memoryOfListeners(ctx context.Context) error {
	m := &mode{name: forwardMode, slots: joinSlots, open: func(ctx context.Context, b *bench, talkers int) (server, error) {
		return b.startRoom(ctx, podOptions{talkers: talkers, tick: defaultTick, env: []string{"GOGC=1"}})
	}}
	s, err := b.openStage(ctx, m, joinSlots)
	if err != nil {
		return err
	}
	defer s.close()
	few, many := b.joins, 5*b.joins
	var at [2]memory
	for i, n := range []int{few, many} {
		if err := s.fill(ctx, n); err != nil {
			return err
		}
		if _, err := s.measure(ctx, calm, nil); err != nil {
			return err
		}
		if at[i], err = s.server.(*pod).memory(ctx); err != nil {
			return err
		}
	}
	each := float64(many-few) * kib
	b.costs.memory, b.costs.resident = (at[1].used-at[0].used)/each, (at[1].rss-at[0].rss)/each
	b.say("from %d to %d listeners on %d slots, each takes %.0f KiB of heap and stack (RSS: %.0f)", few, many, joinSlots, b.costs.memory, b.costs.resident)
	return nil
}

// memory is what a server uses, in bytes.
type memory struct{ used, rss float64 }

func (p *pod) memory(ctx context.Context) (memory, error) {
	heap, err := p.metric(ctx, "go_memstats_heap_alloc_bytes")
	if err != nil {
		return memory{}, err
	}
	stack, err := p.metric(ctx, "go_memstats_stack_inuse_bytes")
	if err != nil {
		return memory{}, err
	}
	rss, err := p.rss()
	return memory{heap + stack, float64(rss)}, err
}

// joinsIntoTalk lets people into a room that talks: how soon they hear it, and what that does to the others.
func (b *bench) joinsIntoTalk(ctx context.Context) error {
	m := &mode{name: forwardMode, gro: b.gro, open: func(ctx context.Context, b *bench, talkers int) (server, error) {
		return b.startRoom(ctx, podOptions{talkers: talkers, tick: defaultTick})
	}}
	s, err := b.openStage(ctx, m, b.mostTalkers())
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.fill(ctx, min(100, b.mostListeners())); err != nil {
		return err
	}
	still, err := s.measure(ctx, b.round, nil)
	if err != nil {
		return err
	}
	b.costs.calmLoss, b.costs.joined = still.counts.Lost(), 2*b.joins
	var came []*client.Client
	busy, err := s.measure(ctx, 0, func() error {
		for range b.costs.joined {
			c, after, err := s.firstAudio(ctx)
			if err != nil {
				return err
			}
			came = append(came, c)
			b.costs.firstAudio = append(b.costs.firstAudio, after)
		}
		return nil
	})
	for _, c := range came {
		c.Close()
	}
	if err != nil {
		return err
	}
	b.costs.joinLoss = busy.counts.Lost()
	b.say("from the offer to the first packet: p50 %v, p99 %v; meanwhile %.4f %% of packets were lost, and %.4f %% before",
		quantile(b.costs.firstAudio, 0.5), quantile(b.costs.firstAudio, 0.99), 100*b.costs.joinLoss, 100*b.costs.calmLoss)
	return nil
}

// firstAudio lets one listener into a room that talks, and says how long after its offer it heard something.
func (s *stage) firstAudio(ctx context.Context) (*client.Client, time.Duration, error) {
	p := s.server.(*pod)
	c, err := s.newClient(client.Options{Uplink: true, Slots: joinSlots, Data: true})
	if err != nil {
		return nil, 0, err
	}
	j, err := p.reserve(ctx)
	if err != nil {
		return c, 0, err
	}
	heard := c.Next()
	if err := p.enter(ctx, c, j); err != nil {
		return c, 0, err
	}
	select {
	case at := <-heard:
		return c, at.Sub(j.posted), nil
	case <-time.After(joinTime):
		return c, 0, errors.New("a listener hears nothing")
	}
}

// profileTalk profiles a room that talks.
func (b *bench) profileTalk(ctx context.Context, slots, listeners int) error {
	m := &mode{name: forwardMode, slots: slots, gro: b.gro, open: func(ctx context.Context, b *bench, talkers int) (server, error) {
		return b.startRoom(ctx, podOptions{talkers: talkers, tick: defaultTick, profiled: true})
	}}
	s, err := b.openStage(ctx, m, b.mostTalkers())
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.fill(ctx, listeners); err != nil {
		return err
	}
	_, err = s.measure(ctx, 0, func() error {
		return b.profile(ctx, fmt.Sprintf("%d talkers, %d listeners on %d slots", s.count, listeners, s.slots(s.count)), s.server.(*pod).process)
	})
	return err
}

// profileJoins profiles people who come into a silent room.
func (b *bench) profileJoins(ctx context.Context) error {
	p, err := b.startRoom(ctx, podOptions{talkers: 1, tick: defaultTick, profiled: true})
	if err != nil {
		return err
	}
	s := &stage{server: p, mode: &mode{name: forwardMode}}
	defer s.close()
	joining, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for joining.Err() == nil {
			if _, err := s.joins(joining, 1); err != nil {
				return
			}
		}
	}()
	err = b.profile(ctx, "joins", p.process)
	stop()
	<-done
	return err
}
