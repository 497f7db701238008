package sim

import (
	"flag"
	"testing"
)

var (
	seeds = flag.Int("seeds", 1000, "how many seeds to run")
	first = flag.Uint64("seed", 1, "the first of them")
)

func TestSeeds(t *testing.T) {
	steps, epochs := 0, 0
	for i := range *seeds {
		r := Run(*first + uint64(i))
		if r.Violation != nil {
			t.Fatal(r)
		}
		steps += r.Steps
		epochs += r.Epochs
	}
	t.Logf("%d seeds, %d steps, %d epochs", *seeds, steps, epochs)
}

func TestSurvey(t *testing.T) {
	n := map[Invariant]int{}
	ex := map[Invariant][]uint64{}
	for i := range *seeds {
		r := Run(*first + uint64(i))
		if r.Violation != nil {
			n[r.Violation.Invariant]++
			ex[r.Violation.Invariant] = append(ex[r.Violation.Invariant], r.Seed)
		}
	}
	for k, v := range n {
		t.Log(v, k, ex[k][:min(10, len(ex[k]))])
	}
}
