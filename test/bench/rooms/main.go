// Command rooms measures what rooms cost the control plane: a real kube-apiserver and etcd,
// the operator and the chat server as processes, and a fake fleet of media pods
// (hack/fakefleet). Its floor is a bare client that does the same writes, one after the
// other, in the same run. docs/scale.md has its figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/stack"
	"voiceroom.dev/voiceroom/test/auditlog"
)

const (
	namespace = "bench"
	mostPods  = 10000 // as many as the API allows a pool
	warmPods  = 500   // that the pool keeps, or fewer if it may have no more
)

// options are the command's flags.
type options struct {
	root   string
	rooms  int           // the largest number of rooms
	rounds int           // of each latency measurement
	most   int           // rooms in flight at once, in the burst
	steady int           // rooms of the throughput measurement
	window time.Duration // that CPU is measured in
	rest   time.Duration // that writes at rest are counted in
}

func main() {
	ctrllog.SetLogger(logr.Discard())
	var o options
	flag.StringVar(&o.root, "root", ".", "the repository")
	flag.IntVar(&o.rooms, "rooms", 10000, "measure at 100, 1,000 and 10,000 rooms, up to this")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each measurement of latency, rooms and floor in turn; 0 leaves latency out")
	flag.IntVar(&o.most, "burst", 300, "rooms that are made at once")
	flag.IntVar(&o.steady, "steady", 600, "rooms that are made as fast as possible")
	flag.DurationVar(&o.window, "window", 30*time.Second, "how long CPU is measured")
	flag.DurationVar(&o.rest, "rest", time.Minute, "how long writes at rest are counted")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-rooms:", err)
		os.Exit(1)
	}
}

// run measures everything, and leaves nothing behind.
func run(ctx context.Context, o options) (err error) {
	b, err := start(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	for _, measure := range []func(context.Context) error{b.latency, b.scale, b.joins, b.atRest, b.restart} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("\nbench-rooms: %s\n", strings.Join(b.line, "; "))
	return nil
}

// bench is a running system and what was measured of it.
type bench struct {
	options
	stack   *stack.Stack
	audit   *auditlog.Log
	watcher *watcher
	floor   *floor
	made    int      // rooms, ever: each has a name of its own
	live    int      // rooms that are there
	line    []string // the figures of the last line
	began   time.Time
}

func start(ctx context.Context, o options) (_ *bench, err error) {
	b := &bench{options: o, began: time.Now()}
	logs, err := os.MkdirTemp("", "voiceroom-audit-")
	if err != nil {
		return nil, fmt.Errorf("making the audit log's directory: %w", err)
	}
	b.audit = &auditlog.Log{Path: filepath.Join(logs, "audit.log")}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.stop())
		}
	}()
	pool := &v1alpha1.MediaPoolSpec{Warm: warmPods, MaxPods: warmPods,
		Network: v1alpha1.PoolNetwork{PortRange: v1alpha1.PortRange{Min: 10000, Max: 65535}, Advertise: []string{"127.0.0.1"}}}
	b.stack, err = stack.Start(ctx, stack.Options{Root: o.root, AuditLog: b.audit.Path, FakeFleet: true, Pool: pool,
		OperatorFlags: []string{"--lease", "60s"}, // nobody starts it again if the machine stalls
		Progress:      func(what string) { b.say("%s", what) }})
	if err != nil {
		return nil, err
	}
	if err := b.stack.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return nil, fmt.Errorf("creating namespace %s: %w", namespace, err)
	}
	if b.watcher, err = watch(ctx, b.stack); err != nil {
		return nil, err
	}
	return b, nil
}

// stop ends everything.
func (b *bench) stop() error {
	var err error
	if b.watcher != nil {
		b.watcher.stop()
	}
	if b.stack != nil {
		err = b.stack.Stop()
	}
	return errors.Join(err, os.RemoveAll(filepath.Dir(b.audit.Path)))
}

// say tells what goes on, and since when.
func (b *bench) say(format string, args ...any) {
	fmt.Printf("%6.0f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// figure adds to the last line.
func (b *bench) figure(format string, args ...any) {
	b.line = append(b.line, fmt.Sprintf(format, args...))
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// until asks every 200 ms, for as long as it takes at ten thousand rooms on a busy machine.
func until(ctx context.Context, what string, done func() (bool, error)) error {
	deadline := time.Now().Add(20 * time.Minute)
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("gave up waiting until %s", what)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("waiting until %s: %w", what, err)
		}
	}
}

// newRoom is a room that its owner opens.
func (b *bench) newRoom() *v1alpha1.VoiceRoom {
	b.made++
	return &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("room-%05d", b.made)},
		Spec: v1alpha1.VoiceRoomSpec{Owner: "key:bench:owner", MaxMembers: 100, MaxMics: 4,
			Lifecycle: v1alpha1.RoomLifecycle{UnclaimedTimeout: &metav1.Duration{Duration: 24 * time.Hour}}}}
}

// warm waits until so many pods are idle and no more are being made: what is measured then
// has the machine to itself, for the pool may have no other pod in the place of one that is
// claimed.
func (b *bench) warm(ctx context.Context, idle int) error {
	if idle > warmPods {
		return fmt.Errorf("%d rooms at once are more than the %d warm pods of this benchmark", idle, warmPods)
	}
	pool := &v1alpha1.MediaPool{}
	key := client.ObjectKey{Name: "default"}
	if err := b.stack.Client.Get(ctx, key, pool); err != nil {
		return fmt.Errorf("reading the pool: %w", err)
	}
	stored := pool.DeepCopy()
	pool.Spec.MaxPods = int32(min(b.live+warmPods, mostPods))
	if err := b.stack.Client.Patch(ctx, pool, client.MergeFrom(stored)); err != nil {
		return fmt.Errorf("resizing the pool: %w", err)
	}
	want := int(pool.Spec.MaxPods) - b.live
	return until(ctx, fmt.Sprintf("%d pods are idle", want), func() (bool, error) {
		err := b.stack.Client.Get(ctx, key, pool)
		return err == nil && pool.Status.Starting == 0 && int(pool.Status.Ready) >= want, err
	})
}
