package media_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// A command is answered with who commanded or whom it names, never with the whole room.
func TestCommandResult(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann, bob := p.associate(owner, voice), (*peer)(nil)
	tests := []struct {
		name   string
		as     func() string
		c      func() room.Command
		member func() uint32 // 0: none
		mic    int           // -1: none
	}{
		{"control names a session", control, func() room.Command { return room.Enter{Session: ann.session} }, func() uint32 { return ann.member }, 0},
		{"a session commands", func() string { return bob.session }, func() room.Command { return room.TakeMic{Index: 3} }, func() uint32 { return bob.member }, 3},
		{"and names another", func() string { return ann.session }, func() room.Command { return room.MuteMember{Member: bob.member, Muted: true} }, func() uint32 { return ann.member }, 0},
		{"control names a member", control, func() room.Command { return room.GiveMic{Member: bob.member, Index: 4} }, func() uint32 { return bob.member }, 4},
		{"control names nobody", control, func() room.Command { return room.ClearHands{} }, func() uint32 { return 0 }, -1},
		{"whoever goes is told of as it was", func() string { return bob.session }, func() room.Command { return room.Leave{} }, func() uint32 { return bob.member }, -1},
		{"nobody by that number", control, func() room.Command { return room.Unban{Subject: "key:shop:eve"} }, func() uint32 { return 0 }, -1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := p.operator.Command(t.Context(), 1, test.as(), test.c())
			if err != nil {
				t.Fatal(err)
			}
			s := p.state()
			if got.Epoch != 1 || got.Seq != s.Seq || got.ActivatedAt == nil {
				t.Errorf("answered %+v at %d", got, s.Seq)
			}
			if want := test.member(); (got.Member != nil) != (want != 0) || got.Member != nil && got.Member.ID != want {
				t.Errorf("member %+v, want %d", got.Member, want)
			}
			if (got.Mic != nil) != (test.mic >= 0) || got.Mic != nil && got.Mic.Index != test.mic {
				t.Errorf("mic %+v, want %d", got.Mic, test.mic)
			}
		})
		if bob == nil {
			bob = p.join("key:shop:bob", voice)
		}
	}
}

func control() string { return "" }

// One member can be asked for.
func TestSessionInfo(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann := p.join(owner, voice)
	state := p.state()
	m, _ := state.Member(ann.member)
	want := &mediaapi.SessionInfo{Epoch: 1, Seq: state.Seq, Member: m, Mic: &state.Mics[0], ActivatedAt: state.ActivatedAt}
	bySession, err := p.gateway.Session(t.Context(), 1, ann.session)
	if diff := cmp.Diff(want, bySession); err != nil || diff != "" {
		t.Errorf("by session: %v (-want +got):\n%s", err, diff)
	}
	bySubject, err := p.gateway.Subject(t.Context(), 0, owner)
	if diff := cmp.Diff(want, bySubject); err != nil || diff != "" {
		t.Errorf("by subject: %v (-want +got):\n%s", err, diff)
	}
	_, err = p.gateway.Session(t.Context(), 1, "nobody")
	wantCode(t, err, room.UnknownSession)
	_, err = p.gateway.Subject(t.Context(), 1, "oidc:https://issuer.example/a?b&c:nobody")
	wantCode(t, err, room.UnknownMember)
	_, err = p.gateway.Session(t.Context(), 2, ann.session)
	wantCode(t, err, room.Moving)
}

