package room

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ann = "key:t:ann" // the owner, and host

// at is the subject on a microphone; empty: nobody.
func (b *bench) at(index int) string {
	mic, _ := b.Room.at(index)
	m, _ := b.View().Member(mic.Member)
	return m.Subject
}

func (b *bench) mic(subject string) Mic {
	m, _ := b.View().Subject(subject)
	mic, _ := b.View().Mic(m.ID)
	return mic
}

func (b *bench) role(subject string) Role {
	m, _ := b.View().Subject(subject)
	return m.Role
}

func (b *bench) number(subject string) uint32 {
	m, _ := b.View().Subject(subject)
	return m.ID
}

func (b *bench) wait(d time.Duration) []Event {
	b.Helper()
	b.now = b.now.Add(d)
	return b.do(Control, Tick{})
}

func TestSwapMics(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MaxMics = 3 })
	b.enter(ann)
	b.enter("bob")
	b.do(as("bob"), Mute{Muted: true})
	annBefore, bobBefore := b.mic(ann), b.mic("bob")
	b.do(as(ann), SwapMics{A: 0, B: 1})
	if b.at(0) != "bob" || b.at(1) != ann || !b.mic("bob").Muted {
		t.Fatalf("after swapping: %+v", b.View().Mics)
	}
	if b.mic(ann).Grant <= bobBefore.Grant || b.mic("bob").Grant <= annBefore.Grant {
		t.Fatal("both are under new grants: the old ones forward nothing any more")
	}
	b.do(as(ann), SwapMics{A: 2, B: 0}) // one of them is free
	if b.at(0) != "" || b.at(2) != "bob" {
		t.Fatalf("after moving bob: %+v", b.View().Mics)
	}
	b.refused(NotOnMic, as(ann), SwapMics{A: 0, B: 0})
	b.refused(MicUnavailable, as(ann), SwapMics{A: 0, B: 3})
	b.refused(NotAllowed, as("bob"), SwapMics{A: 0, B: 1})
	b.do(as(ann), LockMic{Index: 0, Locked: true})
	b.refused(MicLocked, as(ann), SwapMics{A: 0, B: 1})
}

func TestLockMicEvicts(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MaxMics = 3 })
	b.enter(ann)
	b.enter("bob")
	events := b.do(as(ann), LockMic{Index: 1, Locked: true})
	if b.onMic("bob") || events[0].Reason != MicLocked {
		t.Fatalf("locking an index evicts who is on it: %+v", events)
	}
	if b.role("bob") != Speaker {
		t.Fatal("who was evicted may take another one")
	}
	b.refused(MicLocked, as("bob"), TakeMic{Index: 1})
	b.do(as("bob"), TakeMic{Index: -1})
	if b.at(2) != "bob" {
		t.Fatalf("the lowest free index is one that is not locked: %+v", b.View().Mics)
	}
	b.do(as(ann), LockMic{Index: 1})
	b.do(as("bob"), TakeMic{Index: 1})
}

func TestCoHostCannotEvictAnother(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.Moderators = []string{"mod"} })
	b.enter(ann)
	b.enter("mod")
	b.refused(NotAllowed, as("mod"), LockMic{Index: 0, Locked: true})
	b.do(as("mod"), LockMic{Index: 1, Locked: true}) // its own
}

// Clients see every version: on none of them is somebody of the audience on a microphone.
func TestGiveMicBringsUpFromTheAudience(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	b.enter("bob")
	b.do(as(ann), PullMic{Member: b.number("bob")})
	if b.role("bob") != Audience || b.onMic("bob") {
		t.Fatal("a speaker whose microphone is pulled is in the audience")
	}
	b.refused(MicNotAllowed, as("bob"), TakeMic{Index: -1})
	replica := b.State()
	for _, e := range b.do(as(ann), GiveMic{Member: b.number("bob"), Index: -1}) {
		replica.Apply(e)
		if m, _ := replica.Subject("bob"); m.Role == Audience && len(replica.Mics) == 2 {
			t.Errorf("at version %d the audience is on a microphone", e.Seq)
		}
	}
	if d := cmp.Diff(b.View(), replica); d != "" || b.role("bob") != Speaker {
		t.Fatalf("bob is %s\n%s", b.role("bob"), d)
	}
}

func TestPullDownSurvivesRejoin(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	b.enter("bob")
	b.do(as(ann), PullMic{Member: b.number("bob")})
	b.do(as("bob"), Leave{})
	b.enter("bob")
	if b.role("bob") != Audience {
		t.Fatalf("bob left the audience by coming in again, as %s", b.role("bob"))
	}
	b.do(as(ann), GiveMic{Member: b.number("bob"), Index: -1})
	b.do(b.as("bob"), Leave{})
	b.enter("bob")
	if b.role("bob") != Speaker {
		t.Fatal("given a microphone, bob is a speaker again")
	}
}

func TestMutes(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.Moderators, s.MaxMics = []string{"mod"}, 3 })
	b.enter(ann)
	b.enter("mod")
	b.enter("bob")
	b.do(as("mod"), MuteAll{Muted: true})
	for subject, live := range map[string]bool{ann: true, "mod": true, "bob": false} {
		if got := b.mic(subject).Live(); got != live {
			t.Errorf("after mute-all %s is live: %t", subject, got)
		}
	}
	b.refused(MutedByModerator, as("bob"), Mute{})
	b.do(as("bob"), LeaveMic{})
	b.do(as("bob"), TakeMic{Index: -1})
	if b.mic("bob").Live() {
		t.Error("another microphone lifted the mute")
	}
	b.do(as("bob"), Leave{})
	b.enter("bob")
	if b.mic("bob").Live() {
		t.Error("coming in again lifted the mute")
	}
	b.do(as("mod"), MuteAll{})
	if !b.mic("bob").Live() {
		t.Error("a moderator lifts it")
	}
}

func TestMuteOnEntry(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.Moderators, s.MuteOnEntry, s.MaxMics = []string{"mod"}, true, 3 })
	for subject, muted := range map[string]bool{ann: false, "mod": false, "bob": true} {
		if b.View().ActivatedAt == nil {
			b.enter(ann)
		}
		if subject != ann {
			b.enter(subject)
		}
		if mic := b.mic(subject); mic.Muted != muted || mic.ModMuted {
			t.Errorf("%s came in on %+v", subject, mic)
		}
	}
	b.do(as("bob"), Mute{}) // its own to lift
}

// A co-host is a moderator, but not its own.
func TestCoHostDoesNotLiftItsOwnMute(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.Moderators = []string{"mod", "mod2"} })
	b.enter(ann)
	mod := b.enter("mod")
	for _, muted := range []bool{true, false} {
		for _, c := range []Command{MuteMember{Member: mod.ID, Muted: muted}, ChatMute{Member: mod.ID, Muted: muted}} {
			if !muted {
				b.refused(MutedByModerator, as("mod"), c)
			}
			b.do(as(ann), c)
		}
	}
}
