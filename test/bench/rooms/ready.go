package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/stack"
)

// watcher sees when rooms are ready.
type watcher struct {
	stop func()

	mu    sync.Mutex
	ready map[types.NamespacedName]chan struct{}
}

func watch(ctx context.Context, s *stack.Stack) (*watcher, error) {
	c, err := client.NewWithWatch(s.Config, client.Options{Scheme: stack.Scheme()})
	if err != nil {
		return nil, fmt.Errorf("making a client that watches: %w", err)
	}
	w := &watcher{ready: map[types.NamespacedName]chan struct{}{}}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); w.run(ctx, c) }()
	w.stop = func() { cancel(); <-done }
	return w, nil
}

// run watches until ctx ends; a watch that ends begins anew, with all rooms.
func (w *watcher) run(ctx context.Context, c client.WithWatch) {
	for ctx.Err() == nil {
		changes, err := c.Watch(ctx, &v1alpha1.VoiceRoomList{}, client.InNamespace(namespace))
		if err != nil {
			_ = pause(ctx, time.Second)
			continue
		}
		for change := range changes.ResultChan() {
			if vr, ok := change.Object.(*v1alpha1.VoiceRoom); ok && (vr.Status.Phase == v1alpha1.RoomReady || vr.Status.Phase == v1alpha1.RoomOpen) {
				w.tell(client.ObjectKeyFromObject(vr))
			}
		}
		changes.Stop()
	}
}

func (w *watcher) tell(name types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if done := w.ready[name]; done != nil {
		close(done)
		delete(w.ready, name)
	}
}

// expect returns what is closed when a room is ready.
func (w *watcher) expect(name types.NamespacedName) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	done := make(chan struct{})
	w.ready[name] = done
	return done
}

// makeRooms makes n rooms, so many of them at once, and returns how long each took to be
// ready, from before its creation, and all of them.
func (b *bench) makeRooms(ctx context.Context, n, parallel int) (each []time.Duration, whole time.Duration, err error) {
	b.live += n
	rooms := make(chan *v1alpha1.VoiceRoom, n)
	for range n {
		rooms <- b.newRoom()
	}
	close(rooms)
	return inParallel(n, parallel, func() error {
		vr := <-rooms
		ready := b.watcher.expect(client.ObjectKeyFromObject(vr))
		if err := b.stack.Client.Create(ctx, vr); err != nil {
			return fmt.Errorf("creating a room: %w", err)
		}
		return b.await(ctx, vr, ready)
	})
}

// await waits until a room is ready, for as long as there is hope.
func (b *bench) await(ctx context.Context, vr *v1alpha1.VoiceRoom, ready <-chan struct{}) error {
	patience := time.After(10 * time.Minute)
	alive := time.NewTicker(5 * time.Second)
	defer alive.Stop()
	for {
		select {
		case <-ready:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-alive.C:
			if b.stack.Ended("operator") {
				return errors.New("the operator has ended")
			}
		case <-patience:
			_ = b.stack.Client.Get(ctx, client.ObjectKeyFromObject(vr), vr)
			return fmt.Errorf("room %s was not ready in ten minutes: %+v", vr.Name, vr.Status)
		}
	}
}

