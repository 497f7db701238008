package room

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// queue are the subjects with raised hands, first who is next.
func (b *bench) queue() []string {
	var subjects []string
	for _, m := range b.View().Hands() {
		subjects = append(subjects, m.Subject)
	}
	return subjects
}

// stage is a room of a host on a microphone and three who would like to be.
func stage(t *testing.T) *bench {
	b := newBench(t, func(s *Spec) { s.MicPolicy = OnRequest })
	for _, subject := range []string{ann, "bob", "cyd", "dan"} {
		b.enter(subject)
	}
	return b
}

func TestHandsQueue(t *testing.T) {
	b := stage(t)
	for _, subject := range []string{"bob", "cyd", "dan"} {
		b.wait(time.Second)
		b.do(as(subject), RaiseHand{Raised: true})
	}
	for _, tc := range []struct {
		what string
		by   Actor
		give Command
		want []string
	}{
		{"first come, first served", as("bob"), RaiseHand{Raised: true}, []string{"bob", "cyd", "dan"}},
		{"a moderator's priority goes before age", as(ann), HandPriority{Member: b.number("dan"), Priority: 1}, []string{"dan", "bob", "cyd"}},
		{"age counts within a priority", as(ann), HandPriority{Member: b.number("cyd"), Priority: 1}, []string{"cyd", "dan", "bob"}},
		{"a lost connection keeps the place", Control, Lost{Session: "cyd"}, []string{"cyd", "dan", "bob"}},
		{"lowering leaves the queue", as("dan"), RaiseHand{}, []string{"cyd", "bob"}},
		{"raising again begins at its end", as("dan"), RaiseHand{Raised: true}, []string{"cyd", "bob", "dan"}},
		{"a moderator refuses", as(ann), LowerHand{Member: b.number("bob")}, []string{"cyd", "dan"}},
		{"a moderator accepts", as(ann), GiveMic{Member: b.number("dan"), Index: -1}, []string{"cyd"}},
		{"and clears the rest", as(ann), ClearHands{}, nil},
	} {
		b.do(tc.by, tc.give)
		if d := cmp.Diff(tc.want, b.queue()); d != "" {
			t.Errorf("%s (-want +got):\n%s", tc.what, d)
		}
	}
	b.refused(NoHand, as(ann), HandPriority{Member: b.number("bob"), Priority: 1})
	b.refused(BadCommand, as("dan"), RaiseHand{Raised: true}) // on a microphone
	b.refused(NotAllowed, as("bob"), ClearHands{})
}

func TestHandExpires(t *testing.T) {
	b := stage(t)
	b.do(as("bob"), RaiseHand{Raised: true})
	if got, want := b.Next(), b.now.Add(HandTTL); !got.Equal(want) {
		t.Fatalf("Next() = %v, want %v", got, want)
	}
	events := b.wait(HandTTL)
	if len(b.queue()) > 0 || len(events) != 1 || events[0].Reason != Expired {
		t.Fatalf("after its time: %v, %+v", b.queue(), events)
	}
}

func TestAskToSpeak(t *testing.T) {
	b := stage(t)
	b.refused(NotAsked, as("bob"), AnswerAsk{Accept: true})
	b.do(as(ann), AskToSpeak{Member: b.number("bob")})
	b.do(as("bob"), AnswerAsk{}) // no, thanks
	b.refused(NotAsked, as("bob"), AnswerAsk{Accept: true})

	b.do(as(ann), AskToSpeak{Member: b.number("bob")})
	b.wait(AskTTL)
	b.refused(NotAsked, as("bob"), AnswerAsk{Accept: true})

	b.do(as(ann), AskToSpeak{Member: b.number("bob")})
	b.do(as(ann), AskToSpeak{Member: b.number("cyd")})
	b.do(as("bob"), AnswerAsk{Accept: true}) // whatever the policy
	if !b.onMic("bob") {
		t.Fatal("accepted, and not on a microphone")
	}
	b.refused(MicUnavailable, as("cyd"), AnswerAsk{Accept: true}) // the last one is taken
	b.do(as("bob"), LeaveMic{})
	b.do(as("cyd"), AnswerAsk{Accept: true}) // it still stands
}
