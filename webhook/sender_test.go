package webhook

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"voiceroom.dev/voiceroom/room"
)

// caught waits until the receiver has everything of a room, and compares the two.
func caught(t *testing.T, r *receiver, p *pod) {
	t.Helper()
	want := p.state()
	until(t, "the receiver has everything of "+want.ID.UID, func() bool { return r.cursor(want.ID.UID) == Cursor{want.Epoch, want.Seq} })
	r.with(want.ID.UID, func(b *book) {
		if diff := cmp.Diff(stateShown(want), b.state); diff != "" {
			t.Errorf("the receiver's copy (-pod +receiver):\n%s", diff)
		}
	})
}

func TestARoomFromBeginningToEnd(t *testing.T) {
	r, p := newReceiver(t), newPod("a")
	s, _ := start(t, config(r.URL), pods{"a": p})
	caught(t, r, p)
	p.do(room.Reserve{Subject: "key:shop:ann", Session: "s1", Name: "Ann"})
	p.announce(20, "hello ")
	caught(t, r, p)
	s.Snapshot(p.state()) // the watch broke, and nothing was missed
	ended := t0.Add(-time.Minute)
	s.Ended(p.state().ID, ended, "Empty", "nobody came")
	s.Ended(p.state().ID, ended, "Empty", "nobody came") // is told once
	until(t, "the receiver is told of the end", func() bool { return r.ended("a") })
	r.with("a", func(b *book) {
		want := &Delivery{Type: Ended, Room: p.state().ID, Epoch: 1, Seq: 21, EndedAt: &ended, Reason: "Empty", Message: "nobody came"}
		if diff := cmp.Diff(want, b.ended); diff != "" {
			t.Errorf("the end (-want +got):\n%s", diff)
		}
		if len(b.events) != 21 || b.jumps != 0 {
			t.Errorf("%d events and %d jumps, want all 21 events", len(b.events), b.jumps)
		}
	})
	log := r.seen()
	if log[0] != "a_1_0 resync" || log[len(log)-1] != "a_ended ended" || !strings.HasSuffix(log[len(log)-2], "-21 events") {
		t.Errorf("deliveries: %q", log)
	}
}

// TestRetries: a delivery that is not taken is made again after ever longer waits, and
// what the receiver asks to wait counts.
func TestRetries(t *testing.T) {
	r, p, c := newReceiver(t), newPod("a"), config("")
	clock := &hurry{now: t0}
	c.URL, c.Clock = r.URL, clock
	answers := []func(w http.ResponseWriter){
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "77")
			w.WriteHeader(http.StatusTooManyRequests)
		},
		func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", clock.Now().Add(5*time.Minute).Format(http.TimeFormat))
			w.WriteHeader(http.StatusServiceUnavailable)
		},
		func(w http.ResponseWriter) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusPermanentRedirect)
		},
		func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"epoch":"one","seq":1}`)) },
	}
	var n atomic.Int32
	r.before = func(w http.ResponseWriter, _ Delivery) bool {
		i := int(n.Add(1)) - 1
		if i < len(answers) {
			answers[i](w)
		}
		return i < len(answers)
	}
	s, _ := start(t, c, pods{"a": p})
	caught(t, r, p)
	idle(t, s)
	want := []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 77 * time.Second, 5*time.Minute - 500*time.Millisecond /* dates have whole seconds */, 16 * time.Second, 32 * time.Second}
	if diff := cmp.Diff(want, clock.waited()); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
	if got := slices.Compact(r.seen()); len(got) != 1 {
		t.Errorf("the same content came under several ids: %q", got)
	}
	metrics := c.Metrics.(*prometheus.Registry)
	err := testutil.GatherAndCompare(metrics, strings.NewReader(`
