package voiceroom

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	testclock "k8s.io/utils/clock/testing"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/drain"
	"voiceroom.dev/voiceroom/controllers/fleet"
	"voiceroom.dev/voiceroom/room"
)

func TestTalkersOf(t *testing.T) {
	s := &room.State{Mics: []room.Mic{{Index: 0, Member: 1}, {Index: 1, Member: 2, Muted: true}, {Index: 2, Member: 3, ModMuted: true}, {Index: 3, Member: 4}}}
	if diff := cmp.Diff([]uint32{1, 4}, talkersOf(s)); diff != "" {
		t.Errorf("talkers (-want +got):\n%s", diff)
	}
}

// TestDepartures: what a pod was told is remembered as long as it may live, and not for ever.
func TestDepartures(t *testing.T) {
	var d departures
	d.of("a", epochZero).to = 2
	if d.of("a", epochZero.Add(time.Minute)).to != 2 {
		t.Error("forgotten")
	}
	later := epochZero.Add(departureTime + time.Minute)
	d.of("b", later)
	if len(d.byPod) != 1 {
		t.Errorf("%d pods are remembered", len(d.byPod))
	}
}

// TestLeaving: a pod is left alone for a while, from when that is asked first.
func TestLeaving(t *testing.T) {
	var l leaving
	for _, passed := range []time.Duration{0, 10 * time.Second, moveTime} {
		if got := l.left("pod", epochZero.Add(passed)); got != moveTime-passed {
			t.Errorf("after %v: %v left", passed, got)
		}
	}
}

// TestWaitsSince: a room that waits counts from when its pod began to have to go.
func TestWaitsSince(t *testing.T) {
	now := epochZero.Add(time.Hour)
	vr := testRoom(nil)
	if got := drainingSince(vr, drain.Verdict{}, now); !got.Equal(now) {
		t.Errorf("first seen now: since %v", got)
	}
	r := &Reconciler{Clock: testclock.NewFakePassiveClock(epochZero), Allocator: &fleet.Allocator{}, Events: events.NewFakeRecorder(8)}
	r.draining(vr, v1alpha1.ReasonWaitingForEnd, "because")
	if got := drainingSince(vr, drain.Verdict{}, now); !got.Equal(epochZero) {
		t.Errorf("seen before: since %v", got)
	}
	tainted := epochZero.Add(time.Minute)
	if got := drainingSince(vr, drain.Verdict{Since: tainted}, now); !got.Equal(tainted) {
		t.Errorf("written down: since %v", got)
	}
	r.stays(vr)
	if mustMove(vr) || len(vr.Status.Conditions) != 0 {
		t.Errorf("conditions %+v of a room that stays", vr.Status.Conditions)
	}
}

func TestOthers(t *testing.T) {
	pod := func(name string, phase corev1.PodPhase) corev1.Pod {
		return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}, Status: corev1.PodStatus{Phase: phase}}
	}
	mine, old, ended := pod("mine", corev1.PodRunning), pod("old", corev1.PodRunning), pod("ended", corev1.PodSucceeded)
	got := others("mine", []corev1.Pod{mine, old, ended})
	if len(got) != 1 || got[0].Name != "old" {
		t.Errorf("others are %v", got)
	}
}
