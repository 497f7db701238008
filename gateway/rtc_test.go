package gateway_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/gateway"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// peer is a plain WHIP client: it sends, knows no data channel and gives no feedback.
type peer struct {
	*webrtc.PeerConnection
	connected chan struct{}
	once      sync.Once
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	p := &peer{PeerConnection: pc, connected: make(chan struct{})}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected { // after an ICE restart again
			p.once.Do(func() { close(p.connected) })
		}
	})
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "a", "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *peer) offer(t *testing.T, options *webrtc.OfferOptions) string {
	t.Helper()
	offer, err := p.CreateOffer(options)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	return p.LocalDescription().SDP
}

func (p *peer) take(t *testing.T, a answer) {
	t.Helper()
	if err := p.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(a.body)}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) rtc() string { return "/rtc/" + w.vr.Namespace + "/" + w.vr.Name }

// A plain WHIP client has one bearer, a ticket, for the whole of its session.
func TestWHIPWithATicket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 2}, nil)
	ticket := w.hostTicket()
	p := newPeer(t)
	a := w.do(call{method: "POST", path: w.rtc(), bearer: ticket, body: p.offer(t, nil), contentType: "application/sdp"})
	if a.status != http.StatusCreated || a.header.Get("Content-Type") != "application/sdp" {
		t.Fatalf("offer: %d %s %s", a.status, a.code, a.detail)
	}
	at, tag := a.header.Get("Location"), a.header.Get("ETag")
	if !strings.HasPrefix(at, w.rtc()+"/1/") || !strings.HasPrefix(tag, `"`) {
		t.Fatalf("Location %q, ETag %q", at, tag)
	}
	p.take(t, a)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case <-p.connected:
	case <-ctx.Done():
		t.Fatal("the media connection does not stand")
	}

	other, _ := w.guest("Bob")
	for _, test := range []struct {
		name string
		call call
		want int
		code string
	}{
		{"trickle", call{method: "PATCH", path: at, bearer: ticket, body: "a=candidate:1 1 udp 1 192.0.2.1 1 typ host", contentType: "Application/Trickle-ICE-SDPfrag; charset=utf-8", header: http.Header{"If-Match": {tag}}}, 204, ""},
		{"restart with a fragment", call{method: "PATCH", path: at, bearer: ticket, body: "a=ice-ufrag:abcd", contentType: "application/trickle-ice-sdpfrag", header: http.Header{"If-Match": {"*"}}}, 422, "restart-needs-offer"},
		{"restart of nothing", call{method: "PATCH", path: at, bearer: ticket, body: "v=0", contentType: "application/sdp"}, 428, "if-match-required"},
		{"somebody else's ticket", call{method: "DELETE", path: at, bearer: other}, 403, "other-session"},
		{"no credential", call{method: "DELETE", path: at}, 401, "unauthenticated"},
		{"an API key", call{method: "DELETE", path: at, bearer: apiKey}, 401, "unauthenticated"},
		{"an earlier epoch", call{method: "DELETE", path: strings.Replace(at, "/1/", "/0/", 1), bearer: ticket}, 410, "stale-epoch"},
		{"no epoch", call{method: "DELETE", path: strings.Replace(at, "/1/", "/one/", 1), bearer: ticket}, 404, "not-found"},
		{"no session", call{method: "DELETE", path: w.rtc() + "/1/none", bearer: ticket}, 404, "unknown-session"},
	} {
		if a := w.do(test.call); a.status != test.want || a.code != test.code {
			t.Errorf("%s: %d %s, want %d %s", test.name, a.status, a.code, test.want, test.code)
		}
	}

	restart := p.offer(t, &webrtc.OfferOptions{ICERestart: true})
	again := call{method: "PATCH", path: at, bearer: ticket, body: restart, contentType: "application/sdp", header: http.Header{"If-Match": {`"not-this"`}}}
	if a := w.do(again); a.status != http.StatusPreconditionFailed {
		t.Errorf("a restart of another ICE session: %d %s", a.status, a.code)
	}
	again.header = http.Header{"If-Match": {tag}}
	a = w.do(again)
	if a.status != http.StatusOK || a.header.Get("ETag") == tag {
		t.Fatalf("restart: %d %s, ETag %s", a.status, a.code, a.header.Get("ETag"))
	}
	p.take(t, a)

	if a := w.do(call{method: "DELETE", path: at, bearer: ticket}); a.status != http.StatusNoContent {
		t.Errorf("hang up: %d %s", a.status, a.code)
	}
	if n := len(w.state().Members); n != 0 {
		t.Errorf("%d members are left", n)
	}
}

