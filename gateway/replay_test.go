package gateway_test

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// wallet is all that was ever given out to, or for, one subject.
type wallet struct {
	subject string
	member  uint32
	bearers map[string]string // by what they are
	links   map[string]string // invites
	session []string
}

// link makes an invite.
func (w *world) link(credential, body string) string {
	w.t.Helper()
	var made struct{ Invite string }
	w.do(call{method: "POST", path: w.path("/invites"), bearer: credential, body: body}).into(w.t, &made)
	return made.Invite
}

// fill brings people in in every way that there is and keeps what they were given.
func (w *world) fill() []*wallet {
	w.t.Helper()
	host := w.hostTicket()
	ann := w.enter(host, "Ann")

	ticket, subject := w.guest("Bob")
	bob := &wallet{subject: subject, bearers: map[string]string{"guest's ticket": ticket}, links: map[string]string{
		"link": w.link(ann.Grant.Token, `{}`), "link with uses": w.link(apiKey, `{"uses":50}`),
		"link for the guest": w.link(apiKey, `{"subject":"`+subject+`"}`)}}
	in := w.invite(ticket, "Bob", bob.links["link"])
	bob.member = in.Grant.Member
	w.give(ann.Grant.Token, "set-role", fmt.Sprintf(`{"member":%d,"role":"co-host"}`, bob.member)).into(w.t, &result{})
	bob.links["link that it made itself"] = w.link(in.Grant.Token, `{}`)
	bob.links["link that it made for itself"] = w.link(in.Grant.Token, `{"subject":"`+subject+`"}`)
	again, resumed := w.join(ticket, ""), w.join(in.Grant.Token, "") // the first is replaced, the second never used
	bob.bearers["token in use"], bob.bearers["token that was replaced"], bob.bearers["token that was not used"] = in.Grant.Token, again.Token, resumed.Token
	bob.session = []string{in.Grant.Session, again.Session, resumed.Session}

	joe := &wallet{subject: "key:shop:joe", bearers: map[string]string{"ticket": w.ticket(token.Ticket{Purpose: token.PurposeJoin, Subject: "key:shop:joe"})},
		links: map[string]string{"link for it": w.link(apiKey, `{"subject":"key:shop:joe","uses":3}`)}}
	reserved := w.join(joe.bearers["ticket"], "") // does not come
	joe.member, joe.bearers["token that was not used"], joe.session = reserved.Member, reserved.Token, []string{reserved.Session}

	return []*wallet{bob, joe, {subject: w.vr.Spec.Owner, member: ann.Grant.Member, session: []string{ann.Grant.Session},
		bearers: map[string]string{"host's ticket": host, "host's token": ann.Grant.Token}, links: map[string]string{"link": bob.links["link"]}}}
}

// invite is enter by a link.
func (w *world) invite(credential, name, link string) *bot.Bot {
	w.t.Helper()
	b, err := bot.Join(w.t.Context(), bot.Config{Gateway: w.url, Room: w.vr.Namespace + "/" + w.vr.Name, Credential: credential, Name: name, Invite: link})
	if err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	w.t.Cleanup(func() { _ = b.Close() })
	return b
}

// replay shows everything of a wallet wherever it could open something.
func (w *world) replay(p *wallet, offer string) []call {
	joins := []string{""}
	for _, name := range slices.Sorted(maps.Keys(p.links)) {
		joins = append(joins, `{"invite":"`+p.links[name]+`"}`)
	}
	calls := []call{
		{method: "POST", path: w.rtc(), body: offer, contentType: "application/sdp"},
		{method: "GET", path: w.path("/messages")},
		{method: "POST", path: w.path("/messages"), body: `{"text":"still here"}`},
		{method: "GET", path: w.path("/events")},
		{method: "GET", path: w.path("/state")},
		{method: "GET", path: w.path("/removed")},
		{method: "POST", path: w.path("/invites"), body: `{"subject":"` + p.subject + `"}`},
		{method: "DELETE", path: w.path("/invites")},
		{method: "POST", path: w.path("/commands/take-mic"), body: `{"index":-1}`},
		{method: "POST", path: w.path("/commands/unban"), body: `{"subject":"` + p.subject + `"}`},
	}
	for _, body := range joins {
		calls = append(calls, call{method: "POST", path: w.path("/join"), body: body},
			call{method: "POST", path: "/v1/groups/" + w.group.ID + "/join", body: body})
	}
	for _, session := range p.session {
		calls = append(calls, call{method: "POST", path: w.path("/sessions/" + session + "/feedback"), body: `{"outcome":"connected"}`},
			call{method: "PATCH", path: w.rtc() + "/1/" + session, body: offer, contentType: "application/sdp", header: http.Header{"If-Match": {"*"}}})
	}
	return calls
}

