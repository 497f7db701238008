package gateway_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

func minuteAgo() time.Time { return time.Now().Add(-time.Minute) }

// routes of the API with a body that each takes, for a session of the room.
func (w *world) routes(session string) []call {
	var commands []call
	for _, name := range room.CommandNames() {
		if room.ClientCommand(name) {
			commands = append(commands, call{method: "POST", path: w.path("/commands/" + name), body: `{}`})
		}
	}
	return append(commands, []call{
		{method: "POST", path: "/v1/rooms", body: `{"namespace":"default"}`},
		{method: "GET", path: w.path("")},
		{method: "DELETE", path: w.path("")},
		{method: "POST", path: w.path("/invites"), body: `{}`},
		{method: "DELETE", path: w.path("/invites")},
		{method: "GET", path: w.path("/state")},
		{method: "GET", path: w.path("/removed")},
		{method: "POST", path: w.path("/join"), body: `{}`},
		{method: "POST", path: "/v1/groups/" + w.group.ID + "/join", body: `{}`},
		{method: "POST", path: w.path("/sessions/" + session + "/feedback"), body: `{"outcome":"connected"}`},
		{method: "DELETE", path: w.path("/sessions/" + session)},
		{method: "GET", path: w.path("/messages")},
		{method: "POST", path: w.path("/messages"), body: `{"text":"hello"}`},
		{method: "GET", path: w.path("/events")},
		{method: "POST", path: w.rtc(), body: "v=0", contentType: "application/sdp"},
		{method: "PATCH", path: w.rtc() + "/1/" + session, body: "v=0", contentType: "application/sdp", header: http.Header{"If-Match": {"*"}}},
		{method: "DELETE", path: w.rtc() + "/1/" + session},
	}...)
}

// The table of routes above has all of them, but those that anybody may call.
func TestRoutesAreAllTried(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 2}, nil)
	tried := []string{"GET /.well-known/jwks.json", "POST /v1/guests"}
	for _, c := range w.routes("s") {
		path, _, _ := document.Find(c.method, c.path)
		tried = append(tried, c.method+" "+path)
	}
	served := w.gateway.Routes()
	slices.Sort(tried)
	slices.Sort(served)
	if diff := cmp.Diff(served, tried); diff != "" {
		t.Errorf("routes (-served +tried):\n%s", diff)
	}
}

// unsigned is the token with alg none.
func unsigned(signed string) string {
	parts := strings.Split(signed, ".")
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	must(err)
	header = []byte(strings.Replace(string(header), `"EdDSA"`, `"none"`, 1))
	return base64.RawURLEncoding.EncodeToString(header) + "." + parts[1] + "."
}

// Whoever cannot prove who it is gets a 401 with a code on every route, and the
// room does not notice.
func TestEveryRouteRefusesBadCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 2}, nil)
	ann := w.enter(w.hostTicket(), "Ann")
	before := w.state().Seq
	stranger := token.NewMinter(func() *token.Ring { return ring }, time.Now, rand.Reader)
	sign := func(m *token.Minter, change func(*token.Room)) string {
		r := token.Room{RoomUID: string(w.vr.UID), Epoch: 1, Subject: owner, Session: ann.Grant.Session}
		if change != nil {
			change(&r)
		}
		signed, err := m.Room(r)
		must(err)
		return signed
	}
	strangersTicket, err := stranger.Ticket(token.Ticket{Purpose: token.PurposeHost, Subject: owner, RoomUID: string(w.vr.UID), ExpiresAt: time.Now().Add(time.Hour)})
	must(err)
	call, err := w.minter.Caller(token.Caller{Name: token.CallerGateway, PodUID: "pod"})
	must(err)
	for _, credential := range []struct {
		name, bearer string
		header       string // instead of a bearer
		unless       string // paths that take it for what it is, or are right to say otherwise
	}{
		{name: "none"},
		{name: "another scheme", header: "Basic YTpi"},
		{name: "nothing after the scheme", header: "Bearer "},
		{name: "rubbish", bearer: "rubbish"},
		{name: "a wrong API key", bearer: apiKey + "x"},
		{name: "10 kB", bearer: strings.Repeat("x", 10_000)},
		{name: "a ticket without signature", bearer: unsigned(w.hostTicket())},
		{name: "a room token without signature", bearer: unsigned(ann.Grant.Token)},
		{name: "a ticket of an unknown key", bearer: strangersTicket},
		{name: "a room token of an unknown key", bearer: sign(stranger, nil)},
		{name: "a control caller's token", bearer: call},
		{name: "a ticket cut short", bearer: w.hostTicket()[:100]},
		{name: "an invite", bearer: w.ticket(token.Ticket{Purpose: token.PurposeInvite}), unless: "/rtc/"},
		{name: "an expired ticket", bearer: w.ticket(token.Ticket{Purpose: token.PurposeHost, Subject: owner, ExpiresAt: minuteAgo()}), unless: "/1/"},
	} {
		for _, c := range w.routes(ann.Grant.Session) {
			if credential.unless != "" && strings.Contains(c.path, credential.unless) {
				continue
			}
			if c.method == "GET" && c.path == w.path("") && credential.name == "none" {
				continue // where guests are allowed, anybody may look
			}
			c.bearer = credential.bearer
			if credential.header != "" {
				c.header = http.Header{"Authorization": {credential.header}}
			}
			a := w.do(c)
			if a.status != http.StatusUnauthorized || a.code == "" || a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s with %s: %d %s, want 401 with a code", c.method, c.path, credential.name, a.status, a.code)
			}
		}
	}
	if after := w.state().Seq; after != before {
		t.Errorf("the room went from %d to %d", before, after)
	}
}