// inParallel does something n times, so often at once, and returns how long each took, and all.
func inParallel(n, parallel int, do func() error) (each []time.Duration, whole time.Duration, err error) {
	var mu sync.Mutex
	var workers sync.WaitGroup
	began := time.Now()
	left := n
	for range parallel {
		workers.Go(func() {
			for {
				mu.Lock()
				if left == 0 || err != nil {
					mu.Unlock()
					return
				}
				left--
				mu.Unlock()
				from := time.Now()
				failed := do()
				mu.Lock()
				each = append(each, time.Since(from))
				if failed != nil && err == nil {
					err = failed
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return each, time.Since(began), err
}

// quantile of durations, which it sorts.
func quantile(all []time.Duration, q float64) time.Duration {
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)]
}

// removeRooms deletes all rooms and waits until nothing of them is left.
func (b *bench) removeRooms(ctx context.Context) error {
	if err := b.stack.Client.DeleteAllOf(ctx, &v1alpha1.VoiceRoom{}, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("deleting the rooms: %w", err)
	}
	b.live = 0
	var groups v1alpha1.GroupChatList
	var pool v1alpha1.MediaPool
	return until(ctx, "the rooms are gone", func() (bool, error) {
		if err := b.stack.Client.List(ctx, &groups, client.InNamespace(namespace), client.Limit(1)); err != nil || len(groups.Items) > 0 {
			return false, err
		}
		err := b.stack.Client.Get(ctx, client.ObjectKey{Name: "default"}, &pool)
		return pool.Status.Assigned == 0, err
	})
}

// latency compares rooms with the floor, in turn.
func (b *bench) latency(ctx context.Context) error {
	if b.rounds == 0 {
		return nil
	}
	var err error
	if b.floor, err = b.newFloor(ctx); err != nil {
		return err
	}
	rooms, floor := map[int][]time.Duration{}, map[int][]time.Duration{}
	for round := range b.rounds {
		for parallel, n := range map[int]int{1: 20, 20: 100} {
			b.say("round %d of %d: %d rooms, %d at once (load %s)", round+1, b.rounds, n, parallel, load())
			bare, _, err := b.floor.chains(ctx, n, parallel)
			if err != nil {
				return err
			}
			made, _, err := b.afresh(ctx, n, parallel)
			if err != nil {
				return err
			}
			floor[parallel], rooms[parallel] = append(floor[parallel], bare...), append(rooms[parallel], made...)
		}
	}
	for _, parallel := range []int{1, 20} {
		b.compare(fmt.Sprintf("ready, %d at a time", parallel), rooms[parallel], floor[parallel], 0.5, 0.99)
	}
	b.say("%d at once (load %s)", b.most, load())
	bare, _, err := b.floor.chains(ctx, b.most, b.most)
	if err != nil {
		return err
	}
	made, _, err := b.afresh(ctx, b.most, b.most)
	if err != nil {
		return err
	}
	b.compare(fmt.Sprintf("%d at once", b.most), made, bare, 0.9)
	return b.throughput(ctx)
}

// afresh makes rooms with warm pods, and removes them.
func (b *bench) afresh(ctx context.Context, n, parallel int) (each []time.Duration, whole time.Duration, err error) {
	if err := b.warm(ctx, n); err != nil {
		return nil, 0, err
	}
	if each, whole, err = b.makeRooms(ctx, n, parallel); err != nil {
		return nil, 0, err
	}
	return each, whole, b.removeRooms(ctx)
}

// compare says quantiles of rooms and floor, and their ratios.
func (b *bench) compare(what string, rooms, floor []time.Duration, quantiles ...float64) {
	for _, q := range quantiles {
		mine, bare := quantile(rooms, q), quantile(floor, q)
		b.say("%s: p%.0f %d ms, bare chain %d ms", what, q*100, mine.Milliseconds(), bare.Milliseconds())
		b.figure("%s p%.0f %d ms (%.2fx)", what, q*100, mine.Milliseconds(), float64(mine)/float64(bare))
	}
}

// throughput makes rooms as fast as they can be made.
func (b *bench) throughput(ctx context.Context) error {
	const parallel = 50
	var rooms, floor float64 // a second
	left, turns := b.steady, 0
	for ; left > 0; turns++ {
		n := min(left, 300) // idle pods that a pool of this benchmark keeps
		left -= n
		b.say("%d rooms as fast as they come (load %s)", n, load())
		_, bare, err := b.floor.chains(ctx, n, parallel)
		if err != nil {
			return err
		}
		_, made, err := b.afresh(ctx, n, parallel)
		if err != nil {
			return err
		}
		rooms, floor = rooms+made.Seconds(), floor+bare.Seconds()
	}
	perSecond, bare := float64(b.steady)/rooms, float64(b.steady)/floor
	b.say("%.1f rooms a second, bare chain %.1f", perSecond, bare)
	b.figure("%.1f rooms/s (%.0f %%)", perSecond, 100*perSecond/bare)
	return nil
}