// wantNobody replays all wallets and fails on what opens.
func (w *world) wantNobody(when string, wallets []*wallet) {
	w.t.Helper()
	offer := newPeer(w.t).offer(w.t, nil)
	shown, tried, admitted := 0, 0, 0
	for _, p := range wallets {
		for name, bearer := range p.bearers {
			shown++
			for _, c := range w.replay(p, offer) {
				c.bearer = bearer
				tried++
				if a := w.do(c); a.status/100 != 4 {
					admitted++
					w.t.Errorf("%s, %s of %s opens %s %s: %d %s", when, name, p.subject, c.method, c.path, a.status, a.code)
				}
			}
		}
		shown += len(p.links)
		if m, in := w.state().Subject(p.subject); in && m.Session != "" {
			w.t.Errorf("%s, %s has a session: %+v", when, p.subject, m)
		}
	}
	w.t.Logf("%s: %d credentials, shown in %d ways: %d admitted", when, shown, tried, admitted)
}

// Everything that was issued before a kick or a ban is useless after it, also at the pod
// that replaces the one that knew.
func TestReplayAfterKickAndBan(t *testing.T) {
	t.Parallel()
	for _, ban := range []bool{false, true} {
		t.Run(fmt.Sprint("ban ", ban), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 8, MaxMics: 3}, nil)
			w.operate()
			wallets := w.fill()
			stream := w.stream(wallets[0].bearers["token in use"], "")
			for _, p := range wallets {
				w.give(apiKey, "kick", fmt.Sprintf(`{"member":%d,"ban":%v}`, p.member, ban)).into(t, &result{})
			}
			stream.wantEnd()
			w.wantNobody("on this pod", wallets)
			w.claim(2, w.state())
			w.wantNobody("on the next pod", wallets)
		})
	}
}

// Links that were reset let nobody in, named or not. New ones do, at once.
func TestReplayAfterReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 8, MaxMics: 3, Access: v1alpha1.AccessInviteOnly}, nil)
	w.operate()
	ann := w.enter(w.hostTicket(), "Ann")
	ticket, subject := w.guest("Bob")
	bodies := []string{`{}`, `{"uses":5}`, `{"role":"audience"}`, `{"subject":"` + subject + `"}`}
	var links []string
	for _, body := range bodies {
		links = append(links, w.link(ann.Grant.Token, body))
	}
	w.do(call{method: "DELETE", path: w.path("/invites"), bearer: ann.Grant.Token}).into(t, &result{})
	for i, link := range links {
		a := w.do(call{method: "POST", path: w.path("/join"), bearer: ticket, body: `{"invite":"` + link + `"}`})
		if a.status != http.StatusForbidden || a.code != string(room.InviteVoid) {
			t.Errorf("a link of before, %s: %d %s, want invite-void", bodies[i], a.status, a.code)
		}
	}
	for _, body := range bodies {
		credential, _ := w.guest("G")
		if body == bodies[3] {
			credential = ticket
		}
		w.invite(credential, "G", w.link(ann.Grant.Token, body))
	}
}

