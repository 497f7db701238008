package room

import (
	"testing"
	"time"
)

func TestTurns(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.SpeakingSeconds, s.MaxMics = 60, 3 })
	b.enter(ann)
	b.enter("bob")
	if b.mic(ann).Until != nil {
		t.Fatal("a moderator's turn has no end")
	}
	turn := func(want time.Duration) {
		t.Helper()
		if until := b.mic("bob").Until; until == nil || until.Sub(b.now) != want {
			t.Fatalf("bob's turn ends at %v, not in %v", until, want)
		}
	}
	turn(time.Minute)
	b.wait(50 * time.Second)
	b.do(as("bob"), TakeMic{Index: 2}) // going elsewhere is no new turn
	turn(10 * time.Second)
	b.do(as(ann), SwapMics{A: 0, B: 2}) // nor is being put elsewhere
	turn(10 * time.Second)
	b.do(as(ann), GiveMic{Member: b.number("bob"), Index: 1}) // being given one is
	turn(time.Minute)
	b.wait(50 * time.Second)
	b.do(as(ann), GiveMic{Member: b.number("bob"), Index: -1})
	turn(time.Minute)
	if got, want := b.Next(), b.now.Add(time.Minute); !got.Equal(want) {
		t.Fatalf("Next() = %v, want %v", got, want)
	}
	events := b.wait(time.Minute)
	if b.onMic("bob") || len(events) != 1 || events[0].Reason != TimeUp || b.role("bob") != Speaker {
		t.Fatalf("after the turn: %+v", events)
	}
	b.do(as("bob"), TakeMic{Index: -1}) // where the policy lets it
	b.do(as(ann), Configure{SpeakingSeconds: new(5)})
	turn(5 * time.Second)
	b.do(as(ann), SetRole{Member: b.number("bob"), Role: CoHost})
	if b.mic("bob").Until != nil {
		t.Fatal("a co-host's turn has no end")
	}
	b.do(as(ann), SetRole{Member: b.number("bob"), Role: Speaker})
	turn(5 * time.Second)
	b.do(as(ann), Configure{SpeakingSeconds: new(0)})
	b.wait(time.Hour)
	if !b.onMic("bob") {
		t.Fatal("there is no limit any more")
	}
}

// A command never meets a place whose time is over, and its refusal may come with the
// events of that.
func TestTimePassesBeforeACommand(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MaxMembers = 2 })
	b.enter(ann)
	b.do(Control, Reserve{Subject: "bob", Session: "b"})
	b.now = b.now.Add(ReservationTTL)
	events, err := b.Do(b.now, Control, Open{Session: "b"})
	if err == nil || len(events) != 1 || events[0].Type != EventLeft || events[0].Reason != Expired {
		t.Fatalf("%v, %+v", err, events)
	}
}

// What never comes is not waited for: its owner would tick for ever.
func TestNextOfAFencedRoom(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	b.enter("bob")
	b.do(as(ann), Leave{})
	if b.Next().IsZero() {
		t.Fatal("bob is to become the host")
	}
	b.do(Control, Seal{})
	if next := b.Next(); !next.IsZero() {
		t.Fatalf("a sealed room gets no new host, and yet waits for %v", next)
	}
}

// Who raises and lowers a hand again and again leaves no trace of it.
func TestDeadlinesDoNotGrow(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MicPolicy = OnRequest })
	b.enter(ann)
	b.enter("bob")
	b.do(as("bob"), RaiseHand{Raised: true})
	for range 2 * spareDeadlines {
		b.do(as("bob"), RaiseHand{})
		b.do(as("bob"), RaiseHand{Raised: true})
		if got, most := len(b.deadlines), spareDeadlines+8*4; got > most {
			t.Fatalf("%d deadlines, want at most %d", got, most)
		}
	}
	b.do(Control, Reserve{Subject: "bob", Session: "b2"})
	if got, want := b.Next(), b.now.Add(ReservationTTL); !got.Equal(want) {
		t.Fatalf("Next() = %v, want %v", got, want)
	}
	b.wait(HandTTL)
	if m, _ := b.Subject("bob"); m.Hand != nil || b.Knows("b2") {
		t.Fatal("the hand, or who was to take over, is there after its time")
	}
}