# HELP voiceroom_webhook_deliveries_total Attempts to deliver webhooks, by type (resync, events, ended) and result: taken, refused (an answer other than 2xx) or failed (no proper answer).
# TYPE voiceroom_webhook_deliveries_total counter
voiceroom_webhook_deliveries_total{result="failed",type="resync"} 2
voiceroom_webhook_deliveries_total{result="refused",type="resync"} 5
voiceroom_webhook_deliveries_total{result="taken",type="resync"} 1
`), "voiceroom_webhook_deliveries_total")
	if err != nil {
		t.Error(err)
	}
}

// TestAnotherSenderGoesOn: the sender dies with a delivery under way; the next one knows
// nothing, and the receiver misses nothing.
func TestAnotherSenderGoesOn(t *testing.T) {
	r, p := newReceiver(t), newPod("a")
	_, stop := start(t, config(r.URL), pods{"a": p})
	caught(t, r, p)
	arrived, cut := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r.before = func(http.ResponseWriter, Delivery) (answered bool) {
		once.Do(func() { close(arrived); <-cut; answered = true })
		return answered
	}
	p.announce(3, "lost with the sender ")
	<-arrived
	stop() // returns although the receiver does not answer
	close(cut)
	p.announce(3, "while nobody looked ")
	start(t, config(r.URL), pods{"a": p})
	caught(t, r, p)
	r.with("a", func(b *book) {
		if b.jumps != 0 || len(b.events) != 6 {
			t.Errorf("%d events and %d jumps, want all 6 events", len(b.events), b.jumps)
		}
	})
}

// TestNewEpoch: what was seen of the epoch before comes first, then the whole room.
func TestNewEpoch(t *testing.T) {
	r, p := newReceiver(t), newPod("a")
	var away atomic.Bool
	r.before = func(w http.ResponseWriter, _ Delivery) bool {
		if away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return away.Load()
	}
	start(t, config(r.URL), pods{"a": p})
	caught(t, r, p)
	away.Store(true)
	p.announce(3, "before ")
	p.die()
	p.announce(3, "after ")
	away.Store(false)
	caught(t, r, p)
	r.with("a", func(b *book) {
		if b.cursor != (Cursor{2, 3}) || len(b.events) < 3 || b.events[2].Seq != 3 || b.events[2].Epoch != 1 || b.jumps != 0 {
			t.Errorf("cursor %v, %d jumps, events %v", b.cursor, b.jumps, b.events)
		}
	})
}

// TestOverflow: a receiver that is away costs no more than the bound, and gets the whole
// room when it is back.
func TestOverflow(t *testing.T) {
	r, p, c := newReceiver(t), newPod("a"), config("")
	c.URL = r.URL
	hold, arrived := make(chan struct{}), make(chan struct{}, 8)
	r.before = func(_ http.ResponseWriter, d Delivery) bool {
		if d.Type == Events {
			arrived <- struct{}{}
			<-hold
		}
		return false
	}
	s, _ := start(t, c, pods{"a": p})
	caught(t, r, p)
	p.announce(1, "x")
	<-arrived
	p.remembers = 1
	p.announce(2*maxQueueBytes/room.MaxAnnouncement, strings.Repeat("x", room.MaxAnnouncement-1))
	if _, bytes, _ := s.backlog(); bytes > maxQueueBytes {
		t.Errorf("%d bytes are queued", bytes)
	}
	if got := testutil.ToFloat64(s.metrics.overflows); got != 1 {
		t.Errorf("%v overflows, want 1", got)
	}
	close(hold)
	caught(t, r, p)
	idle(t, s)
}

// TestSlowRoom: a receiver that hangs on one room delays no other one, nor its teller.
func TestSlowRoom(t *testing.T) {
	r := newReceiver(t)
	hold := make(chan struct{})
	r.before = func(_ http.ResponseWriter, d Delivery) bool {
		if d.Room.UID == "slow" {
			<-hold
		}
		return false
	}
	slow, quick := newPod("slow"), newPod("quick")
	start(t, config(r.URL), pods{"slow": slow, "quick": quick})
	for range 50 {
		slow.announce(1, "s ")
		quick.announce(1, "q ")
		caught(t, r, quick)
	}
	if got := r.cursor("slow"); got != (Cursor{}) {
		t.Errorf("the slow room got to %v meanwhile", got)
	}
	close(hold)
	caught(t, r, slow)
}

// TestGone: a receiver that answers 410 hears no more of that room.
func TestGone(t *testing.T) {
	r := newReceiver(t)
	r.before = func(w http.ResponseWriter, d Delivery) bool {
		if d.Room.UID == "unwanted" {
			w.WriteHeader(http.StatusGone)
		}
		return d.Room.UID == "unwanted"
	}
	unwanted, other := newPod("unwanted"), newPod("other")
	s, _ := start(t, config(r.URL), pods{"unwanted": unwanted, "other": other})
	until(t, "the receiver has refused", func() bool { return slices.Contains(r.seen(), "unwanted_1_0 resync") })
	idle(t, s)
	unwanted.announce(5, "u ")
	s.Ended(unwanted.state().ID, t0, "Empty", "")
	other.announce(5, "o ")
	caught(t, r, other)
	if n := len(slices.DeleteFunc(r.seen(), func(l string) bool { return !strings.HasPrefix(l, "unwanted") })); n != 1 {
		t.Errorf("%d deliveries of a room that the receiver does not want", n)
	}
}

// TestStopBeforeStart leaves nothing behind, and nothing is taken afterwards.
func TestStopBeforeStart(t *testing.T) {
	r, p := newReceiver(t), newPod("a")
	s, stop := start(t, config(r.URL), nil)
	stop()
	p.tell(s)
	p.announce(1, "nobody hears ")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, s.Start(ctx))
	if log := r.seen(); len(log) != 0 {
		t.Errorf("a sender that has stopped sent %q", log)
	}
}
