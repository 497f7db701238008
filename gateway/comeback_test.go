package gateway_test

import (
	"net/http"
	"testing"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/gateway"
	"voiceroom.dev/voiceroom/room"
)

// When a pod dies, all of a house come back at once, from one address.
func TestGuestsOfOneAddressComeBackTogether(t *testing.T) {
	t.Parallel()
	const guests = 3
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 5, MaxMics: 1}, func(c *gateway.Config) {
		c.Guests.Burst, c.Guests.PerSecond = 2*guests, 0.0001 // an identity and a join each
	})
	w.enter(w.hostTicket(), "Ann")
	var tokens []string
	for range guests {
		ticket, _ := w.guest("G")
		tokens = append(tokens, w.enter(ticket, "G").Grant.Token)
	}
	w.claim(2, w.state())
	for i, resume := range tokens {
		if a := w.do(call{method: "POST", path: w.path("/join"), bearer: resume}); a.status != http.StatusOK {
			t.Errorf("guest %d: %d %s", i, a.status, a.code)
		}
	}
	limited := false
	for range 2 * guests { // but one of them cannot ask for ever
		limited = limited || w.do(call{method: "POST", path: w.path("/join"), bearer: tokens[0]}).status == http.StatusTooManyRequests
	}
	if !limited {
		t.Error("one guest is never slowed down")
	}
}

// Whoever was thrown out does not come back with anything it had: not its session's
// token, its ticket, nor the invite that it came with.
func TestKickedIsOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 5, MaxMics: 1}, nil)
	ann := w.enter(w.hostTicket(), "Ann")
	var made struct{ Invite string }
	w.do(call{method: "POST", path: w.path("/invites"), bearer: ann.Grant.Token}).into(t, &made)
	ticket, _ := w.guest("Bob")
	bob := w.enter(ticket, "Bob")
	w.command(room.Kick{Member: bob.Grant.Member})
	session := w.path("/sessions/" + bob.Grant.Session)
	for _, test := range []struct {
		name string
		call call
		code room.Code
	}{
		{"its token", call{method: "POST", path: w.path("/join"), bearer: bob.Grant.Token}, room.UnknownMember},
		{"its ticket", call{method: "POST", path: w.path("/join"), bearer: ticket}, room.IsKicked},
		{"its ticket, by the group", call{method: "POST", path: "/v1/groups/" + w.group.ID + "/join", bearer: ticket}, room.IsKicked},
		{"its ticket and the invite", call{method: "POST", path: w.path("/join"), bearer: ticket, body: `{"invite":"` + made.Invite + `"}`}, room.IsKicked},
		{"its ticket, offer", call{method: "POST", path: w.rtc(), bearer: ticket, body: "v=0", contentType: "application/sdp"}, room.IsKicked},
		{"its token, offer", call{method: "POST", path: w.rtc(), bearer: bob.Grant.Token, body: newPeer(t).offer(t, nil), contentType: "application/sdp"}, room.UnknownSession},
		{"its token, feedback", call{method: "POST", path: session + "/feedback", bearer: bob.Grant.Token, body: `{"outcome":"connected"}`}, room.UnknownSession},
		{"its token, messages", call{method: "GET", path: w.path("/messages"), bearer: bob.Grant.Token}, room.UnknownSession},
		{"its token, events", call{method: "GET", path: w.path("/events"), bearer: bob.Grant.Token}, room.UnknownSession},
	} {
		if a := w.do(test.call); a.status/100 != 4 || a.code != string(test.code) {
			t.Errorf("%s: %d %s, want %s", test.name, a.status, a.code, test.code)
		}
	}
	w.claim(2, w.state()) // nor when the room moves
	if a := w.do(call{method: "POST", path: w.path("/join"), bearer: ticket}); a.code != string(room.IsKicked) {
		t.Errorf("its ticket, in the next epoch: %d %s", a.status, a.code)
	}
	if a := w.do(call{method: "POST", path: w.path("/join"), bearer: bob.Grant.Token}); a.code != string(room.UnknownMember) {
		t.Errorf("its token, in the next epoch: %d %s", a.status, a.code)
	}
}

// What was given out for a room opens nothing in another of the same name.
func TestRoomThatWasMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 5, MaxMics: 1}, nil)
	ticket := w.hostTicket()
	ann := w.enter(ticket, "Ann")
	var made struct{ Invite string }
	w.do(call{method: "POST", path: w.path("/invites"), bearer: ticket}).into(t, &made)
	w.recreate()
	guest, _ := w.guest("G")
	for _, c := range []call{
		{method: "POST", path: w.path("/join"), bearer: ticket},
		{method: "POST", path: w.path("/join"), bearer: ann.Grant.Token},
		{method: "POST", path: w.path("/join"), bearer: guest, body: `{"invite":"` + made.Invite + `"}`},
		{method: "POST", path: w.path("/invites"), bearer: ticket},
		{method: "POST", path: w.path("/invites"), bearer: ann.Grant.Token},
		{method: "DELETE", path: w.path(""), bearer: ticket},
		{method: "POST", path: w.rtc(), bearer: ticket, body: "v=0", contentType: "application/sdp"},
		{method: "DELETE", path: w.rtc() + "/1/" + ann.Grant.Session, bearer: ticket},
		{method: "GET", path: w.path("/messages"), bearer: ann.Grant.Token},
		{method: "GET", path: w.path("/events"), bearer: ann.Grant.Token},
	} {
		if a := w.do(c); a.status != http.StatusUnauthorized || a.code != "token-audience" {
			t.Errorf("%s %s: %d %s, want token-audience", c.method, c.path, a.status, a.code)
		}
	}
}
