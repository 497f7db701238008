package room

import (
	"testing"
	"time"
)

func TestSeedHoldsPlaces(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MaxMembers = 2 })
	b.enter("key:t:ann")
	bob := b.enter("bob")
	b.do(as("bob"), Mute{Muted: true})
	next := &bench{T: t, Room: New(b.View().ID, 2, *b.View().Settings.Spec, b.State(), t0), now: t0}
	next.do(Control, Renew{Until: t0.Add(time.Hour)})
	next.refused(Frozen, Control, Reserve{Subject: "cyd", Session: "c"})
	next.do(Control, ReleaseHeld{})
	next.refused(RoomFull, Control, Reserve{Subject: "cyd", Session: "c"})
	next.do(Control, Reserve{Subject: "bob", Session: "b2"})
	next.do(Control, Open{Session: "b2"})
	next.do(Control, Associate{Session: "b2"})
	if m, _ := next.View().Subject("bob"); m.ID != bob.ID || m.Status != Entered {
		t.Fatalf("bob came back as %+v", m)
	}
	if mic, on := next.View().Mic(bob.ID); !on || !mic.Muted {
		t.Fatalf("bob came back on %+v", mic)
	}
	next.now = t0.Add(AwayTTL)
	next.do(Control, Tick{})
	next.do(Control, Reserve{Subject: "cyd", Session: "c"}) // ann never came back
}

// Who was thrown out stays out when the pod that knew is gone.
func TestSeedKeepsKicks(t *testing.T) {
	b := newBench(t)
	b.enter("key:t:ann")
	bob := b.enter("bob")
	b.do(Control, Kick{Member: bob.ID})
	for _, generation := range []int64{1, 2} { // with the spec that the old pod had, and a newer one
		spec := *b.View().Settings.Spec
		spec.Generation = generation
		next := &bench{T: t, Room: New(b.View().ID, 2, spec, b.State(), b.now), now: b.now}
		next.do(Control, Renew{Until: b.now.Add(time.Hour)})
		next.now = b.now.Add(OldLease)
		next.refused(IsKicked, Control, Reserve{Subject: "bob", Session: "b2"})
		next.do(Control, Reserve{Subject: "bob", Session: "b3", InvitedAt: next.now})
		next.do(Control, Reserve{Subject: "bob", Session: "b4"}) // the invitation ended it
		if s := next.State().Public(); s.Records != nil {
			t.Fatalf("the public state shows %v", s.Records)
		}
	}
}

// The newest replica of the old epoch may show it sealed already: by the very call
// that made the new one.
func TestSeedOfASealedRoom(t *testing.T) {
	b := newBench(t)
	b.enter("key:t:ann")
	b.do(Control, Seal{})
	next := &bench{T: t, Room: New(b.View().ID, 2, *b.View().Settings.Spec, b.State(), t0), now: t0}
	next.do(Control, Renew{Until: t0.Add(time.Hour)})
	next.enter("key:t:ann")
	if phase := next.View().Phase; phase != Opened {
		t.Fatalf("the new epoch is %s", phase)
	}

	b = newBench(t)
	b.do(Control, Reserve{Subject: "key:t:ann", Session: "a"})
	b.do(Control, Open{Session: "a"})
	b.do(Control, Associate{Session: "a"})
	if next := New(b.View().ID, 2, *b.View().Settings.Spec, b.State(), t0); next.View().Phase != Prepared {
		t.Fatalf("nobody has entered, and the new epoch is %s", next.View().Phase)
	}
}

func TestSealed(t *testing.T) {
	b := newBench(t)
	b.enter("key:t:ann")
	b.do(Control, Seal{})
	b.refused(Moving, Control, Reserve{Subject: "bob", Session: "s"})
	b.refused(Moving, as("key:t:ann"), Mute{Muted: true})
	b.do(as("key:t:ann"), Leave{})
}
