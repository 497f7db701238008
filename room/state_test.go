package room

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A replica that missed an event stays as it is: it needs a snapshot.
func TestApplyRefusesAGap(t *testing.T) {
	b := newBench(t)
	replica := b.State()
	events := b.do(Control, Reserve{Subject: ann, Session: "a"})
	events = append(events, b.do(Control, Open{Session: "a"})...)
	other := events[0]
	other.Epoch++
	for what, e := range map[string]Event{"a later one": events[1], "one of another epoch": other} {
		if replica.Apply(e) || replica.Seq != 0 || len(replica.Members) > 0 {
			t.Errorf("%s was applied: %+v", what, replica)
		}
	}
	for _, e := range events {
		if !replica.Apply(e) {
			t.Fatalf("event %d does not follow %d", e.Seq, replica.Seq)
		}
		if replica.Apply(e) {
			t.Errorf("event %d was applied twice", e.Seq)
		}
	}
	if d := cmp.Diff(b.View(), replica); d != "" {
		t.Fatal(d)
	}
}

func TestClonesShareNothing(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	b.enter("bob")
	before := b.State()
	want := before.Clone()
	b.do(as(ann), MuteMember{Member: b.number("bob"), Muted: true})
	b.do(as(ann), LockMic{Index: 1, Locked: true})
	b.do(as(ann), Kick{Member: b.number("bob")})
	if d := cmp.Diff(want, before); d != "" {
		t.Fatalf("a copy changed with the room:\n%s", d)
	}
}

func TestBanned(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.Banned = []string{"zoe", "eve"} })
	b.enter(ann)
	bob := b.enter("bob")
	b.do(as(ann), Kick{Member: bob.ID}) // kicked is not banned
	if got := b.View().Banned(); !slices.Equal(got, []string{"eve", "zoe"}) {
		t.Fatalf("banned are %v", got)
	}
}

func TestModeratorsAreLimited(t *testing.T) {
	b := newBench(t, func(s *Spec) {
		for i := range MaxModerators {
			s.Moderators = append(s.Moderators, fmt.Sprint("mod-", i))
		}
	})
	b.enter(ann)
	bob := b.enter("bob")
	b.refused(BadCommand, as(ann), SetRole{Member: bob.ID, Role: CoHost})
}
