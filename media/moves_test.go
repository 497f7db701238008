package media_test

import (
	"testing"
	"time"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// Somebody who talks while moderators rearrange the microphones is heard on, without a gap;
// somebody whose grant ended is not, even if it was given another one in the same step.
func TestMovesAreNotHeard(t *testing.T) {
	t.Parallel()
	const turn = 30
	p := newPod(t)
	p.put(func(r *mediaapi.PutRequest) { r.Spec.SpeakingSeconds = turn })
	tap := &wiretap{}
	ann, bob := p.join(owner, voice), p.join("key:shop:bob", voice)
	p.join("key:shop:cy", transporttest.Options{Slots: 2, Data: true, Tap: tap.hear})
	const pause = "\xfc" // says that a pause follows: however long it is, the server fills none
	bob.say(pause, 30)
	last := tap.await(t, "bob is heard", 0, func(a arrival) bool { return a.member == bob.member })
	for _, step := range []struct {
		name string
		do   func()
		mic  int // bob's, then
		cut  bool
	}{
		{"swapped", func() { p.command(ann.session, room.SwapMics{A: 0, B: 1}) }, 0, false},
		{"swapped with a free one", func() { p.command(ann.session, room.SwapMics{A: 0, B: 4}) }, 4, false},
		{"moved by a moderator", func() { p.command(ann.session, room.GiveMic{Member: bob.member, Index: 3}) }, 3, false},
		{"moved by himself", func() { p.command(bob.session, room.TakeMic{Index: 0}) }, 0, false},
		{"a new turn", func() { p.command(ann.session, room.GiveMic{Member: bob.member, Index: -1}) }, 0, false},
		{"another one is pulled down", func() { p.command(ann.session, room.PullMic{Member: ann.member}) }, 0, false},
		{"muted and unmuted", func() {
			p.command(bob.session, room.Mute{Muted: true})
			p.command(bob.session, room.Mute{Muted: false})
		}, 0, true},
		{"his turn is over, and he takes another one", func() {
			p.clock.advance((turn + 1) * time.Second)
			p.command(bob.session, room.TakeMic{Index: 0})
		}, 0, true},
	} {
		before, _ := p.state().Mic(bob.member)
		step.do()
		mic, _ := p.state().Mic(bob.member)
		if mic.Index != step.mic {
			t.Fatalf("%s: bob is on microphone %d, want %d", step.name, mic.Index, step.mic)
		}
		if renewed := mic.Grant != before.Grant; !renewed && mic.Index != before.Index {
			t.Errorf("%s: another microphone under the same grant", step.name)
		}
		bob.say(pause, 30)
		next := tap.await(t, "bob is heard after he was "+step.name, last, func(a arrival) bool { return a.member == bob.member })
		if silent := len(tap.of(0, last)) > 0; silent != step.cut {
			t.Errorf("%s: silence between his packets: %v, want %v", step.name, silent, step.cut)
		}
		if was, is := tap.place(last-1), tap.place(next-1); !step.cut && (is.ssrc != was.ssrc || is.seq != was.seq+1) {
			t.Errorf("%s: he is heard at %d on %d, and was at %d on %d", step.name, is.seq, is.ssrc, was.seq, was.ssrc)
		}
		last = next
	}
}
