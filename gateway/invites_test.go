package gateway_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

func TestInvites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 5, MaxMics: 1, Access: v1alpha1.AccessInviteOnly}, nil)
	ann := w.enter(w.hostTicket(), "Ann")
	ticket, _ := w.guest("Bob")
	if a := w.do(call{method: "POST", path: w.path("/join"), bearer: ticket}); a.status != http.StatusForbidden || a.code != string(room.InviteRequired) {
		t.Errorf("uninvited: %d %s", a.status, a.code)
	}
	for name, credential := range map[string]call{
		"the host's session": {bearer: ann.Grant.Token},
		"the host's ticket":  {bearer: w.hostTicket()},
		"a back end":         {bearer: apiKey},
	} {
		var made struct {
			Invite, URL string
			ExpiresAt   time.Time
		}
		credential.method, credential.path, credential.body = "POST", w.path("/invites"), `{"role":"audience","expiresIn":60}`
		w.do(credential).into(t, &made)
		if left := time.Until(made.ExpiresAt); left > time.Minute || left < 30*time.Second {
			t.Errorf("%s: expires in %v", name, left)
		}
		if want := w.url + "/r/" + w.vr.Namespace + "/" + w.vr.Name + "#invite=" + made.Invite; made.URL != want {
			t.Errorf("%s: link %s, want %s", name, made.URL, want)
		}
		if g := w.join(ticket, `{"role":"speaker","invite":"`+made.Invite+`"}`); g.Role != string(room.Audience) {
			t.Errorf("%s: came in as %s, was invited as audience", name, g.Role)
		}
	}
	bob := w.enter(ticket, "Bob")
	if a := w.do(call{method: "POST", path: w.path("/invites"), bearer: bob.Grant.Token}); a.status != http.StatusForbidden || a.code != string(room.NotAllowed) {
		t.Errorf("a speaker invites: %d %s", a.status, a.code)
	}
	for _, body := range []string{`{"role":"host"}`, `{"expiresIn":-1}`, `{"expiresIn":99999999}`, `{"uses":-1}`, `{"uses":10001}`, `{"uses":1.5}`,
		`{"subject":"` + strings.Repeat("x", 257) + `"}`} {
		if a := w.do(call{method: "POST", path: w.path("/invites"), bearer: apiKey, body: body}); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, a.status, a.code)
		}
	}
}

// A link lets in as many as it may, and whom it was made for.
func TestInvitesUses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 8, MaxMics: 1, Access: v1alpha1.AccessInviteOnly}, nil)
	ann := w.enter(w.hostTicket(), "Ann")
	two := w.link(ann.Grant.Token, `{"uses":2}`)
	bobTicket, bobSubject := w.guest("Bob")
	w.invite(bobTicket, "Bob", two)
	w.join(bobTicket, `{"invite":"`+two+`"}`) // who is in uses nothing up
	eveTicket, _ := w.guest("Eve")
	eve := w.join(eveTicket, `{"invite":"`+two+`"}`)
	join := func(ticket, invite string) answer {
		return w.do(call{method: "POST", path: w.path("/join"), bearer: ticket, body: `{"invite":"` + invite + `"}`})
	}
	dan, _ := w.guest("Dan")
	if a := join(dan, two); a.status != http.StatusForbidden || a.code != string(room.InviteUsed) {
		t.Errorf("the third of two: %d %s, want invite-used", a.status, a.code)
	}
	w.do(call{method: "POST", path: w.path("/sessions/" + eve.Session + "/feedback"), bearer: eve.Token, body: `{"outcome":"failed"}`})
	if a := join(dan, two); a.status != http.StatusOK {
		t.Errorf("a use that was given back: %d %s", a.status, a.code)
	}
	for name, credential := range map[string]string{"another guest": eveTicket, "a back end": ""} {
		c := call{method: "POST", path: w.path("/join"), bearer: credential, body: `{"invite":"` + w.link(apiKey, `{"subject":"`+bobSubject+`"}`) + `"}`}
		if credential == "" {
			c.bearer, c.header = apiKey, http.Header{"X-Voiceroom-User": {"kim"}}
		}
		if a := w.do(c); a.status != http.StatusForbidden || a.code != "invite-for-another" {
			t.Errorf("%s with Bob's link: %d %s, want invite-for-another", name, a.status, a.code)
		}
	}
}

