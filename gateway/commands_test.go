package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// operate makes the test do what the operator does for durability: it says what it has seen.
func (w *world) operate() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		_ = w.pod.Watch(ctx, 1, 0, func(f mediaapi.Frame) error {
			switch {
			case f.Snapshot != nil:
				return w.pod.Renew(ctx, 1, f.Snapshot.Seq)
			case f.Event != nil:
				return w.pod.Renew(ctx, 1, f.Event.Seq)
			}
			return nil
		})
	})
	w.t.Cleanup(func() { cancel(); running.Wait() })
}

// give gives a command over REST.
func (w *world) give(credential, name, body string) answer {
	w.t.Helper()
	return w.do(call{method: "POST", path: w.path("/commands/" + name), bearer: credential, body: body})
}

// result of a command.
type result struct {
	Epoch, Seq uint64
	Durable    bool
}

// A session commands over REST as it does over its data channel.
func TestCommandsOfASession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 3}, nil)
	w.operate()
	ann := w.enter(w.hostTicket(), "Ann")
	bobTicket, bobSubject := w.guest("Bob")
	bob := w.enter(bobTicket, "Bob")
	member := `{"member":` + jsonOf(bob.Grant.Member) + `}`

	for _, step := range []struct {
		bearer, command, body string
		status                int
		code                  room.Code
		holds                 func(*room.State, room.Member) bool // afterwards, of Bob
	}{
		{bob.Grant.Token, "mute", `{"muted":true}`, 200, "", func(s *room.State, m room.Member) bool { mic, _ := s.Mic(m.ID); return mic.Muted }},
		{bob.Grant.Token, "rename", `{"name":"Robert"}`, 200, "", func(_ *room.State, m room.Member) bool { return m.Name == "Robert" }},
		{bob.Grant.Token, "take-mic", `{"index":2}`, 200, "", func(s *room.State, m room.Member) bool { mic, _ := s.Mic(m.ID); return mic.Index == 2 }},
		{bob.Grant.Token, "take-mic", `{"index":0}`, 409, room.MicTaken, nil},
		{bob.Grant.Token, "kick", `{"member":1}`, 403, room.NotAllowed, nil},
		{bob.Grant.Token, "close", ``, 403, room.NotAllowed, nil},
		{ann.Grant.Token, "mute-member", member[:len(member)-1] + `,"muted":true}`, 200, "", nil},
		{bob.Grant.Token, "mute", `{"muted":false}`, 403, room.MutedByModerator, nil},
		{ann.Grant.Token, "pull-mic", member, 200, "", func(s *room.State, m room.Member) bool { _, on := s.Mic(m.ID); return !on && m.Role == room.Audience }},
		{bob.Grant.Token, "take-mic", `{"index":-1}`, 403, room.MicNotAllowed, nil},
		{bob.Grant.Token, "hand", `{"raised":true}`, 200, "", func(_ *room.State, m room.Member) bool { return m.Hand != nil }},
		{ann.Grant.Token, "set-role", member[:len(member)-1] + `,"role":"co-host"}`, 200, "", func(_ *room.State, m room.Member) bool { return m.Role == room.CoHost }},
		{bob.Grant.Token, "lock-mic", `{"index":1,"locked":true}`, 200, "", func(s *room.State, _ room.Member) bool { return len(s.Settings.LockedMics) == 1 }},
		{bob.Grant.Token, "kick", member, 400, room.BadCommand, nil}, // itself
		{bob.Grant.Token, "leave", `{"session":"` + ann.Grant.Session + `"}`, 403, room.NotAllowed, nil},
		{bob.Grant.Token, "leave", ``, 200, "", nil},
		{bob.Grant.Token, "hand", `{"raised":true}`, 404, room.UnknownSession, nil},
	} {
		before := w.state().Seq
		a := w.give(step.bearer, step.command, step.body)
		if a.status != step.status || a.code != string(step.code) {
			t.Errorf("%s %s: %d %s (%s), want %d %s", step.command, step.body, a.status, a.code, a.detail, step.status, step.code)
			continue
		}
		state := w.state()
		m, _ := state.Subject(bobSubject)
		if step.holds != nil && !step.holds(state, m) {
			t.Errorf("%s %s did not take effect: %+v", step.command, step.body, state)
		}
		if a.status != http.StatusOK {
			if state.Seq != before {
				t.Errorf("%s was refused and changed the room", step.command)
			}
			continue
		}
		var r result
		if a.into(t, &r); r.Epoch != 1 || r.Seq < before || r.Seq > state.Seq {
			t.Errorf("%s: answered %+v; the room went from %d to %d", step.command, r, before, state.Seq)
		}
	}
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	must(err)
	return string(b)
}

