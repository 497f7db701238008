package media_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// Who shouts commands is read slowly; the others are served meanwhile.
func TestFloodOfCommands(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann, bob := p.join(owner, voice), p.join("key:shop:bob", voice)
	const flood, rate, burst = 2000, 20, 40 // see docs/protocol.md
	began := time.Now()
	for range flood {
		if err := bob.Channel.SendText(`{"id":"f","type":"rename","body":{"name":"bob"}}`); err != nil {
			t.Fatal(err)
		}
	}
	if got := ann.ask("1", `{"id":"1","type":"mute","body":{"muted":true}}`); !got.OK {
		t.Errorf("ann is refused: %v", got.Error)
	}
	replies := 0
	for len(bob.Messages) > 0 {
		if strings.Contains(<-bob.Messages, `"reply"`) {
			replies++
		}
	}
	if most := burst + int(time.Since(began).Seconds()*rate) + 1; replies > most {
		t.Errorf("bob has %d replies; at most %d are his due", replies, most)
	}
}

// What is no request is answered so, and the connection goes on.
func TestGarbageOnTheChannel(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann := p.join(owner, voice)
	for _, garbage := range []string{
		"", "\x00\xff\xfe", "null", `"leave"`, `{"id":7}`, `{"id":"1"`, `{"type":"leave-mic","body":"x"}`,
		strings.Repeat("[", 10_000), `{"id":"` + strings.Repeat("\u2028", 100) + `"}`, `{"type":"rename","body":{"name":"` + strings.Repeat("x", 16_000) + `"}}`,
	} {
		if err := ann.Channel.Send([]byte(garbage)); err != nil {
			t.Fatal(err)
		}
		got := ann.await("reply", nil)
		if got.Error == nil || got.Error.Code != room.BadCommand || len(got.Error.Detail) > 300 {
			t.Errorf("%.40q: ok=%v, %v", garbage, got.OK, got.Error)
		}
	}
	if got := ann.ask("2", `{"id":"2","type":"mute","body":{"muted":true}}`); !got.OK {
		t.Errorf("refused: %v", got.Error)
	}
}

// However bad the offer is, its refusal arrives as one: a gateway that cannot read it would take the
// pod for lost.
func TestHostileOffers(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	_, bearer := p.reserve(owner, "s1")
	lines := "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
	for code, offer := range map[room.Code]string{
		"offer-empty":          " ",
		"offer-malformed":      lines + "m=" + strings.Repeat("x", 60_000) + " 9 UDP/TLS/RTP/SAVPF 111\r\n",
		"offer-too-many-media": lines + strings.Repeat("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", 1000),
		"offer-too-large":      lines + strings.Repeat("a=x\r\n", 20_000),
		mediaapi.TooLarge:      strings.Repeat("\x00", 256<<10),
	} {
		_, err := p.gateway.Signal(t.Context(), mediaapi.SignalRequest{Epoch: 1, Token: bearer, Offer: offer})
		wantCode(t, err, code)
	}
}

// A connection that comes to stand after the room was sealed is told why it is not taken.
func TestConnectedTooLate(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann := p.join(owner, voice)
	_, bearer := p.reserve("key:shop:bob", "late")
	bob := &peer{Client: transporttest.New(t, voice), pod: p}
	answer, err := p.gateway.Signal(t.Context(), mediaapi.SignalRequest{Epoch: 1, Token: bearer, Offer: string(bob.Offer())})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.gateway.Get(t.Context(), 2)
	wantCode(t, err, room.Moving)
	bob.Answer([]byte(answer.Answer))
	var first message
	if err := json.Unmarshal([]byte(transporttest.Receive(t, bob.Messages, "the bye")), &first); err != nil {
		t.Fatal(err)
	}
	if first.Type != "bye" || first.Code != room.Moving {
		t.Errorf("bob is told %+v", first)
	}
	if s := p.state(); len(s.Members) != 1 {
		t.Errorf("%d members, want ann only", len(s.Members))
	}
	ann.say("on", 30) // calls go on
	eventually(t, "ann's packet is counted", func() bool { return p.metric(`packets_total{direction="in"}`) > 0 })
}
