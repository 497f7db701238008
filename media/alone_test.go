package media_test

import (
	"fmt"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// Ten minutes without a word from operator and gateways: people talk, take and leave
// microphones and mute as before. Strangers wait, until somebody renews the lease.
func TestCallGoesOnAlone(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann, bob := p.join(owner, voice), p.join("key:shop:bob", voice)
	hears := func(from, to *peer) {
		t.Helper()
		from.say("\xfc on their own", 30)
		for { // the end of what was said before, too
			if got, by := to.hear(); got == "\xfc on their own" && by == from.member {
				return
			}
		}
	}
	for minute := range 10 {
		p.clock.advance(time.Minute)
		for i, c := range []string{`"leave-mic"`, `"take-mic","body":{"index":-1}`, `"mute","body":{"muted":true}`, `"mute","body":{"muted":false}`} {
			id := fmt.Sprintf("%d-%d", minute, i)
			if m := bob.ask(id, fmt.Sprintf(`{"id":%q,"type":%s}`, id, c)); !m.OK {
				t.Fatalf("after %d minutes, %s: %+v", minute+1, c, m.Error)
			}
		}
		hears(ann, bob)
		hears(bob, ann)
	}
	stranger := mediaapi.ReserveRequest{Epoch: 1, Reserve: room.Reserve{Subject: "key:shop:cyd", Session: "c"}}
	_, err := p.gateway.Reserve(t.Context(), stranger)
	wantCode(t, err, room.Frozen)
	if err := p.operator.Renew(t.Context(), 1, 0); err != nil {
		t.Fatal(err)
	}
	p.reserve("key:shop:cyd", "c")
}
