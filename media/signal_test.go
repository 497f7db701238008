package media_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/media"
	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// Tokens that open nothing, each refused by its own code, and the room as it was.
func TestTokensThatOpenNothing(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann := p.join(owner, voice)
	p.reserve("key:shop:bob", "bob")
	mint := func(s *signer, r token.Room) string {
		t.Helper()
		got, err := s.Room(r)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	good := token.Room{RoomUID: roomUID, Epoch: 1, Subject: "key:shop:bob", Session: "bob"}
	other, older, expired, unknown := good, good, good, good
	other.RoomUID, older.Epoch, expired.ExpiresAt, unknown.Session = "another", 0, time.Now().Add(-time.Minute), "never-reserved"
	ticket, err := p.tokens.Ticket(token.Ticket{Purpose: token.PurposeHost, Subject: owner, RoomUID: roomUID, ExpiresAt: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(mint(p.tokens, good), ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"vr-room+jwt"}`)) + "." + parts[1] + "."

	caller, err := p.gatewayKey.Caller(token.Caller{Name: token.CallerGateway, PodUID: podUID})
	if err != nil {
		t.Fatal(err)
	}
	offer := string(transporttest.New(t, voice).Offer())
	before := p.state()
	tests := []struct {
		name, token string
		epoch       uint64
		want        room.Code
		status      int
	}{
		{"replayed", ann.token, 1, room.TokenReplayed, 401},
		{"expired", mint(p.tokens, expired), 1, mediaapi.TokenExpired, 401},
		{"of another room", mint(p.tokens, other), 1, mediaapi.TokenAudience, 401},
		{"of an older epoch", mint(p.tokens, older), 1, mediaapi.TokenAudience, 401},
		{"for an older epoch", mint(p.tokens, good), 0, room.StaleEpoch, 410},
		{"by an unknown key", mint(newSigner(t, p.clock.now), good), 1, mediaapi.TokenUnknownKey, 401},
		{"a ticket", ticket, 1, mediaapi.TokenAudience, 401},
		{"signature cut off", parts[0] + "." + parts[1] + ".", 1, mediaapi.TokenSignature, 401},
		{"alg none", none, 1, mediaapi.TokenSignature, 401},
		{"garbage", "garbage", 1, mediaapi.TokenMalformed, 401},
		{"empty", "", 1, mediaapi.TokenMalformed, 401},
		{"enormous", strings.Repeat("x", 100_000), 1, mediaapi.TokenMalformed, 401},
		{"of a session that was not reserved", mint(p.tokens, unknown), 1, room.UnknownSession, 401},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			body, err := json.Marshal(mediaapi.SignalRequest{Epoch: test.epoch, Token: test.token, Offer: offer})
			if err != nil {
				t.Fatal(err)
			}
			p.wantProblem(http.MethodPost, "/v1/room/sessions", "Bearer "+caller, string(body), test.status, test.want)
		})
	}
	if diff := cmp.Diff(before, p.state()); diff != "" {
		t.Errorf("the room changed:\n%s", diff)
	}
	if got := p.metric(`join_failures_total{reason="token-replayed"}`); got != 1 {
		t.Errorf("%d replays were counted", got)
	}
}

// An offer that cannot be answered is refused by what is wrong with it, and the
// token can still be used.
func TestBadOfferSpendsNoToken(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	_, bearer := p.reserve(owner, "ann")
	good := string(transporttest.New(t, voice).Offer())
	without := func(prefix string) string {
		var kept []string
		for _, line := range strings.Split(good, "\r\n") {
			if !strings.HasPrefix(line, prefix) {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "\r\n")
	}
	tests := []struct {
		name, offer string
		want        room.Code
	}{
		{"empty", "", "offer-empty"},
		{"1 MB", strings.Repeat("a=x\r\n", 200_000), mediaapi.TooLarge},
		{"100 kB", strings.Repeat("a=x\r\n", 20_000), "offer-too-large"},
		{"not SDP", "hello", "offer-malformed"},
		{"without audio", strings.ReplaceAll(good, "m=audio", "m=video"), "offer-no-audio"},
		{"without ICE credentials", without("a=ice-pwd"), "offer-no-ice"},
		{"without a fingerprint", without("a=fingerprint"), "offer-no-fingerprint"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := p.gateway.Signal(t.Context(), mediaapi.SignalRequest{Epoch: 1, Token: bearer, Offer: test.offer})
			wantCode(t, err, test.want)
			if status := mediaapi.Status(test.want); status < 400 || status > 499 {
				t.Errorf("%s is answered %d", test.want, status)
			}
		})
	}
	if _, err := p.gateway.Signal(t.Context(), mediaapi.SignalRequest{Epoch: 1, Token: bearer, Offer: good}); err != nil {
		t.Errorf("the good offer after the bad ones: %v", err)
	}
}

// A handshake that contradicts the offer's fingerprint frees the place and is counted.
func TestFingerprintMismatch(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	_, bearer := p.reserve(owner, "ann")
	c := transporttest.New(t, voice)
	offer := string(c.Offer())
	at := strings.Index(offer, "sha-256 ") + len("sha-256 ")
	flipped := "0"
	if offer[at] == '0' {
		flipped = "1"
	}
	answer, err := p.gateway.Signal(t.Context(), mediaapi.SignalRequest{Epoch: 1, Token: bearer,
		Offer: strings.ReplaceAll(offer, offer[at:at+95], flipped+offer[at+1:at+95])})
	if err != nil {
		t.Fatal(err)
	}
	f := p.follow(1)
	c.Answer([]byte(answer.Answer))
	f.until(t, "the place is released", func(s *room.State) bool { return len(s.Members) == 0 })
	if got := p.metric(`join_failures_total{reason="fingerprint-mismatch"}`); got != 1 {
		t.Errorf("%d mismatches were counted", got)
	}
}

// Offers whose clients never connect leave nothing: no place, no session; goleak
// looks for goroutines, New for a free port.
func TestNeverConnecting(t *testing.T) {
	t.Parallel()
	p := newPod(t, func(c *media.Config) { c.AssociateTimeout = time.Millisecond })
	p.put()
	for i := range 5 {
		_, bearer := p.reserve(owner, fmt.Sprint("try", i))
		if _, err := p.gateway.Signal(t.Context(), mediaapi.SignalRequest{Epoch: 1, Token: bearer, Offer: string(transporttest.New(t, voice).Offer())}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the place is released", func() bool { return len(p.state().Members) == 0 })
	if got := p.metric("sessions"); got != 0 {
		t.Errorf("%d sessions are left", got)
	}
	if got := p.metric(`join_failures_total{reason="timeout"}`); got == 0 {
		t.Error("no time-out was counted")
	}
}

// An ICE restart needs the ETag of what it restarts, and the audio goes on.
func TestRestart(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann, bob := p.join(owner, voice), p.join("key:shop:bob", voice)
	p.clock.advance(10 * time.Minute) // the token has expired; it opened the session all the same
	if err := p.operator.Renew(t.Context(), 1, 0); err != nil {
		t.Fatal(err)
	}
	request := mediaapi.SignalRequest{Epoch: 1, Token: bob.token, IfMatch: `"stale"`, Offer: string(bob.RestartOffer())}
	_, err := p.gateway.Restart(t.Context(), bob.session, request)
	wantCode(t, err, mediaapi.ETagMismatch)

	request.IfMatch, request.Token = bob.etag, ann.token
	_, err = p.gateway.Restart(t.Context(), bob.session, request)
	wantCode(t, err, mediaapi.Forbidden)

	request.Token = bob.token
	request.Offer = string(transporttest.New(t, voice).Offer())
	_, err = p.gateway.Restart(t.Context(), bob.session, request)
	wantCode(t, err, "offer-changed")

	request.Offer = bob.PC.LocalDescription().SDP
	answer, err := p.gateway.Restart(t.Context(), bob.session, request)
	if err != nil {
		t.Fatal(err)
	}
	if answer.ETag == bob.etag {
		t.Error("the ETag did not change")
	}
	bob.Answer([]byte(answer.Answer))
	// Its candidates being new, the client may lose what it sends meanwhile.
	eventually(t, "ann hears bob", func() bool {
		bob.say("after the restart", 30)
		return ann.Pending("1") > 0
	})
	if got, by := ann.hear(); got != "after the restart" || by != bob.member {
		t.Errorf("ann heard %q of %d", got, by)
	}
	_, err = p.gateway.Restart(t.Context(), "nobody", mediaapi.SignalRequest{Epoch: 1, Token: p.token("x", "nobody"), Offer: request.Offer})
	wantCode(t, err, room.UnknownSession)
}

// Only what opened a session ends it.
func TestHangup(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann, bob := p.join(owner, voice), p.join("key:shop:bob", voice)
	hangup := func(session, bearer string, epoch uint64) error {
		return p.gateway.Hangup(t.Context(), session, mediaapi.HangupRequest{Epoch: epoch, Token: bearer})
	}
	wantCode(t, hangup(bob.session, ann.token, 1), mediaapi.Forbidden)
	wantCode(t, hangup(bob.session, "", 1), mediaapi.TokenMalformed)
	wantCode(t, hangup(bob.session, bob.token, 0), room.StaleEpoch)
	p.clock.advance(10 * time.Minute)
	if err := hangup(bob.session, bob.token, 1); err != nil {
		t.Error(err)
	}
	if got := bob.await("bye", nil); got.Code != room.Left {
		t.Errorf("bye says %s", got.Code)
	}
	wantCode(t, hangup(bob.session, bob.token, 1), room.UnknownSession)
	if s := p.state(); len(s.Members) != 1 || len(s.Mics) != 1 {
		t.Errorf("%d members and %d mics are left", len(s.Members), len(s.Mics))
	}
}

// Plain WHIP and WHEP clients, without a data channel, are confirmed by who watches.
func TestPlainPublisherAndPlayer(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	associated := func(c *peer) {
		t.Helper()
		p.follow(1).until(t, "the association", func(s *room.State) bool {
			m, ok := s.Session(c.session)
			return ok && m.Status == room.Associated
		})
		p.command("", room.Enter{Session: c.session})
	}
	whip := p.associate(owner, transporttest.Options{Uplink: true})
	associated(whip)
	whep := p.associate("key:shop:bob", transporttest.Options{Slots: 1})
	associated(whep)
	whip.say("live", 30)
	if got := whep.Packet("0"); string(got.Payload) != "live" || got.CSRC[0] != whip.member {
		t.Errorf("got %q of %v", got.Payload, got.CSRC)
	}
	p.command("", room.PullMic{Member: whip.member})
	if err := p.gateway.Hangup(t.Context(), whep.session, mediaapi.HangupRequest{Epoch: 1, Token: whep.token}); err != nil {
		t.Fatal(err)
	}
	transporttest.Receive(t, whep.Ended, "the end of the connection")
}

// What clients are told to connect to comes with the room.
func TestAdvertise(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put(func(r *mediaapi.PutRequest) { r.Advertise = []string{"192.0.2.7:40000"} })
	_, bearer := p.reserve(owner, "ann")
	answer, err := p.gateway.Signal(t.Context(), mediaapi.SignalRequest{Epoch: 1, Token: bearer, Offer: string(transporttest.New(t, voice).Offer())})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(answer.Answer, " 192.0.2.7 40000 typ host") || strings.Contains(answer.Answer, " 127.0.0.1 ") && strings.Contains(answer.Answer, "127.0.0.1 "+fmt.Sprint(p.server.MediaAddr().Port())) {
		t.Errorf("the answer advertises\n%s", answer.Answer)
	}
}

// Three talk and a listener has two slots: it hears the two loudest, and is told so.
func TestThreeTalkersOnTwoSlots(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	quiet, loud, louder := p.join(owner, voice), p.join("key:shop:bob", voice), p.join("key:shop:cy", voice)
	listener := p.join("key:shop:dee", transporttest.Options{Slots: 2, Data: true})
	stop := make(chan struct{})
	var talking sync.WaitGroup
	talking.Go(func() {
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for {
			quiet.say("quiet", 58)
			loud.say("loud", 30)
			louder.say("louder", 25)
			select {
			case <-stop:
				return
			case <-pace.C:
			}
		}
	})
	defer talking.Wait()
	defer close(stop)
	// The quiet one has a slot by the age of its grant, until the others speak up.
	want := map[string][]*peer{}
	for _, pair := range [][]*peer{{louder, loud}, {loud, louder}} {
		want[fmt.Sprintf(`[{"slot":0,"member":%d},{"slot":1,"member":%d}]`, pair[0].member, pair[1].member)] = pair
	}
	slots := listener.await("slots", func(m message) bool { return want[string(m.Slots)] != nil })
	for slot, on := range want[string(slots.Slots)] {
		for {
			got := listener.Packet(fmt.Sprint(slot))
			if len(got.CSRC) == 1 && got.CSRC[0] == quiet.member || len(got.CSRC) == 0 {
				continue // from before the switch, and its silence tail
			}
			if len(got.CSRC) != 1 || got.CSRC[0] != on.member {
				t.Errorf("slot %d plays %v, want %d", slot, got.CSRC, on.member)
			}
			break
		}
	}
}
