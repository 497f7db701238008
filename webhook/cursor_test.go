package webhook

import (
	"net/http"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/room"
)

// TestForgottenEvents: what not even the pod remembers is told as a final state, once.
func TestForgottenEvents(t *testing.T) {
	r, p := newReceiver(t), newPod("a")
	p.remembers = 2
	_, stop := start(t, config(r.URL), pods{"a": p})
	caught(t, r, p)
	stop()
	p.announce(3, "forgotten ")
	_, stop = start(t, config(r.URL), pods{"a": p})
	caught(t, r, p)
	r.with("a", func(b *book) {
		if b.jumps != 1 || len(b.events) != 0 {
			t.Errorf("%d events and %d jumps", len(b.events), b.jumps)
		}
	})
	want := []string{"a_1_0 resync", "a_1_3 resync", "a_1_3_final resync"}
	if diff := cmp.Diff(want, r.seen()); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
	stop()
	p.announce(2, "remembered ")
	start(t, config(r.URL), pods{"a": p})
	caught(t, r, p)
	r.with("a", func(b *book) {
		if len(b.events) != 2 {
			t.Errorf("%d events, want the 2 that the pod remembers", len(b.events))
		}
	})
}

// TestReceiverThatLostItsStore is brought up to date, from a backup or from nothing.
func TestReceiverThatLostItsStore(t *testing.T) {
	r, p := newReceiver(t), newPod("a")
	start(t, config(r.URL), pods{"a": p})
	p.announce(3, "before ")
	caught(t, r, p)
	var backup book
	r.with("a", func(b *book) { backup = *b; backup.state = b.state.Clone() })
	p.announce(3, "after ")
	caught(t, r, p)
	r.with("a", func(b *book) { *b = backup })
	p.announce(1, "after the backup ")
	caught(t, r, p)
	r.with("a", func(b *book) {
		if b.jumps != 0 || b.events[len(b.events)-1].Seq != 7 {
			t.Errorf("events are missing after the backup: %d jumps, %v", b.jumps, b.events)
		}
		*b = book{}
	})
	p.announce(1, "after the loss ")
	caught(t, r, p)
}

// TestReceiverThatStoresAPart gets the rest.
func TestReceiverThatStoresAPart(t *testing.T) {
	r, p := newReceiver(t), newPod("a")
	hold, arrived := make(chan struct{}), make(chan struct{}, 1)
	r.before = func(w http.ResponseWriter, d Delivery) bool {
		switch {
		case d.Type == Resync:
			arrived <- struct{}{}
			<-hold // until events wait
		case len(d.Events) > 1:
			d.Events = d.Events[:len(d.Events)/2]
			d.Seq = d.Events[len(d.Events)-1].Seq
			_ = jsonTo(w, r.take(d))
			return true
		}
		return false
	}
	start(t, config(r.URL), pods{"a": p})
	<-arrived
	p.announce(8, "n ")
	close(hold)
	caught(t, r, p)
	want := []string{"a_1_0 resync", "a_1_1-8 events", "a_1_5-8 events", "a_1_7-8 events", "a_1_8-8 events"}
	if diff := cmp.Diff(want, r.seen()); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
}

// TestStubbornReceiver: one that answers the same cursor whatever it gets is not sent the
// same things for ever.
func TestStubbornReceiver(t *testing.T) {
	for name, tt := range map[string]struct {
		moved bool
		want  []string
	}{
		"an old number": {false, []string{"a_1_5 resync", "a_1_5_final resync"}},
		"an old epoch":  {true, []string{"a_2_0 resync"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, p := newReceiver(t), newPod("a")
			r.before = func(w http.ResponseWriter, _ Delivery) bool { return jsonTo(w, Cursor{1, 1}) == nil }
			p.remembers = 1
			p.announce(5, "n ")
			if tt.moved {
				p.die()
			}
			s, _ := start(t, config(r.URL), pods{"a": p})
			idle(t, s)
			if diff := cmp.Diff(tt.want, r.seen()); diff != "" {
				t.Errorf("deliveries (-want +got):\n%s", diff)
			}
		})
	}
}

// eager are rooms in which something happens right after the sender read their state.
type eager struct {
	pods
	knows bool // the state
	then  func()
}

func (e *eager) State(uid string) *room.State {
	state := e.pods.State(uid)
	e.then()
	if !e.knows {
		return nil
	}
	return state
}

// TestEventWhileTheStateIsRead: it comes after the state; it would follow nothing if
// there is none.
func TestEventWhileTheStateIsRead(t *testing.T) {
	for knows, want := range map[bool][]string{true: {"a_1_0 resync", "a_1_1-1 events"}, false: nil} {
		r, p := newReceiver(t), newPod("a")
		var once sync.Once
		rooms := &eager{pods: pods{"a": p}, knows: knows, then: func() { once.Do(func() { p.announce(1, "n ") }) }}
		s, _ := start(t, config(r.URL), rooms)
		p.tell(s)
		idle(t, s)
		if diff := cmp.Diff(want, r.seen()); diff != "" {
			t.Errorf("known %v: deliveries (-want +got):\n%s", knows, diff)
		}
	}
}
