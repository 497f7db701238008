package media_test

import (
	"slices"
	"testing"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// A key that is taken away ends what it let in, at once, and nothing else. Whoever can
// prove anew who it is gets its own seat back; what the key signed opens nothing.
func TestRevokedKey(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	stolen := newSigner(t, p.clock.now)
	ann := p.join(owner, voice)
	bob := p.joinUnder(stolen, "key:shop:bob", voice)
	p.command(bob.session, room.TakeMic{Index: 3})
	reserve := func(session, key string) error {
		_, err := p.gateway.Reserve(t.Context(), mediaapi.ReserveRequest{Epoch: 1,
			Reserve: room.Reserve{Subject: "key:shop:cy", Session: session, Keys: []string{key}}})
		return err
	}
	key := stolen.ring.Keys[0].ID
	if err := reserve("cy-1", key); err != nil { // a ticket of the key, which is about to be used
		t.Fatal(err)
	}
	bob.say("hello", 30)
	if got, by := ann.hear(); got != "hello" || by != bob.member {
		t.Fatalf("ann heard %q of %d", got, by)
	}

	p.push(p.tokens)
	sent := p.metric(`packets_total{direction="out"}`)
	s := p.state()
	if m, _ := s.Member(bob.member); m.Status != room.Away || m.Session != "" {
		t.Errorf("bob is %+v", m)
	}
	if _, ok := s.Subject("key:shop:cy"); ok {
		t.Error("a place that only the key let take is kept")
	}
	if got := bob.await("bye", nil); got.Code != room.KeyRevoked {
		t.Errorf("bye says %s", got.Code)
	}
	ann.await("events", func(m message) bool {
		return slices.ContainsFunc(m.Events, func(e room.Event) bool {
			return e.Reason == room.KeyRevoked && e.Member.ID == bob.member && e.Member.Status == room.Away
		})
	})
	offer := string(transporttest.New(t, voice).Offer())
	_, err := p.gateway.Signal(t.Context(), mediaapi.SignalRequest{Epoch: 1, Token: bob.token, Offer: offer})
	wantCode(t, err, mediaapi.TokenUnknownKey)
	_, err = p.gateway.Restart(t.Context(), bob.session, mediaapi.SignalRequest{Epoch: 1, Token: bob.token, Offer: offer, IfMatch: "*"})
	wantCode(t, err, mediaapi.TokenUnknownKey)
	wantCode(t, reserve("cy-2", key), mediaapi.TokenUnknownKey)
	_, err = p.gateway.Command(t.Context(), 1, bob.session, room.TakeMic{Index: -1})
	wantCode(t, err, room.UnknownSession)
	if err := reserve("cy-3", p.tokens.ring.Keys[0].ID); err != nil {
		t.Errorf("with a ticket of a key that is trusted: %v", err)
	}

	again := p.associate("key:shop:bob", voice)
	if again.member != bob.member {
		t.Errorf("bob is member %d now, was %d", again.member, bob.member)
	}
	if mic, _ := p.state().Mic(bob.member); mic.Index != 3 {
		t.Errorf("bob is on microphone %d, was on 3", mic.Index)
	}
	if got := p.metric(`packets_total{direction="out"}`); got != sent {
		t.Errorf("%d packets were sent meanwhile", got-sent)
	}
	again.say("it is me", 30)
	for {
		if got, by := ann.hear(); by != 0 {
			if got != "it is me" || by != bob.member {
				t.Errorf("ann heard %q of %d", got, by)
			}
			return
		}
	}
}
