package fleet

import (
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	testclock "k8s.io/utils/clock/testing"

	"voiceroom.dev/voiceroom/room"
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
	clk.Step(unmetAfter - time.Millisecond)
	if n.replica().Lost {
		t.Error("a pod is lost before its time, which begins with the first call")
	}
	clk.Step(time.Millisecond)
	if !n.replica().Lost {
		t.Error("a pod that was called and does not answer is not lost")
	}
}

// TestUnmet: a new leader's first calls may be refused by a network that has not learned of
// it, while people talk in the pod. One that answered before and refuses is lost at once.
func TestUnmet(t *testing.T) {
	clk := testclock.NewFakeClock(time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC))
	f := New(nil, nil, clk, logr.Discard())
	n := &follower{fleet: f, turn: make(chan struct{}), lostAt: clk.Now()}
	if !n.await(t.Context()) {
		t.Fatal("no turn although nobody else has one")
	}
	n.lose(syscall.ECONNREFUSED)
	clk.Step(unmetAfter - time.Millisecond)
	if n.replica().Lost {
		t.Error("a pod that never answered is lost before its time")
	}
	clk.Step(time.Millisecond)
	if !n.replica().Lost {
		t.Error("a pod that never answered is waited for for ever")
	}
	n.learn(&room.State{})
	n.lostAt = clk.Now()
	n.lose(syscall.ECONNREFUSED)
	if !n.replica().Lost {
		t.Error("a pod that has answered us and refuses now is not lost")
	}
}