// A command that waits is answered once the operator holds what it did, and says so
// if that does not come to be.
func TestAwaitDurable(t *testing.T) {
	t.Parallel()
	type answer struct {
		result *mediaapi.CommandResult
		err    error
	}
	ban := func(ctx context.Context, p *pod, member uint32) <-chan answer {
		answered := make(chan answer, 1)
		go func() {
			result, err := p.gateway.CommandDurably(ctx, 1, "", room.Kick{Member: member, Ban: true})
			answered <- answer{result, err}
		}()
		return answered
	}
	p := newPod(t)
	p.put()
	ann, bob, cy := p.join(owner, voice), p.join("key:shop:bob", voice), p.join("key:shop:cy", voice)

	answered := ban(t.Context(), p, bob.member)
	bob.await("bye", nil) // it is in force before it is durable
	if got := ann.ask("1", `{"id":"1","type":"mute","body":{"muted":true}}`); got.Seq != p.state().Seq {
		t.Errorf("the reply says %d", got.Seq)
	}
	seq := p.state().Seq
	if err := p.operator.Renew(t.Context(), 1, 1); err != nil { // too little
		t.Fatal(err)
	}
	if err := p.operator.Renew(t.Context(), 1, seq+1000); err != nil { // more than there is
		t.Fatal(err)
	}
	if got := transporttest.Receive(t, answered, "the answer"); got.err != nil || !got.result.Durable || got.result.Seq > seq {
		t.Errorf("answered %+v, %v", got.result, got.err)
	}
	ann.await("heartbeat", func(m message) bool { return m.Durable == seq })

	if got := transporttest.Receive(t, ban(t.Context(), p, cy.member), "the answer"); got.err != nil || got.result.Durable {
		t.Errorf("nobody holds it, and it is answered %+v, %v", got.result, got.err)
	}
	if got, err := p.gateway.Command(t.Context(), 1, "", room.ClearHands{}); err != nil || got.Durable {
		t.Errorf("a command that changes nothing, after one that is not durable: %+v, %v", got, err)
	}
	result, err := p.operator.CommandDurably(t.Context(), 1, "", room.Close{Reason: "Finished"})
	if err != nil || result.Durable {
		t.Errorf("the end of the room: %+v, %v", result, err)
	}
}

// A watch goes on where an earlier one ended, as long as the pod remembers; the replica is
// the room all the same when it does not.
func TestWatchResumes(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	p.join(owner, voice)
	after := p.state()
	p.command("", room.Configure{DisplayName: new("Hall")})
	p.command("", room.Configure{DisplayName: new("Ballroom")})
	want := p.state()
	enough := errors.New("enough")
	watch := func(epoch, seq uint64, frames int) (got []mediaapi.Frame) {
		t.Helper()
		err := p.operator.Watch(t.Context(), epoch, seq, func(f mediaapi.Frame) error {
			if got = append(got, f); len(got) == frames {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
		return got
	}
	replica := after.Clone()
	for _, f := range watch(1, after.Seq, int(want.Seq-after.Seq)) {
		if f.Event == nil || !replica.Apply(*f.Event) {
			t.Fatalf("a frame that does not follow: %+v", f)
		}
	}
	if diff := cmp.Diff(want, replica); diff != "" {
		t.Errorf("the replica differs (-room +replica):\n%s", diff)
	}
	if got := watch(1, want.Seq, 1)[0]; got.Event != nil || got.Snapshot != nil {
		t.Errorf("with nothing missed the watch begins with %+v", got)
	}
	for name, at := range map[string][2]uint64{"from the start": {1, 0}, "from the future": {1, want.Seq + 1}, "without an epoch": {0, after.Seq}} {
		if got := watch(at[0], at[1], 1)[0]; got.Snapshot == nil || got.Snapshot.Seq != want.Seq {
			t.Errorf("%s: %+v, want a snapshot", name, got)
		}
	}
	err := p.operator.Watch(t.Context(), 2, after.Seq, func(mediaapi.Frame) error { return nil })
	if errors.Is(err, io.EOF) {
		t.Error("another epoch's watch was begun")
	}
	wantCode(t, err, room.Moving)
}

// What moderators say when they close the room reaches everybody, and so does why somebody
// lost a microphone.
func TestReasonsReachClients(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put(func(r *mediaapi.PutRequest) { r.Spec.SpeakingSeconds = 30 })
	ann := p.join(owner, voice)
	bob, cy, dee := p.join("key:shop:bob", voice), p.join("key:shop:cy", voice), p.join("key:shop:dee", voice)
	p.command(ann.session, room.PullMic{Member: bob.member})
	p.command(ann.session, room.LockMic{Index: 2, Locked: true})
	p.clock.advance(31 * time.Second)
	p.command(ann.session, room.ClearHands{})
	reasons := map[int]room.Code{}
	for want := map[int]room.Code{1: room.PulledDown, 2: room.MicLocked, 3: room.TimeUp}; !cmp.Equal(want, reasons); {
		for _, e := range ann.await("events", nil).Events {
			if e.Type == room.EventMic && e.Mic.Member == 0 {
				reasons[e.Mic.Index] = e.Reason
			}
		}
	}
	p.command(ann.session, room.Close{Message: "Thank you all.\nSee you on Friday."})
	for _, c := range []*peer{ann, bob, cy, dee} {
		if got := c.await("bye", nil); got.Code != room.RoomClosed || got.Detail != "Thank you all.\nSee you on Friday." {
			t.Errorf("bye says %s: %q", got.Code, got.Detail)
		}
	}
}
