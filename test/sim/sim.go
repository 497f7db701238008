package sim

import (
	"fmt"
	"strings"
	"time"
)

// Result is what came of a seed.
type Result struct {
	Seed      uint64
	Steps     int           // events
	Lines     int           // of the trace
	Hash      uint64        // of the whole trace
	Epochs    int           // that the room has had
	Recovered time.Duration // how long after the faults everything was as it should be
	Violation *Violation    // nil: none
	Trace     []string      // its last lines
}

// Run lets a world live that is made by the seed.
func Run(seed uint64) Result { return run(seed, sound) }

func run(seed uint64, m mutation) Result {
	w := newWorld(seed, m)
	defer w.close()
	broken := func() bool { return w.check.violation != nil }
	w.run(birth.Add(strife), broken)
	var left *Violation
	if !broken() {
		w.makePeace()
		left = &Violation{}
	}
	for left != nil && !broken() && w.now.Before(birth.Add(strife+recovery)) {
		w.run(w.now.Add(time.Second), broken)
		left = w.check.settled()
	}
	if left != nil && !broken() {
		w.check.violate(left.Invariant, "%s", left.Detail)
	}
	return Result{Seed: seed, Steps: w.steps, Lines: w.trace.lines, Hash: w.trace.hash.Sum64(), Epochs: len(w.check.epochs),
		Recovered: max(0, w.now.Sub(birth)-strife), Violation: w.check.violation, Trace: w.trace.tail()}
}

// String tells of a violation, and how to see it again.
func (r Result) String() string {
	if r.Violation == nil {
		return fmt.Sprintf("seed %d: %d steps, %d epochs, recovered in %v", r.Seed, r.Steps, r.Epochs, r.Recovered)
	}
	return fmt.Sprintf("seed %d, step %d: violated:\n  %s\n  %s\n%s", r.Seed, r.Steps, r.Violation.Invariant, r.Violation.Detail, strings.Join(r.Trace, "\n"))
}
