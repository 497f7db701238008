// Command torture races callers of real rooms against each other while their media pods,
// the gateway and the operator are killed, wedged and cut off, and judges what they were
// answered: see package history. It prints operations, faults and violations, and exits
// with 1 if there is a violation.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// options are the flags.
type options struct {
	operations int64
	seed       uint64
	callers    int
	rooms      int
	subjects   int
	faultEvery int64
	root       string
	media      string
	out        string
}

func main() {
	ctrllog.SetLogger(logr.Discard())
	var o options
	flag.Int64Var(&o.operations, "n", 20_000, "operations")
	flag.Uint64Var(&o.seed, "seed", 0, "of what callers do and what breaks; 0: a random one")
	flag.IntVar(&o.callers, "callers", 64, "that call at once")
	flag.IntVar(&o.rooms, "rooms", 8, "that they share")
	flag.IntVar(&o.subjects, "subjects", 8, "of each room, which its callers share")
	flag.Int64Var(&o.faultEvery, "fault-every", 1000, "operations")
	flag.StringVar(&o.root, "root", ".", "the repository")
	flag.StringVar(&o.media, "media", "", "a media binary to run in place of the one that is built")
	flag.StringVar(&o.out, "out", filepath.Join(os.TempDir(), "voiceroom-torture"), "where the histories of violations go")
	flag.Parse()
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	violations, err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
	}
	if err != nil || violations > 0 {
		os.Exit(1)
	}
}

func run(parent context.Context, o options) (violations int64, err error) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	rep := newReport(os.Stdout, o.out)
	w, err := build(ctx, o, rep)
	if w != nil {
		defer w.stop()
		defer cancel()
	}
	if err != nil {
		return 0, err
	}
	fmt.Printf("%d callers in %d rooms, seed %d, commands over HTTP: %v\n", o.callers, o.rooms, o.seed, w.restCommands)
	rep.start = time.Now()
	f := &faults{world: w, rng: rand.New(rand.NewPCG(o.seed, 0)), counts: map[string]int{}}
	torture(ctx, w, f)
	took := time.Since(rep.start)
	rep.finish()
	rep.details(w, f)
	n := rep.operations.Load()
	fmt.Printf("torture: %d operations, %d faults, %d violations (seed %d, %v, %.0f ops/s)\n",
		n, rep.faults.Load(), rep.violations.Load(), o.seed, took.Round(time.Second), float64(n)/took.Seconds())
	return rep.violations.Load(), nil
}

// torture has callers call and things break until there were enough operations, and
// judges the rest.
func torture(parent context.Context, w *world, f *faults) {
	for _, r := range w.rooms {
		r.discard(parent)
	}
	ctx, enough := context.WithCancel(parent)
	var calling sync.WaitGroup
	calling.Go(func() { w.report.progress(ctx, w.opts.operations, enough) })
	for i := range w.opts.callers {
		c := &caller{number: i, world: w, room: w.rooms[i%len(w.rooms)], rng: rand.New(rand.NewPCG(w.opts.seed, uint64(i+1)))}
		w.callers = append(w.callers, c)
	}
	for _, c := range w.callers {
		calling.Go(func() { c.run(ctx, parent) })
	}
	f.run(ctx, w.opts.faultEvery)
	calling.Wait()
	for _, r := range w.rooms {
		r.judge(parent)
	}
}

// progress says how far it is, on one line, and ends when there were enough operations.
func (r *report) progress(ctx context.Context, most int64, enough func()) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		done := r.operations.Load()
		rate := float64(done) / time.Since(r.start).Seconds()
		if n%15 == 0 {
			left := time.Duration(float64(most-done) / max(rate, 1) * float64(time.Second))
			fmt.Printf("\r%d of %d operations, %d faults, %d violations, %.0f ops/s, %v left   ",
				done, most, r.faults.Load(), r.violations.Load(), rate, left.Round(time.Second))
		}
		if done >= most {
			fmt.Println()
			enough()
			return
		}
	}
}

// details says what the numbers are made of.
func (r *report) details(w *world, f *faults) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, kind := range slices.Sorted(maps.Keys(r.kinds)) {
		fmt.Printf("%9d  %s\n", r.kinds[kind], kind)
	}
	for _, kind := range slices.Sorted(maps.Keys(f.counts)) {
		fmt.Printf("%9d  %s\n", f.counts[kind], kind)
	}
	for _, what := range slices.Sorted(maps.Keys(r.troubles)) {
		fmt.Printf("%9d  trouble: %s\n", r.troubles[what], what)
	}
	unattributed := 0
	for _, room := range w.rooms {
		unattributed += room.unjudged
	}
	fmt.Printf("judged %d operations; %d had no answer, %d fell into moves of a room\n", r.judged.Load(), r.lost.Load(), unattributed)
}
