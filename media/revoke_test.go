package media_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// When a command that takes a microphone away has returned, no packet of its
// holder is handed to the network any more, whatever the holder goes on sending:
// each packet that comes after is counted as refused, and none as sent.
func TestRevokedAudioStopsAtOnce(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		revoke func(p *pod, ann, bob *peer)
	}{
		{"muted by itself", func(p *pod, _, bob *peer) { p.command(bob.session, room.Mute{Muted: true}) }},
		{"muted by a moderator", func(p *pod, ann, bob *peer) { p.command(ann.session, room.MuteMember{Member: bob.member, Muted: true}) }},
		{"mic pulled", func(p *pod, ann, bob *peer) { p.command(ann.session, room.PullMic{Member: bob.member}) }},
		{"mic left", func(p *pod, _, bob *peer) { p.command(bob.session, room.LeaveMic{}) }},
		{"kicked", func(p *pod, ann, bob *peer) { p.command(ann.session, room.Kick{Member: bob.member}) }},
		{"left", func(p *pod, _, bob *peer) {
			if err := p.gateway.Hangup(p.t.Context(), bob.session, mediaapi.HangupRequest{Epoch: 1, Token: bob.token}); err != nil {
				p.t.Fatal(err)
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPod(t)
			p.put()
			ann, bob := p.join(owner, voice), p.join("key:shop:bob", voice)
			bob.say("hello", 30)
			if got, by := ann.hear(); got != "hello" || by != bob.member {
				t.Fatalf("ann heard %q of %d", got, by)
			}
			test.revoke(p, ann, bob)
			sent, refused := p.metric(`packets_total{direction="out"}`), p.metric(`packets_dropped_total{reason="no-grant"}`)
			in := p.metric(`packets_total{direction="in"}`)
			const more = 50
			for range more {
				bob.say("can you hear me", 10)
			}
			// A kicked client is disconnected while it sends, so that not all may come in.
			eventually(t, "packets come in, or the connection is closed", func() bool {
				return p.metric(`packets_total{direction="in"}`) == in+more || p.metric("sessions") == 1 &&
					p.metric(`transport_events_total{event="dropped_unverified"}`) > 0
			})
			came := p.metric(`packets_total{direction="in"}`) - in
			if got := p.metric(`packets_dropped_total{reason="no-grant"}`) - refused; got != came {
				t.Errorf("%d of %d packets were refused", got, came)
			}
			if got := p.metric(`packets_total{direction="out"}`) - sent; got != 0 {
				t.Errorf("%d packets were forwarded after the command returned", got)
			}
			// What ann's slot plays last is the silence tail, and nothing else.
			for range 3 {
				if got, by := ann.hear(); got != "\xf8\xff\xfe" || by != 0 {
					t.Errorf("after the end ann heard %q of %d, want silence of nobody", got, by)
				}
			}
		})
	}
}

// A kicked client learns why, and its place and token are gone.
func TestKickedClient(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann, bob := p.join(owner, voice), p.join("key:shop:bob", voice)
	p.command(ann.session, room.Kick{Member: bob.member})
	if got := bob.await("bye", nil); got.Code != room.IsKicked {
		t.Errorf("bye says %s", got.Code)
	}
	transporttest.Receive(t, bob.Ended, "the end of the connection")
	_, err := p.gateway.Signal(t.Context(), mediaapi.SignalRequest{Epoch: 1, Token: bob.token, Offer: string(transporttest.New(t, voice).Offer())})
	wantCode(t, err, room.UnknownSession)
	_, err = p.gateway.Reserve(t.Context(), mediaapi.ReserveRequest{Epoch: 1, Reserve: room.Reserve{Subject: "key:shop:bob", Session: "again"}})
	wantCode(t, err, room.IsKicked)
	event := ann.await("events", func(m message) bool {
		return len(m.Events) > 0 && m.Events[len(m.Events)-1].Type == room.EventLeft
	})
	if left := event.Events[len(event.Events)-1]; left.Member.ID != bob.member || left.Reason != room.IsKicked || left.Member.Subject != "" {
		t.Errorf("ann is told %+v of %+v", left, left.Member)
	}
}

// Somebody who joins again takes over from its own old connection, microphone included.
func TestRejoinReplaces(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann, bob := p.join(owner, voice), p.join("key:shop:bob", voice)
	again := p.associate("key:shop:bob", voice)
	if again.member != bob.member {
		t.Errorf("bob is member %d now, was %d", again.member, bob.member)
	}
	if got := bob.await("bye", nil); got.Code != room.Replaced {
		t.Errorf("bye says %s", got.Code)
	}
	again.say("still here", 30)
	if got, by := ann.hear(); got != "still here" || by != bob.member {
		t.Errorf("ann heard %q of %d", got, by)
	}
	again.await("snapshot", nil)
}

// A session that another one of the same subject replaced before it connected is closed.
func TestUnassociatedSessionIsReplaced(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	p.join(owner, voice)
	_, bearer := p.reserve(owner, "first")
	if _, err := p.gateway.Signal(t.Context(), mediaapi.SignalRequest{Epoch: 1, Token: bearer, Offer: string(transporttest.New(t, voice).Offer())}); err != nil {
		t.Fatal(err)
	}
	if got := p.metric("sessions"); got != 2 {
		t.Fatalf("%d sessions, want 2", got)
	}
	p.reserve(owner, "second")
	if got := p.metric("sessions"); got != 1 {
		t.Errorf("%d sessions after the reservation was replaced, want 1", got)
	}
}

