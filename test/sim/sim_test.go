package sim

import (
	"flag"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

var (
	seeds = flag.Uint64("seeds", 1000, "how many seeds TestSeeds runs")
	first = flag.Uint64("seed", 1, "the first of them")
	lines = flag.Int("lines", traceLines, "how much of the trace of a violation is shown")
)

func TestMain(m *testing.M) {
	flag.Parse()
	traceLines = *lines
	goleak.VerifyTestMain(m)
}

// Nothing that holds is violated, whatever the seed. To see one again: -seed=N -seeds=1.
func TestSeeds(t *testing.T) {
	var steps, epochs, next atomic.Uint64
	var mu sync.Mutex
	var failed []Result
	var running sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() {
			for i := next.Add(1) - 1; i < *seeds; i = next.Add(1) - 1 {
				r := Run(*first + i)
				steps.Add(uint64(r.Steps))
				epochs.Add(uint64(r.Epochs))
				if r.Violation != nil {
					mu.Lock()
					failed = append(failed, r)
					mu.Unlock()
				}
			}
		})
	}
	running.Wait()
	t.Logf("%d seeds, %d steps, %d epochs, %d violations", *seeds, steps.Load(), epochs.Load(), len(failed))
	slices.SortFunc(failed, func(a, b Result) int { return int(a.Seed) - int(b.Seed) })
	for i, r := range failed {
		if i == 0 {
			t.Error(r)
			continue
		}
		t.Errorf("seed %d: %s %s", r.Seed, r.Violation.Invariant, r.Violation.Detail)
	}
}

// A seed that is run again does the very same.
func TestReplay(t *testing.T) {
	for seed := range uint64(20) {
		if a, b := Run(seed), Run(seed); a.Hash != b.Hash || a.Steps != b.Steps {
			t.Errorf("seed %d: %d steps with trace %x, and then %d with %x", seed, a.Steps, a.Hash, b.Steps, b.Hash)
		}
	}
	if a, b := Run(1), Run(2); a.Hash == b.Hash {
		t.Errorf("two seeds have the trace %x", a.Hash)
	}
}

// Each rule is needed: without it an invariant is violated, and it is said which.
func TestMutations(t *testing.T) {
	const most = 500
	for m, want := range map[mutation][]Invariant{
		ownLease: {Leased}, cachedThaw: {Fresh}, noPlaces: {Kept}, noMemory: {Away}, hasty: {Seats}, boastful: {Away},
		halves: {Copies}, freely: {Seats}, outwaited: {Seats}, seedless: {Seats},
		blindClaims: {Owned, Fresh}, // an older claim written over a newer one ends that
	} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(most) {
				r := run(seed, m)
				if r.Violation == nil {
					continue
				}
				if !slices.Contains(want, r.Violation.Invariant) {
					t.Fatalf("not what was expected: %v", r)
				}
				t.Logf("seed %d: %s", seed, r.Violation.Detail)
				return
			}
			t.Errorf("nobody noticed in %d seeds", most)
		})
	}
}