// What was made for somebody after a kick lets it in again; what was made for anybody,
// or before, does not. A ban stands against all of it.
func TestInviteAfterAKick(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 8, MaxMics: 1}, nil)
	w.operate()
	ann := w.enter(w.hostTicket(), "Ann")
	ticket, subject := w.guest("Bob")
	named := `{"subject":"` + subject + `"}`
	before := w.link(apiKey, named)
	kick := func(ban string) {
		m, _ := w.state().Subject(subject)
		w.give(ann.Grant.Token, "kick", `{"member":`+jsonOf(m.ID)+`,"ban":`+ban+`}`).into(t, &result{})
	}
	join := func(invite string) string {
		return w.do(call{method: "POST", path: w.path("/join"), bearer: ticket, body: `{"invite":"` + invite + `"}`}).code
	}
	w.enter(ticket, "Bob")
	kick("false")
	for name, test := range map[string]struct{ invite, code string }{
		"for it, before":     {before, "kicked"},
		"for anybody, after": {w.link(ann.Grant.Token, `{}`), "kicked"},
	} {
		if code := join(test.invite); code != test.code {
			t.Errorf("%s: %q, want %q", name, code, test.code)
		}
	}
	w.invite(ticket, "Bob", w.link(apiKey, named))
	kick("true")
	if code := join(w.link(apiKey, named)); code != "banned" {
		t.Errorf("banned, with a new link for it: %q", code)
	}
	joe := w.ticket(token.Ticket{Purpose: token.PurposeJoin, Subject: "key:shop:joe"})
	m := w.join(joe, "").Member
	w.give(ann.Grant.Token, "kick", `{"member":`+jsonOf(m)+`}`).into(t, &result{})
	// A new link for anybody beside an old ticket is no new invitation of its holder.
	a := w.do(call{method: "POST", path: w.path("/join"), bearer: joe, body: `{"invite":"` + w.link(apiKey, `{}`) + `"}`})
	if a.code != string(room.IsKicked) {
		t.Errorf("an old ticket and a new link: %d %s", a.status, a.code)
	}
	w.join(w.ticket(token.Ticket{Purpose: token.PurposeJoin, Subject: "key:shop:joe"}), "")
}

// A link that was made for somebody is still no identity: it ends no session of its subject.
func TestNamedInviteIsNoIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 8, MaxMics: 1}, nil)
	w.enter(w.hostTicket(), "Ann")
	ticket, subject := w.guest("Bob")
	bob := w.enter(ticket, "Bob")
	link := w.link(apiKey, `{"subject":"`+subject+`"}`)
	for _, c := range w.routes(bob.Grant.Session) {
		if c.bearer = link; c.path == w.path("") && c.method == "GET" {
			continue
		}
		if a := w.do(c); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.status, a.code)
		}
	}
}

// Where duplicates are refused, only the client that is connected may come back.
func TestDuplicatesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 8, MaxMics: 1, Duplicates: v1alpha1.DuplicatesRefuse}, nil)
	w.enter(w.hostTicket(), "Ann")
	ticket, _ := w.guest("Bob")
	bob := w.enter(ticket, "Bob")
	if a := w.do(call{method: "POST", path: w.path("/join"), bearer: ticket}); a.status != http.StatusConflict || a.code != string(room.AlreadyJoined) {
		t.Errorf("another client: %d %s, want already-joined", a.status, a.code)
	}
	if again := w.join(bob.Grant.Token, ""); again.Member != bob.Grant.Member {
		t.Errorf("the same client came back as %d, was %d", again.Member, bob.Grant.Member)
	}
}