// ring is of somebody else's deployment.
var ring = newRing()

// A token that we signed opens nothing but what it is for.
func TestTokensForSomethingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 2}, nil)
	ann := w.enter(w.hostTicket(), "Ann")
	before := w.state().Seq
	sign := func(r token.Room) string {
		signed, err := w.minter.Room(r)
		must(err)
		return signed
	}
	uid, session := string(w.vr.UID), ann.Grant.Session
	feedback := call{method: "POST", path: w.path("/sessions/" + session + "/feedback"), body: `{"outcome":"connected"}`}
	offer := call{method: "POST", path: w.rtc(), body: "v=0", contentType: "application/sdp"}
	hangup := call{method: "DELETE", path: w.rtc() + "/1/" + session}
	join := call{method: "POST", path: w.path("/join")}
	guest, _ := w.guest("G")
	for _, test := range []struct {
		name   string
		call   call
		bearer string
		want   int
		code   string
	}{
		{"another room's token, offer", offer, sign(token.Room{RoomUID: "other", Epoch: 1, Subject: owner, Session: session}), 401, "token-audience"},
		{"another room's token, feedback", feedback, sign(token.Room{RoomUID: "other", Epoch: 1, Subject: owner, Session: session}), 401, "token-audience"},
		{"another room's token, hang up", hangup, sign(token.Room{RoomUID: "other", Epoch: 1, Subject: owner, Session: session}), 401, "token-audience"},
		{"another room's token, join", join, sign(token.Room{RoomUID: "other", Epoch: 1, Subject: owner, Session: session}), 401, "token-audience"},
		{"another room's ticket, join", join, w.ticket(token.Ticket{Purpose: token.PurposeHost, Subject: owner, RoomUID: "other"}), 401, "token-audience"},
		{"another room's ticket, offer", offer, w.ticket(token.Ticket{Purpose: token.PurposeHost, Subject: owner, RoomUID: "other"}), 401, "token-audience"},
		{"another room's ticket, hang up", hangup, w.ticket(token.Ticket{Purpose: token.PurposeHost, Subject: owner, RoomUID: "other"}), 401, "token-audience"},
		{"another room's ticket, invite", call{method: "POST", path: w.path("/invites")}, w.ticket(token.Ticket{Purpose: token.PurposeHost, Subject: owner, RoomUID: "other"}), 401, "token-audience"},
		{"another room's ticket, delete", call{method: "DELETE", path: w.path("")}, w.ticket(token.Ticket{Purpose: token.PurposeHost, Subject: owner, RoomUID: "other"}), 401, "token-audience"},
		{"an older epoch's token, offer", offer, sign(token.Room{RoomUID: uid, Epoch: 0, Subject: owner, Session: session}), 401, "stale-epoch"},
		{"an older epoch's token, feedback", feedback, sign(token.Room{RoomUID: uid, Epoch: 0, Subject: owner, Session: session}), 410, "stale-epoch"},
		{"a newer epoch's token", offer, sign(token.Room{RoomUID: uid, Epoch: 9, Subject: owner, Session: session}), 503, "moving"},
		{"another session's token, feedback", feedback, sign(token.Room{RoomUID: uid, Epoch: 1, Subject: owner, Session: "other"}), 403, "other-session"},
		{"another session's token, hang up", hangup, sign(token.Room{RoomUID: uid, Epoch: 1, Subject: owner, Session: "other"}), 403, "other-session"},
		{"an expired token, offer", offer, sign(token.Room{RoomUID: uid, Epoch: 1, Subject: owner, Session: session, ExpiresAt: minuteAgo()}), 401, "token-expired"},
		{"a session that is no more, messages", call{method: "GET", path: w.path("/messages")}, sign(token.Room{RoomUID: uid, Epoch: 1, Subject: owner, Session: "gone"}), 404, "unknown-session"},
		{"a session that is no more, events", call{method: "GET", path: w.path("/events")}, sign(token.Room{RoomUID: uid, Epoch: 1, Subject: owner, Session: "gone"}), 404, "unknown-session"},
		{"a ticket, messages", call{method: "GET", path: w.path("/messages")}, w.hostTicket(), 401, "unauthenticated"},
		{"a ticket makes a room", call{method: "POST", path: "/v1/rooms", body: `{"namespace":"default"}`}, w.hostTicket(), 403, "not-allowed"},
		{"a session deletes the room", call{method: "DELETE", path: w.path("")}, ann.Grant.Token, 403, "not-allowed"},
		{"a stranger's ticket deletes the room", call{method: "DELETE", path: w.path("")}, w.ticket(token.Ticket{Purpose: token.PurposeJoin, Subject: "key:shop:bob"}), 403, "not-allowed"},
		{"a stranger's ticket invites", call{method: "POST", path: w.path("/invites")}, w.ticket(token.Ticket{Purpose: token.PurposeJoin, Subject: "key:shop:bob"}), 403, "not-allowed"},
		{"a guest invites", call{method: "POST", path: w.path("/invites")}, guest, 403, "not-allowed"},
		{"a guest deletes the room", call{method: "DELETE", path: w.path("")}, guest, 403, "not-allowed"},
		{"a guest makes a room", call{method: "POST", path: "/v1/rooms", body: `{"namespace":"default"}`}, guest, 403, "not-allowed"},
		{"a guest ends another's session", hangup, guest, 403, "other-session"},
		{"an invite as a bearer, offer", offer, w.ticket(token.Ticket{Purpose: token.PurposeInvite}), 401, "not-an-identity"},
		{"an invite as a bearer, hang up", hangup, w.ticket(token.Ticket{Purpose: token.PurposeInvite}), 403, "other-session"},
		{"another room's invite", call{method: "POST", path: w.path("/join"), body: fmt.Sprintf(`{"invite":%q}`, w.ticket(token.Ticket{Purpose: token.PurposeInvite, RoomUID: "other"}))}, guest, 401, "token-audience"},
		{"an older epoch's token, invite", call{method: "POST", path: w.path("/invites")}, sign(token.Room{RoomUID: uid, Epoch: 0, Subject: owner, Session: session}), 410, "stale-epoch"},
		{"another room's token, messages", call{method: "GET", path: w.path("/messages")}, sign(token.Room{RoomUID: "other", Epoch: 1, Subject: owner, Session: session}), 401, "token-audience"},
		{"another room's token, events", call{method: "GET", path: w.path("/events")}, sign(token.Room{RoomUID: "other", Epoch: 1, Subject: owner, Session: session}), 401, "token-audience"},
		{"another room's token, invite", call{method: "POST", path: w.path("/invites")}, sign(token.Room{RoomUID: "other", Epoch: 1, Subject: owner, Session: session}), 401, "token-audience"},
		{"a ticket as an invite", call{method: "POST", path: w.path("/join"), body: fmt.Sprintf(`{"invite":%q}`, w.hostTicket())}, w.hostTicket(), 400, "bad-request"},
		{"an API key for nobody", join, apiKey, 400, "user-required"},
		{"a guest commands", call{method: "POST", path: w.path("/commands/mute-all"), body: `{"muted":true}`}, guest, 403, "not-allowed"},
		{"a guest looks", call{method: "GET", path: w.path("/state")}, guest, 403, "not-allowed"},
		{"a guest resets the links", call{method: "DELETE", path: w.path("/invites")}, guest, 403, "not-allowed"},
		{"another room's ticket, command", call{method: "POST", path: w.path("/commands/mute-all")}, w.ticket(token.Ticket{Purpose: token.PurposeHost, Subject: owner, RoomUID: "other"}), 401, "token-audience"},
		{"another room's ticket, state", call{method: "GET", path: w.path("/state")}, w.ticket(token.Ticket{Purpose: token.PurposeHost, Subject: owner, RoomUID: "other"}), 401, "token-audience"},
		{"another room's ticket, removed", call{method: "GET", path: w.path("/removed")}, w.ticket(token.Ticket{Purpose: token.PurposeHost, Subject: owner, RoomUID: "other"}), 401, "token-audience"},
		{"another room's token, command", call{method: "POST", path: w.path("/commands/mute-all")}, sign(token.Room{RoomUID: "other", Epoch: 1, Subject: owner, Session: session}), 401, "token-audience"},
		{"an older epoch's token, command", call{method: "POST", path: w.path("/commands/mute-all")}, sign(token.Room{RoomUID: uid, Epoch: 0, Subject: owner, Session: session}), 410, "stale-epoch"},
		{"the owner's token of a session that is no more, command", call{method: "POST", path: w.path("/commands/mute-all")}, sign(token.Room{RoomUID: uid, Epoch: 1, Subject: owner, Session: "gone"}), 404, "unknown-session"},
		{"the owner's token of a session that is no more, state", call{method: "GET", path: w.path("/state")}, sign(token.Room{RoomUID: uid, Epoch: 1, Subject: owner, Session: "gone"}), 404, "unknown-session"},
		{"the owner's token of a session that is no more, removed", call{method: "GET", path: w.path("/removed")}, sign(token.Room{RoomUID: uid, Epoch: 1, Subject: owner, Session: "gone"}), 404, "unknown-session"},
	} {
		test.call.bearer = test.bearer
		if a := w.do(test.call); a.status != test.want || a.code != test.code {
			t.Errorf("%s: %d %s, want %d %s", test.name, a.status, a.code, test.want, test.code)
		}
	}
	if after := w.state().Seq; after != before {
		t.Errorf("the room went from %d to %d", before, after)
	}
}