// What opened a session ends it, expired or not; what had expired before does not,
// though it is the same subject's.
func TestExpiredTicketStillHangsUp(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 2}, func(c *gateway.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	old := w.ticket(token.Ticket{Purpose: token.PurposeHost, Subject: owner, ExpiresAt: minuteAgo()})
	invite := w.ticket(token.Ticket{Purpose: token.PurposeInvite})
	ticket := w.hostTicket()
	ann := w.enter(ticket, "Ann")
	at := w.rtc() + "/1/" + ann.Grant.Session
	ahead.Store(int64(2 * time.Hour)) // the ticket lived for one

	if a := w.do(call{method: "POST", path: w.rtc(), bearer: ticket, body: "v=0", contentType: "application/sdp"}); a.status != 401 || a.code != "token-expired" {
		t.Errorf("it opens a session: %d %s", a.status, a.code)
	}
	if a := w.do(call{method: "DELETE", path: at, bearer: old}); a.status != 401 || a.code != "token-expired" {
		t.Errorf("one that expired before she came ends her session: %d %s", a.status, a.code)
	}
	if a := w.do(call{method: "DELETE", path: at, bearer: invite}); a.status != 403 || a.code != "other-session" {
		t.Errorf("an invite ends her session: %d %s", a.status, a.code)
	}
	if a := w.do(call{method: "DELETE", path: w.rtc() + "/2/" + ann.Grant.Session, bearer: ticket}); a.status != 503 || a.code != "moving" {
		t.Errorf("at an epoch that is not yet: %d %s", a.status, a.code)
	}
	if a := w.do(call{method: "DELETE", path: at, bearer: ticket}); a.status != http.StatusNoContent {
		t.Errorf("it does not end its session: %d %s", a.status, a.code)
	}
}

func TestOffersThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 2}, nil)
	good := newPeer(t).offer(t, nil)
	without := func(line string) string {
		var kept []string
		for l := range strings.Lines(good) {
			if !strings.HasPrefix(l, line) {
				kept = append(kept, l)
			}
		}
		return strings.Join(kept, "")
	}
	for _, test := range []struct {
		name, offer string
		want        int
		code        string
	}{
		{"empty", " ", 400, "offer-empty"},
		{"no SDP", "hello", 400, "offer-malformed"},
		{"no audio", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", 400, "offer-no-audio"},
		{"no ICE", without("a=ice-"), 400, "offer-no-ice"},
		{"no fingerprint", without("a=fingerprint"), 400, "offer-no-fingerprint"},
		{"1 MB", strings.Repeat("a=x\r\n", 200_000), 413, "too-large"},
	} {
		a := w.do(call{method: "POST", path: w.rtc(), bearer: w.hostTicket(), body: test.offer, contentType: "application/sdp"})
		if a.status != test.want || a.code != test.code {
			t.Errorf("%s: %d %s, want %d %s", test.name, a.status, a.code, test.want, test.code)
		}
		if n := len(w.state().Members); n != 0 {
			t.Errorf("%s: the reservation was not released", test.name)
		}
	}
}

func TestRoomTokenOpensOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 2}, nil)
	g := w.join(w.hostTicket(), "")
	offer := newPeer(t).offer(t, nil)
	if a := w.do(call{method: "POST", path: w.rtc(), bearer: g.Token, body: offer, contentType: "application/sdp"}); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.code)
	}
	if a := w.do(call{method: "POST", path: w.rtc(), bearer: g.Token, body: offer, contentType: "application/sdp"}); a.status != http.StatusUnauthorized || a.code != string(room.TokenReplayed) {
		t.Errorf("replayed: %d %s", a.status, a.code)
	}
	replaced := w.join(w.hostTicket(), "")
	if a := w.do(call{method: "POST", path: w.rtc(), bearer: g.Token, body: offer, contentType: "application/sdp"}); a.status != http.StatusUnauthorized {
		t.Errorf("replaced: %d %s", a.status, a.code)
	}
	if a := w.do(call{method: "DELETE", path: w.rtc() + "/" + strconv.Itoa(1) + "/" + replaced.Session, bearer: g.Token}); a.status != http.StatusForbidden {
		t.Errorf("the old token ends the new session: %d %s", a.status, a.code)
	}
}