// A key that was stolen signs nothing that opens anything once it is taken away, and
// ends what it let in.
func TestReplayAfterKeyCompromise(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 8, MaxMics: 3}, nil)
	w.operate()
	wallets := w.fill()
	stolen := w.keys.tokens
	w.keys.tokens = newRing()
	w.writeKeysOf(mediaapi.TokensFile, w.keys.tokens)
	if err := w.pod.PushKeys(t.Context(), mediaapi.Keys{Tokens: w.keys.tokens.Public()}); err != nil {
		t.Fatal(err)
	}
	thief := token.NewMinter(func() *token.Ring { return stolen }, time.Now, rand.Reader)
	forged, err := thief.Ticket(token.Ticket{Purpose: token.PurposeHost, Subject: owner, Room: w.vr.Namespace + "/" + w.vr.Name, RoomUID: string(w.vr.UID), ExpiresAt: time.Now().Add(time.Hour)})
	must(err)
	wallets[2].bearers["forged ticket"] = forged
	w.wantNobody("with a stolen key", wallets)
}

// Who was let in again after a kick is not taken over by what was issued before it.
func TestOldTokenResumesNoNewMembership(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 8, MaxMics: 3}, nil)
	w.operate()
	w.enter(w.hostTicket(), "Ann")
	ticket, _ := w.guest("Bob")
	before := w.enter(ticket, "Bob")
	kick := func(member uint32) {
		w.give(apiKey, "kick", fmt.Sprintf(`{"member":%d}`, member)).into(t, &result{})
		w.give(apiKey, "unban", fmt.Sprintf(`{"member":%d}`, member)).into(t, &result{})
	}
	kick(before.Grant.Member)
	now := w.enter(ticket, "Bob")
	if a := w.do(call{method: "POST", path: w.path("/join"), bearer: before.Grant.Token}); a.status != http.StatusNotFound || a.code != string(room.UnknownMember) {
		t.Errorf("the token from before the kick: %d %s, want unknown-member", a.status, a.code)
	}
	w.join(now.Grant.Token, "")
}

// What a stolen key was exchanged for is worth no more than the key: neither by a ticket nor
// by a link does it become a room token of another key that outlives it.
func TestReplayOfWhatAStolenKeyWasExchangedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 8, MaxMics: 3, Access: v1alpha1.AccessInviteOnly}, nil)
	w.operate()
	stolen, sound := w.keys.tokens.Keys[0], newRing().Keys[0]
	trust := func(keys ...token.Key) {
		w.keys.tokens = &token.Ring{Keys: keys}
		w.writeKeysOf(mediaapi.TokensFile, w.keys.tokens)
		if err := w.pod.PushKeys(t.Context(), mediaapi.Keys{Tokens: w.keys.tokens.Public()}); err != nil {
			t.Fatal(err)
		}
	}
	trust(stolen, sound) // the sound one signs
	ann := w.enter(w.hostTicket(), "Ann")
	thief := token.NewMinter(func() *token.Ring { return &token.Ring{Keys: []token.Key{stolen}} }, time.Now, rand.Reader)
	forge := func(ticket token.Ticket) string {
		ticket.Room, ticket.RoomUID, ticket.ExpiresAt = w.vr.Namespace+"/"+w.vr.Name, string(w.vr.UID), time.Now().Add(time.Hour)
		forged, err := thief.Ticket(ticket)
		must(err)
		return forged
	}
	const bob = "key:shop:bob"
	byTicket := w.enter(forge(token.Ticket{Purpose: token.PurposeJoin, Subject: bob}), "Bob")
	guest, cyd := w.guest("Cyd")
	byLink := w.invite(guest, "Cyd", forge(token.Ticket{Purpose: token.PurposeInvite}))
	wallets := []*wallet{
		{subject: bob, bearers: map[string]string{"token": byTicket.Grant.Token, "token of a resumption": w.join(byTicket.Grant.Token, "").Token}},
		{subject: cyd, bearers: map[string]string{"token": byLink.Grant.Token, "token of a resumption": w.join(byLink.Grant.Token, "").Token}},
	}
	trust(sound)
	w.wantNobody("on this pod", wallets)
	w.claim(2, w.state())
	w.wantNobody("on the next pod", wallets)
	w.join(ann.Grant.Token, "")
}
