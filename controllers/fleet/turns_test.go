package fleet

import (
	"testing"
	"time"

	"github.com/go-logr/logr"
	testclock "k8s.io/utils/clock/testing"
)

// TestNotLostBeforeItIsCalled: a new leader that has thousands of pods to meet takes none
// for lost that it has not come to yet.
func TestNotLostBeforeItIsCalled(t *testing.T) {
	clk := testclock.NewFakeClock(time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC))
	f := New(nil, nil, clk, logr.Discard())
	n := &follower{fleet: f, turn: make(chan struct{}), lostAt: clk.Now()}
	clk.Step(time.Hour)
	if n.replica().Lost {
		t.Error("a pod that waits to be called is lost")
	}
	if !n.await(t.Context()) {
		t.Fatal("no turn although nobody else has one")
	}
	clk.Step(lostAfter - time.Millisecond)
	if n.replica().Lost {
		t.Error("a pod is lost before its time, which begins with the first call")
	}
	clk.Step(time.Millisecond)
	if !n.replica().Lost {
		t.Error("a pod that was called and does not answer is not lost")
	}
}
