package room

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReplica(t *testing.T) {
	b := newBench(t)
	var r Replica
	if r.State() != nil || r.Follow(Event{Epoch: 1, Seq: 1}) {
		t.Fatal("nothing can be followed without a state")
	}
	r.Begin(b.State())
	for _, c := range []Command{Reserve{Subject: ann, Session: ann}, Open{Session: ann}, Associate{Session: ann}, Enter{Session: ann}} {
		before := r.State().Clone()
		events := b.do(Control, c)
		for i, e := range events {
			if !r.Follow(e) {
				t.Fatalf("%T: event %d does not follow", c, e.Seq)
			}
			want := before
			if i == len(events)-1 {
				want = b.View()
			}
			if d := cmp.Diff(want, r.State()); d != "" {
				t.Fatalf("%T, after event %d of %d:\n%s", c, i+1, len(events), d)
			}
		}
	}
	b.do(as(ann), Mute{Muted: true})
	whole := b.State()
	later := b.do(as(ann), Mute{})
	if r.Follow(later[0]) {
		t.Fatal("an event is missing")
	}
	r.Learn(whole)
	for range 2 {
		if !r.Follow(later[0]) {
			t.Fatal("the next event, and once more, follow what was learned")
		}
	}
	r.Learn(whole)
	if d := cmp.Diff(b.View(), r.State()); d != "" {
		t.Fatalf("an older state set the replica back:\n%s", d)
	}
}
