package webhook

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/room"
)

// scripted is a room of which a test tells the sender by hand.
type scripted struct{ state *room.State }

func (s *scripted) State(string) *room.State { return s.state }

func (s *scripted) Since(context.Context, string, uint64, uint64, uint64) ([]room.Event, error) {
	return nil, errors.New("not remembered")
}

// TestWhatIsTold: what the sender is told in which order, and what a receiver that answers
// without a cursor then gets.
func TestWhatIsTold(t *testing.T) {
	id := room.ID{UID: "a"}
	at := func(epoch, seq uint64) *room.State { return &room.State{ID: id, Epoch: epoch, Seq: seq} }
	event := func(epoch, seq uint64) room.Event { return room.Event{Epoch: epoch, Seq: seq, Type: room.EventRoom} }
	type told = func(s *Sender, script *scripted)
	snapshot := func(epoch, seq uint64) told {
		return func(s *Sender, script *scripted) { script.state = at(epoch, seq); s.Snapshot(script.state) }
	}
	next := func(epoch, seq uint64) told {
		return func(s *Sender, script *scripted) { script.state = at(epoch, seq); s.Event(id, event(epoch, seq)) }
	}
	late := func(epoch, seq uint64) told { // of a pod that was replaced: the state is not its
		return func(s *Sender, _ *scripted) { s.Event(id, event(epoch, seq)) }
	}
	ended := func(s *Sender, _ *scripted) { s.Ended(id, t0, "Empty", "") }
	for name, tt := range map[string]struct {
		told []told
		want []string
	}{
		"the same again": {[]told{snapshot(1, 4), snapshot(1, 4), next(1, 5), snapshot(1, 5)}, []string{"a_1_4 resync", "a_1_5-5 events"}},
		"overtaken":      {[]told{snapshot(1, 4), next(1, 5), snapshot(1, 3)}, []string{"a_1_4 resync", "a_1_5-5 events"}},
		"twice":          {[]told{snapshot(1, 4), next(1, 5), late(1, 5), next(1, 6)}, []string{"a_1_4 resync", "a_1_5-5 events", "a_1_6-6 events"}},
		"a gap":          {[]told{snapshot(1, 4), next(1, 7), next(1, 8)}, []string{"a_1_4 resync", "a_1_7 resync", "a_1_8-8 events"}},
		"lost from sight": {[]told{snapshot(1, 4), snapshot(1, 9), next(1, 10)},
			[]string{"a_1_4 resync", "a_1_9 resync", "a_1_10-10 events"}},
		"an old pod":     {[]told{snapshot(1, 4), snapshot(2, 0), late(1, 5), next(2, 1)}, []string{"a_1_4 resync", "a_2_0 resync", "a_2_1-1 events"}},
		"an event first": {[]told{next(3, 7)}, []string{"a_3_7 resync"}},
		"after the end":  {[]told{snapshot(1, 4), ended, next(1, 5), snapshot(1, 6), ended}, []string{"a_1_4 resync", "a_ended ended"}},
		"only the end":   {[]told{ended, ended}, []string{"a_ended ended"}},
		"not the end after all": {[]told{ended, snapshot(1, 0), next(1, 1), ended},
			[]string{"a_ended ended", "a_1_0 resync", "a_1_1-1 events", "a_ended ended"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, script := newReceiver(t), &scripted{}
			r.before = func(w http.ResponseWriter, _ Delivery) bool { w.WriteHeader(http.StatusNoContent); return true }
			s, _ := start(t, config(r.URL), script)
			for _, tell := range tt.told {
				tell(s, script)
				idle(t, s)
			}
			if diff := cmp.Diff(tt.want, r.seen()); diff != "" {
				t.Errorf("deliveries (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReached: what an answer says about where the receiver is.
func TestReached(t *testing.T) {
	events := parcel{kind: Events, first: 5, last: Cursor{3, 9}}
	state, final := parcel{kind: Resync, last: Cursor{3, 9}}, parcel{kind: Resync, last: Cursor{3, 9}, final: true}
	for _, tt := range []struct {
		p      parcel
		answer *Cursor
		want   Cursor
	}{
		{events, nil, Cursor{3, 9}}, {events, &Cursor{3, 7}, Cursor{3, 7}}, {events, &Cursor{3, 12}, Cursor{3, 12}},
		{events, &Cursor{4, 0}, Cursor{3, 9}}, {events, &Cursor{2, 99}, Cursor{2, 99}},
		{state, nil, Cursor{3, 9}}, {state, &Cursor{3, 7}, Cursor{3, 7}}, {state, &Cursor{3, 12}, Cursor{3, 12}},
		{state, &Cursor{4, 0}, Cursor{3, 9}}, {state, &Cursor{2, 99}, Cursor{3, 9}},
		{final, &Cursor{3, 7}, Cursor{3, 9}}, {final, &Cursor{3, 12}, Cursor{3, 12}},
	} {
		if got := tt.p.reached(tt.answer); got != tt.want {
			t.Errorf("%s answered with %v: the receiver is at %v, want %v", tt.p.kind, tt.answer, got, tt.want)
		}
	}
}