// Back ends and the owner moderate from outside; they are nobody in the room.
func TestCommandsFromOutside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 3}, nil)
	w.operate()
	w.enter(w.hostTicket(), "Ann")
	own := map[string]bool{"leave": true, "take-mic": true, "leave-mic": true, "mute": true, "hand": true, "answer-ask": true, "rename": true}
	for _, credential := range []string{apiKey, w.hostTicket()} {
		ticket, _ := w.guest("Bob")
		bob := w.enter(ticket, "Bob")
		for _, name := range room.CommandNames() {
			if name == "close" { // at the end
				continue
			}
			a := w.give(credential, name, "")
			switch {
			case !room.ClientCommand(name):
				if a.status != http.StatusNotFound {
					t.Errorf("%s is not for clients: %d %s", name, a.status, a.code)
				}
			case own[name]:
				if a.status != http.StatusForbidden || a.code != "session-required" {
					t.Errorf("%s for nobody: %d %s, want session-required", name, a.status, a.code)
				}
			case a.code == string(room.NotAllowed) || a.status == http.StatusInternalServerError:
				t.Errorf("%s from outside: %d %s", name, a.status, a.code)
			}
		}
		var r result
		w.give(credential, "kick", `{"member":`+jsonOf(bob.Grant.Member)+`}`).into(t, &r)
		if !r.Durable {
			t.Error("the kick was answered before it was durable, although the operator is there")
		}
	}
	stranger := w.ticket(token.Ticket{Purpose: token.PurposeJoin, Subject: "key:shop:eve"})
	if a := w.give(stranger, "close", ""); a.code != string(room.NotAllowed) {
		t.Errorf("a stranger closes the room: %d %s", a.status, a.code)
	}
	w.give(apiKey, "close", `{"reason":"MaxDuration","message":"See you"}`).into(t, &result{})
	if s := w.state(); s.Phase != room.Closed || s.CloseReason != "ClosedByModerator" || s.CloseMessage != "See you" {
		t.Errorf("closed as %s %q %q", s.Phase, s.CloseReason, s.CloseMessage)
	}
	if a := w.give(apiKey, "mute-all", `{"muted":true}`); a.status != http.StatusGone || a.code != string(room.RoomClosed) {
		t.Errorf("a command to a closed room: %d %s", a.status, a.code)
	}
}

// Without an operator nothing becomes durable; the command is in force all the same.
func TestCommandThatIsNotDurable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 3}, nil)
	w.enter(w.hostTicket(), "Ann")
	var r result
	w.give(apiKey, "configure", `{"access":"Locked"}`).into(t, &r)
	if r.Durable || w.state().Settings.Access != room.Locked {
		t.Errorf("durable %v, access %s", r.Durable, w.state().Settings.Access)
	}
}

// An owner whom a back end threw out has no way to let itself in again.
func TestThrownOutOwnerModeratesNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 3}, nil)
	w.operate()
	ticket := w.hostTicket()
	ann := w.enter(ticket, "Ann")
	w.give(apiKey, "kick", `{"member":`+jsonOf(ann.Grant.Member)+`}`).into(t, &result{})
	for _, c := range []call{
		{method: "POST", path: w.path("/commands/unban"), body: `{"subject":"` + owner + `"}`},
		{method: "POST", path: w.path("/invites"), body: `{"subject":"` + owner + `"}`},
		{method: "DELETE", path: w.path("/invites")},
		{method: "GET", path: w.path("/state")},
		{method: "GET", path: w.path("/removed")},
	} {
		c.bearer = ticket
		if a := w.do(c); a.status != http.StatusForbidden || a.code != string(room.NotAllowed) {
			t.Errorf("%s %s: %d %s, want not-allowed", c.method, c.path, a.status, a.code)
		}
	}
}

func TestCommandsAreSlowedDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 3}, nil)
	ann := w.enter(w.hostTicket(), "Ann")
	limited := 0
	for range 200 {
		switch a := w.give(ann.Grant.Token, "leave-mic", ""); a.code {
		case "rate-limited":
			limited++
		case "", string(room.NotOnMic):
		default:
			t.Fatalf("%d %s", a.status, a.code)
		}
	}
	if limited == 0 {
		t.Error("200 commands at once were taken")
	}
	for range 60 { // a back end speaks for many
		if a := w.give(apiKey, "clear-hands", ""); a.status != http.StatusOK {
			t.Fatalf("a back end: %d %s", a.status, a.code)
		}
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 6, MaxMics: 3, Moderators: []string{"key:shop:mod"}}, nil)
	ann := w.enter(w.hostTicket(), "Ann")
	ticket, subject := w.guest("Bob")
	bob := w.enter(ticket, "Bob")
	other, _ := w.guest("Eve")
	reserved := w.join(other, "")
	look := func(credential string) (*room.State, string) {
		var s room.State
		a := w.do(call{method: "GET", path: w.path("/state"), bearer: credential})
		a.into(t, &s)
		return &s, string(a.body)
	}
	for name, credential := range map[string]string{"a member": bob.Grant.Token, "the owner": w.hostTicket(), "the host": ann.Grant.Token} {
		s, text := look(credential)
		if diff := cmp.Diff(w.state().Public(), s); diff != "" {
			t.Errorf("%s sees (-public +seen):\n%s", name, diff)
		}
		if strings.Contains(text, subject) || strings.Contains(text, owner) {
			t.Errorf("%s sees subjects: %s", name, text)
		}
	}
	s, text := look(apiKey)
	if m, ok := s.Subject(subject); !ok || m.ID != bob.Grant.Member || len(s.Members) != 3 || s.Settings.Moderators == nil {
		t.Errorf("a back end sees %s", text)
	}
	for _, secret := range []string{ann.Grant.Session, bob.Grant.Session, reserved.Session, w.keys.tokens.Keys[0].ID} {
		if strings.Contains(text, secret) {
			t.Errorf("a back end sees %s in %s", secret, text)
		}
	}
	for name, test := range map[string]struct {
		bearer string
		code   room.Code
	}{
		"who has not entered":       {reserved.Token, room.NotEntered},
		"a stranger":                {other, room.NotAllowed},
		"a moderator who is not in": {w.ticket(token.Ticket{Purpose: token.PurposeJoin, Subject: "key:shop:mod"}), room.NotAllowed},
	} {
		a := w.do(call{method: "GET", path: w.path("/state"), bearer: test.bearer})
		if a.code != string(test.code) {
			t.Errorf("%s: %d %s, want %s", name, a.status, a.code, test.code)
		}
	}
}

// A moderator lets in again whom it threw out, by the number that it knows.
func TestRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 6, MaxMics: 3, Banned: []string{"key:shop:mallory"}}, nil)
	w.operate()
	ann := w.enter(w.hostTicket(), "Ann")
	ticket, subject := w.guest("Bob")
	bob := w.enter(ticket, "Bob")
	eveTicket, _ := w.guest("Eve")
	eve := w.enter(eveTicket, "Eve")
	if a := w.do(call{method: "GET", path: w.path("/removed"), bearer: eve.Grant.Token}); a.code != string(room.NotAllowed) {
		t.Errorf("a speaker: %d %s", a.status, a.code)
	}
	w.give(ann.Grant.Token, "kick", `{"member":`+jsonOf(bob.Grant.Member)+`,"ban":true}`).into(t, &result{})

	type removed struct {
		Member        uint32
		Name, Subject string
		Banned        bool
	}
	list := func(credential string) []removed {
		var l struct{ Removed []removed }
		w.do(call{method: "GET", path: w.path("/removed"), bearer: credential}).into(t, &l)
		return l.Removed
	}
	want := []removed{{Member: bob.Grant.Member, Name: "Bob", Banned: true}, {Banned: true}}
	for _, credential := range []string{ann.Grant.Token, w.hostTicket()} {
		if diff := cmp.Diff(want, list(credential)); diff != "" {
			t.Errorf("removed (-want +got):\n%s", diff)
		}
	}
	want[0].Subject, want[1].Subject = subject, "key:shop:mallory"
	if diff := cmp.Diff(want, list(apiKey)); diff != "" {
		t.Errorf("removed, for a back end (-want +got):\n%s", diff)
	}
	if a := w.do(call{method: "POST", path: w.path("/join"), bearer: ticket}); a.code != string(room.IsBanned) {
		t.Errorf("the banned one joins: %d %s", a.status, a.code)
	}
	w.give(ann.Grant.Token, "unban", `{"member":`+jsonOf(bob.Grant.Member)+`}`).into(t, &result{})
	w.enter(ticket, "Bob")
	if got := list(ann.Grant.Token); len(got) != 1 {
		t.Errorf("removed after unban: %+v", got)
	}
}

func TestChatMuted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 3}, nil)
	w.operate()
	ann := w.enter(w.hostTicket(), "Ann")
	ticket, _ := w.guest("Bob")
	bob := w.enter(ticket, "Bob")
	s := w.stream(bob.Grant.Token, "")
	mute := func(muted string) {
		w.give(ann.Grant.Token, "chat-mute", `{"member":`+jsonOf(bob.Grant.Member)+`,"muted":`+muted+`}`).into(t, &result{})
	}
	mute("true")
	if a := w.do(call{method: "POST", path: w.path("/messages"), bearer: bob.Grant.Token, body: `{"text":"spam"}`}); a.status != http.StatusForbidden || a.code != "chat-muted" {
		t.Errorf("a muted one posts: %d %s", a.status, a.code)
	}
	w.say(ann.Grant.Token, "order")
	s.wantText("order") // it still reads
	mute("false")
	w.say(bob.Grant.Token, "sorry")
}