func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 2}, nil)
	ann := w.enter(w.hostTicket(), "Ann")
	bearers := map[string]string{"/v1/rooms": apiKey, w.path("/join"): w.hostTicket(), "/v1/groups/" + w.group.ID + "/join": w.hostTicket()}
	user := http.Header{"X-Voiceroom-User": {"ann"}}
	for _, c := range w.routes(ann.Grant.Session) {
		c.bearer = ann.Grant.Token
		if b, ok := bearers[c.path]; ok {
			c.bearer = b
		}
		if strings.Contains(c.path, "/commands/") {
			c.bearer = apiKey // a session would be slowed down
		}
		if c.path == "/v1/rooms" {
			c.header = user
		}
		if c.body == "" {
			continue
		}
		large, wrong, broken := c, c, c
		large.body = `{"name":"` + strings.Repeat("x", 300_000) + `"}`
		if a := w.do(large); a.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s %s with 300 kB: %d %s", c.method, c.path, a.status, a.code)
		}
		wrong.contentType = "text/plain"
		if a := w.do(wrong); a.status != http.StatusUnsupportedMediaType || a.code != "content-type" {
			t.Errorf("%s %s with text/plain: %d %s", c.method, c.path, a.status, a.code)
		}
		if c.contentType != "" {
			continue
		}
		for _, body := range []string{`{`, `[]`, `{"nonsense":1}`, `{}{}`, "\xff"} {
			broken.body = body
			if a := w.do(broken); a.status != http.StatusBadRequest {
				t.Errorf("%s %s with %q: %d %s", c.method, c.path, body, a.status, a.code)
			}
		}
	}
	for _, test := range []struct {
		call call
		want int
		code string
	}{
		{call{method: "PUT", path: w.path("")}, 405, "method-not-allowed"},
		{call{method: "OPTIONS", path: w.path("/join")}, 405, "method-not-allowed"},
		{call{method: "GET", path: w.rtc()}, 405, "method-not-allowed"},
		{call{method: "GET", path: "/"}, 404, "not-found"},
		{call{method: "GET", path: "/v1/nothing"}, 404, "not-found"},
		{call{method: "POST", path: w.path("/commands/seal"), bearer: apiKey}, 404, "not-found"},
		{call{method: "POST", path: w.path("/commands/enter"), bearer: apiKey, body: `{"session":"x"}`}, 404, "not-found"},
		{call{method: "POST", path: w.path("/commands/no-such"), bearer: apiKey}, 404, "not-found"},
		{call{method: "GET", path: w.path("/commands/kick"), bearer: apiKey}, 405, "method-not-allowed"},
		{call{method: "POST", path: w.path("/commands/kick"), bearer: apiKey, body: `{"member":-1}`}, 400, "bad-command"},
		{call{method: "POST", path: w.path("/commands/kick"), bearer: apiKey, body: `{"member":4294967296}`}, 400, "bad-command"},
		{call{method: "POST", path: w.path("/commands/kick"), bearer: apiKey, body: `{"member":77}`}, 404, "unknown-member"},
		{call{method: "POST", path: w.path("/commands/unban"), bearer: apiKey, body: `{"member":77}`}, 404, "unknown-member"},
		{call{method: "POST", path: w.path("/commands/swap-mics"), bearer: apiKey, body: `{"a":0,"b":99}`}, 409, "mic-unavailable"},
		{call{method: "POST", path: w.path("/commands/configure"), bearer: apiKey, body: `{"access":"Anybody"}`}, 400, "bad-command"},
		{call{method: "POST", path: w.path("/commands/configure"), bearer: apiKey, body: `{"speakingSeconds":-1}`}, 400, "bad-command"},
		{call{method: "POST", path: w.path("/commands/configure"), bearer: apiKey, body: `{"announcement":"a\u0000b"}`}, 400, "bad-command"},
		{call{method: "POST", path: w.path("/commands/set-role"), bearer: apiKey, body: `{"member":1,"role":"host"}`}, 400, "bad-command"},
		{call{method: "POST", path: w.path("/commands/close"), bearer: apiKey, body: `{"message":"` + strings.Repeat("x", 2000) + `"}`}, 400, "bad-command"},
		{call{method: "POST", path: "/v1/rooms/default/no-such-room/join", bearer: w.hostTicket()}, 404, "unknown-room"},
		{call{method: "POST", path: "/v1/rooms/a%2Fb/x%00y/join", bearer: w.hostTicket()}, 404, "unknown-room"},
		{call{method: "POST", path: "/v1/groups/no-such-group/join", bearer: w.hostTicket()}, 404, "unknown-room"},
		{call{method: "POST", path: w.path("/join"), bearer: w.hostTicket(), body: `{"role":"king"}`}, 400, "bad-request"},
		{call{method: "POST", path: w.path("/join"), bearer: w.hostTicket(), body: `{"name":"a\u0000b"}`}, 400, "bad-command"},
		{call{method: "POST", path: w.path("/join"), bearer: w.hostTicket(), body: `{"name":"` + strings.Repeat("x", 200) + `"}`}, 400, "bad-command"},
		{call{method: "POST", path: w.path("/join"), bearer: apiKey, header: http.Header{"X-Voiceroom-User": {strings.Repeat("x", 200)}}}, 400, "user-required"},
		{call{method: "POST", path: "/v1/guests", body: `{"name":"` + strings.Repeat("x", 200) + `"}`}, 400, "bad-request"},
		{call{method: "POST", path: w.path("/sessions/" + ann.Grant.Session + "/feedback"), bearer: ann.Grant.Token, body: `{"outcome":"perhaps"}`}, 400, "bad-request"},
		{call{method: "POST", path: w.path("/messages"), bearer: ann.Grant.Token, body: `{"text":""}`}, 400, "message-invalid"},
		{call{method: "POST", path: w.path("/messages"), bearer: ann.Grant.Token, body: `{"text":"` + strings.Repeat("x", 5000) + `"}`}, 400, "message-invalid"},
		{call{method: "GET", path: w.path("/messages?before=-1"), bearer: ann.Grant.Token}, 400, "bad-request"},
		{call{method: "GET", path: w.path("/messages?limit=x"), bearer: ann.Grant.Token}, 400, "bad-request"},
	} {
		a := w.do(test.call)
		if a.status != test.want || a.code != test.code {
			t.Errorf("%s %s: %d %s, want %d %s", test.call.method, test.call.path, a.status, a.code, test.want, test.code)
		}
		if test.want == 405 && a.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", test.call.method, test.call.path)
		}
	}
}

// A gateway that has just started knows no keys yet: that is not the caller's fault.
func TestBeforeThereAreKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 2, MaxMics: 1}, nil)
	ticket := w.hostTicket()
	g := w.join(ticket, "")
	w.keys.tokens = &token.Ring{}
	for what, c := range map[string]call{
		"a ticket":     {method: "POST", path: w.path("/join"), bearer: ticket},
		"a room token": {method: "GET", path: w.path("/state"), bearer: g.Token},
	} {
		if a := w.do(c); a.status != http.StatusServiceUnavailable || a.code != "keys-not-ready" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s, want keys-not-ready and when to ask again", what, a.status, a.code)
		}
	}
}
