package media_test

import (
	"fmt"
	"strings"
	"testing"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// The flow of a first and a second client, and audio in both directions: none
// before they entered, then bit by bit what was sent, under the speaker's number.
func TestTwoClientsHearEachOther(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	if s := p.put(); s.Phase != room.Prepared {
		t.Errorf("a new room is %s", s.Phase)
	}
	_, err := p.gateway.Reserve(t.Context(), mediaapi.ReserveRequest{Epoch: 1, Reserve: room.Reserve{Subject: "key:shop:bob", Session: "b"}})
	wantCode(t, err, room.NotOpenYet)
	ann := p.associate(owner, voice)
	if s := p.state(); s.Phase != room.Opened || s.ActivatedAt != nil {
		t.Errorf("after the owner's association the room is %s, activated %v", s.Phase, s.ActivatedAt)
	}
	p.command("", room.Enter{Session: ann.session})
	if s := p.state(); s.ActivatedAt == nil || len(s.Mics) != 1 || s.Mics[0].Member != ann.member {
		t.Fatalf("the owner entered: activated %v, mics %v", s.ActivatedAt, s.Mics)
	}

	bob := p.associate("key:shop:bob", voice)
	const early = 20
	for range early {
		ann.say("before bob entered", 30)
		bob.say("before I entered", 30)
	}
	eventually(t, "early packets are dropped", func() bool {
		return p.metric(`packets_dropped_total{reason="no-grant"}`) == early && p.metric(`packets_dropped_total{reason="unheard"}`) == early
	})
	p.command("", room.Enter{Session: bob.session})

	for i := range 50 {
		sent := fmt.Sprintf("\xfc frame %d of ann", i)
		ann.say(sent, 30)
		if got, by := bob.hear(); got != sent || by != ann.member {
			t.Fatalf("bob heard %q of member %d, want %q of %d", got, by, sent, ann.member)
		}
		sent = fmt.Sprintf("\xfc frame %d of bob", i)
		bob.say(sent, 30)
		if got, by := ann.hear(); got != sent || by != bob.member {
			t.Fatalf("ann heard %q of member %d, want %q of %d", got, by, sent, bob.member)
		}
	}
	slots := bob.await("slots", func(m message) bool { return string(m.Slots) != "" })
	if want := fmt.Sprintf(`{"slot":0,"member":%d}`, ann.member); !strings.Contains(string(slots.Slots), want) {
		t.Errorf("bob's slots are %s, want %s", slots.Slots, want)
	}
}