func TestSleepingRoomIsWoken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 5, MaxMics: 1, Access: v1alpha1.AccessInviteOnly}, nil)
	w.status(func(s *v1alpha1.VoiceRoomStatus) { s.Phase, s.Media = v1alpha1.RoomAsleep, nil })
	ticket, _ := w.guest("Bob")
	if a := w.do(call{method: "POST", path: w.path("/join"), bearer: ticket}); a.code != string(room.InviteRequired) || w.woken() {
		t.Errorf("who may not join: %s, woke the room: %v", a.code, w.woken())
	}
	a := w.do(call{method: "POST", path: w.path("/join"), bearer: w.hostTicket()})
	if a.status != http.StatusServiceUnavailable || a.code != "room-waking" || a.header.Get("Retry-After") != "1" {
		t.Errorf("%d %s, Retry-After %q; want room-waking", a.status, a.code, a.header.Get("Retry-After"))
	}
	if !w.woken() {
		t.Error("nobody was told to wake the room")
	}
}

// What is known of a room that sleeps keeps it asleep for those whom it would not let in.
func TestSleepingRoomRemembers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 5, MaxMics: 1, Access: v1alpha1.AccessInviteOnly, Moderators: []string{"key:shop:mod"}}, nil)
	mod := w.ticket(token.Ticket{Purpose: token.PurposeJoin, Subject: "key:shop:mod"})
	ticket, subject := w.guest("Bob")
	old, named := w.link(apiKey, `{}`), w.link(apiKey, `{"subject":"`+subject+`"}`)
	later := metav1.NewTime(time.Now().Add(time.Minute))
	earlier := metav1.NewTime(time.Now().Add(-time.Minute))
	asleep := func(change func(*v1alpha1.VoiceRoomStatus)) {
		w.status(func(s *v1alpha1.VoiceRoomStatus) {
			s.Phase, s.Media, s.InvitesResetAt, s.Kicked, s.Banned = v1alpha1.RoomAsleep, nil, nil, nil, nil
			change(s)
		})
	}
	kicked := func(who string, at metav1.Time) func(*v1alpha1.VoiceRoomStatus) {
		return func(s *v1alpha1.VoiceRoomStatus) { s.Kicked = []v1alpha1.KickedStatus{{Subject: who, At: at}} }
	}
	for _, test := range []struct {
		name           string
		change         func(*v1alpha1.VoiceRoomStatus)
		bearer, invite string
		code           room.Code
	}{
		{"link from before a reset", func(s *v1alpha1.VoiceRoomStatus) { s.InvitesResetAt = &later }, ticket, old, room.InviteVoid},
		{"banned in the call", func(s *v1alpha1.VoiceRoomStatus) { s.Banned = []string{subject} }, ticket, named, room.IsBanned},
		{"kicked, with a link for anybody", kicked(subject, earlier), ticket, old, room.IsKicked},
		{"kicked after it was invited", kicked(subject, later), ticket, named, room.IsKicked},
		{"a moderator who was kicked", kicked("key:shop:mod", later), mod, "", room.IsKicked},
	} {
		asleep(test.change)
		body := ""
		if test.invite != "" {
			body = `{"invite":"` + test.invite + `"}`
		}
		a := w.do(call{method: "POST", path: w.path("/join"), bearer: test.bearer, body: body})
		if a.status != http.StatusForbidden || a.code != string(test.code) || w.woken() {
			t.Errorf("%s: %d %s, woke the room: %v; want %s", test.name, a.status, a.code, w.woken(), test.code)
		}
	}
	// Nor does a moderator who was thrown out invite anybody, or reset what others did.
	if a := w.do(call{method: "POST", path: w.path("/invites"), bearer: mod}); a.code != string(room.NotAllowed) {
		t.Errorf("a kicked moderator invites: %d %s", a.status, a.code)
	}
	asleep(func(*v1alpha1.VoiceRoomStatus) {})
	w.link(mod, `{}`)
	if a := w.do(call{method: "DELETE", path: w.path("/invites"), bearer: mod}); a.status != http.StatusServiceUnavailable || a.code != "room-waking" {
		t.Errorf("resetting links of a room that sleeps: %d %s", a.status, a.code)
	}
	asleep(kicked(subject, earlier))
	if a := w.do(call{method: "POST", path: w.path("/join"), bearer: ticket, body: `{"invite":"` + named + `"}`}); a.code != "room-waking" || !w.woken() {
		t.Errorf("invited after the kick: %d %s, woke the room: %v", a.status, a.code, w.woken())
	}
}