// A lost connection keeps its place and microphone for the grace, silently.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	p.join(owner, voice)
	bob := p.join("key:shop:bob", voice)
	if err := bob.PC.Close(); err != nil {
		t.Fatal(err)
	}
	away := p.follow(1).until(t, "bob is away", func(s *room.State) bool {
		m, ok := s.Member(bob.member)
		return ok && m.Status == room.Away
	})
	if len(away.Mics) != 2 {
		t.Errorf("%d microphones are held, want 2", len(away.Mics))
	}
	p.clock.advance(room.AwayTTL + time.Second)
	p.command("", room.Configure{Access: new(room.InviteOnly)}) // anything: the room looks at its clock
	p.follow(1).until(t, "bob's place is released", func(s *room.State) bool {
		_, ok := s.Member(bob.member)
		return !ok
	})
}

// Who asks for what it must not have is refused; the words reach the client.
func TestRequests(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann, bob := p.join(owner, voice), p.join("key:shop:bob", voice)
	tests := []struct {
		name, request string
		want          room.Code // empty: granted
	}{
		{"mute", `{"id":"1","type":"mute","body":{"muted":true}}`, ""},
		{"no body", `{"id":"1","type":"leave-mic"}`, ""},
		{"null body", `{"id":"1","type":"take-mic","body":null}`, room.MicTaken},
		{"any mic", `{"id":"1","type":"take-mic","body":{"index":-1}}`, ""},
		{"no such mic", `{"id":"1","type":"take-mic","body":{"index":99}}`, room.MicUnavailable},
		{"another's mic", `{"id":"1","type":"pull-mic","body":{"member":1}}`, room.NotAllowed},
		{"kick", `{"id":"1","type":"kick","body":{"member":1}}`, room.NotAllowed},
		{"close", `{"id":"1","type":"close"}`, room.NotAllowed},
		{"enter is not a client's", `{"id":"1","type":"enter","body":{"session":"x"}}`, room.BadCommand},
		{"seal is not a client's", `{"id":"1","type":"seal"}`, room.BadCommand},
		{"unknown", `{"id":"1","type":"sing"}`, room.BadCommand},
		{"unknown field", `{"id":"1","type":"mute","body":{"muted":true,"loud":1}}`, room.BadCommand},
		{"not an object", `[]`, room.BadCommand},
		{"not JSON", `hello`, room.BadCommand},
		{"id too long", `{"id":"` + strings.Repeat("x", 65) + `","type":"leave-mic"}`, room.BadCommand},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			id := ""
			if strings.Contains(test.request, `"id":"1"`) {
				id = "1"
			}
			got := bob.ask(id, test.request)
			switch {
			case test.want == "" && !got.OK:
				t.Errorf("refused: %v", got.Error)
			case test.want != "" && (got.Error == nil || got.Error.Code != test.want):
				t.Errorf("got ok=%v error %v, want %s", got.OK, got.Error, test.want)
			}
		})
	}
	if got := ann.ask("9", `{"id":"9","type":"resync"}`); !got.OK {
		t.Errorf("resync: %v", got.Error)
	}
	s := ann.await("snapshot", func(m message) bool { return m.State.Seq == p.state().Seq })
	for _, m := range s.State.Members {
		if m.Subject != "" || m.Session != "" {
			t.Errorf("the snapshot shows %+v", m)
		}
	}
	if s.State.Settings.Owner != "" {
		t.Error("the snapshot shows the owner's subject")
	}
	if err := bob.Channel.SendText(`{"id":"2","type":"leave"}`); err != nil {
		t.Fatal(err)
	}
	if got := bob.await("bye", nil); got.Code != room.Left {
		t.Errorf("bye says %s", got.Code)
	}
}

// Nobody who has not entered commands, or is told what happens in the room.
func TestNotEntered(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	p.join(owner, voice)
	bob := p.associate("key:shop:bob", voice)
	for id, request := range map[string]string{"1": `{"id":"1","type":"take-mic"}`, "2": `{"id":"2","type":"resync"}`} {
		if got := bob.ask(id, request); got.Error == nil || got.Error.Code != room.NotEntered {
			t.Errorf("%s: got ok=%v %v", request, got.OK, got.Error)
		}
	}
	bob.await("heartbeat", nil) // by then a snapshot would have come
	for len(bob.Messages) > 0 {
		if text := <-bob.Messages; !strings.Contains(text, "heartbeat") {
			t.Errorf("bob was told %s", text)
		}
	}
}

// The end of the room is the end of the pod: everyone is told, watchers see the
// last event, Run returns.
func TestDelete(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann := p.join(owner, voice)
	f := p.follow(0)
	f.until(t, "a snapshot", func(*room.State) bool { return true })
	if err := p.operator.Delete(t.Context(), 1, "Finished"); err != nil {
		t.Fatal(err)
	}
	last := f.until(t, "the end", func(s *room.State) bool { return s.Phase == room.Closed })
	if last.CloseReason != "Finished" {
		t.Errorf("close reason %q", last.CloseReason)
	}
	if got := ann.await("bye", nil); got.Code != room.RoomClosed {
		t.Errorf("bye says %s", got.Code)
	}
	if err := transporttest.Receive(t, f.ended, "the end of the watch"); errors.Is(err, mediaapi.ErrUnreachable) {
		t.Errorf("the watch was broken off: %v", err)
	}
	if err := p.exit(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// A stopping process says so to its clients.
func TestStop(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann := p.join(owner, voice)
	p.stop()
	if got := ann.await("bye", nil); got.Code != room.Moving {
		t.Errorf("bye says %s", got.Code)
	}
	if err := p.exit(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, err := p.operator.Get(t.Context(), 0); !errors.Is(err, mediaapi.ErrUnreachable) {
		t.Errorf("the stopped pod answers: %v", err)
	}
}
