// Command failover measures how long a room is silent when its media pod dies. It runs a
// whole system of real processes, fills rooms with people, two of whom talk all the time,
// strikes the rooms' pods again and again, and says how long it took until every listener
// heard every talker again, and what that time went to. It compares the seats before and
// after, and exits with 1 if one differs or somebody did not come back.
//
//	failover -fault kill     SIGKILL, as when memory runs out
//	failover -fault wedge    SIGSTOP: the process is there and does nothing
//	failover -fault cut      the pod is cut off from the cluster, not from its clients
//	failover -fault migrate  the pod is deleted, as when its node is drained
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"voiceroom.dev/voiceroom/hack/stack"
)

// faults are what can befall a pod, and within how long 99 of 100 listeners are to hear
// again: after it, or, where the old pod goes on, since they last heard anything.
var faults = map[string]struct {
	strike func(context.Context, *stack.Stack, string) error
	target time.Duration
	gap    bool // the silence counts, not the time since the fault
}{
	"kill": {func(ctx context.Context, s *stack.Stack, pod string) error {
		return s.SignalPod(ctx, pod, syscall.SIGKILL)
	}, 1500 * time.Millisecond, false},
	"wedge": {func(ctx context.Context, s *stack.Stack, pod string) error {
		return s.SignalPod(ctx, pod, syscall.SIGSTOP)
	}, 5 * time.Second, false},
	"cut":     {func(_ context.Context, s *stack.Stack, pod string) error { s.CutPod(pod); return nil }, 5 * time.Second, true},
	"migrate": {deletePod, 200 * time.Millisecond, true},
}

type options struct {
	faults int64
	fault  string
	rooms  int
	root   string
	media  string
}

func main() {
	ctrllog.SetLogger(logr.Discard())
	var o options
	flag.Int64Var(&o.faults, "n", 300, "faults")
	flag.StringVar(&o.fault, "fault", "kill", "kill, wedge, cut or migrate")
	flag.IntVar(&o.rooms, "rooms", 4, "that are struck at once")
	flag.StringVar(&o.root, "root", ".", "the repository")
	flag.StringVar(&o.media, "media", "", "a media binary to run in place of the one that is built")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	good, err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
	}
	if err != nil || !good {
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (good bool, err error) {
	if _, ok := faults[o.fault]; !ok {
		return false, fmt.Errorf("-fault: there is no fault %q", o.fault)
	}
	system, err := stack.Start(ctx, stack.Options{Root: o.root, Warm: int32(o.rooms) + 1, Partitions: o.fault == "cut", MediaBinary: o.media,
		GatewayFlags: []string{"--guest-rate", "1000", "--guest-burst", "1000"}, Progress: func(what string) { fmt.Println(what) }})
	if err != nil {
		return false, err
	}
	defer func() {
		if stopped := system.Stop(); err == nil {
			err = stopped
		}
	}()
	b, err := newBench(ctx, system, o)
	if err != nil {
		return false, err
	}
	defer b.dialer.Close()
	rooms, err := b.rooms(ctx)
	defer closeAll(rooms)
	if err != nil {
		return false, err
	}
	fmt.Printf("%d rooms of %d people: %s\n", len(rooms), len(people), o.fault)
	var left atomic.Int64
	left.Store(o.faults)
	var striking errgroup.Group
	for _, r := range rooms {
		striking.Go(func() error {
			for left.Add(-1) >= 0 && ctx.Err() == nil {
				s, err := r.strike(ctx)
				if err != nil {
					return fmt.Errorf("room %s: %w", r.object.Name, err)
				}
				b.report.add(s)
			}
			return ctx.Err()
		})
	}
	err = striking.Wait()
	return b.report.print(o.fault) && err == nil, err
}

func closeAll(rooms []*room) {
	var closing sync.WaitGroup
	for _, r := range rooms {
		closing.Go(r.close)
	}
	closing.Wait()
}
