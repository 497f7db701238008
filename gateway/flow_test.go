package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/gateway"
	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// enter brings a participant with a real PeerConnection into the room.
func (w *world) enter(credential, name string) *bot.Bot {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	b, err := bot.Join(ctx, bot.Config{Gateway: w.url, Room: w.vr.Namespace + "/" + w.vr.Name, Credential: credential, Name: name})
	if err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	w.t.Cleanup(func() { _ = b.Close() })
	return b
}

// The flow of CN111343079B, claim 1, over HTTP: steps 3 to 9.
func TestFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 3, MaxMics: 2}, nil)

	bobTicket, bobSubject := w.guest("Bob")
	if a := w.do(call{method: "POST", path: w.path("/join"), bearer: bobTicket}); a.code != string(room.NotOpenYet) || a.status != http.StatusConflict {
		t.Errorf("before the owner: %d %s, want not-open-yet", a.status, a.code)
	}

	ann := w.enter(w.hostTicket(), "Ann")
	if ann.Grant.Role != string(room.Host) || ann.Entered.Mic == nil || ann.Entered.GroupID != w.group.ID {
		t.Errorf("Ann came in as %+v, %+v", ann.Grant, ann.Entered)
	}
	group, err := w.chat.Group(t.Context(), w.group.ID)
	if err != nil || group.State != chat.Valid || group.Members != 1 {
		t.Errorf("the group is %+v, %v; want Valid with 1 member", group, err)
	}

	// Bob was given the group's ID.
	var g grant
	w.do(call{method: "POST", path: "/v1/groups/" + ann.Entered.GroupID + "/join", bearer: bobTicket, body: `{"name":"Bob"}`}).into(t, &g)
	if want := "/rtc/" + w.vr.Namespace + "/" + w.vr.Name; g.RTC != want || g.Epoch != 1 || g.Role != string(room.Speaker) {
		t.Errorf("Bob's grant is %+v", g)
	}
	bob := w.enter(bobTicket, "Bob")
	if bob.Entered.Mic == nil || bob.Entered.Mic.Index != 1 {
		t.Errorf("Bob's microphone is %+v, want the second", bob.Entered.Mic)
	}
	eveTicket, _ := w.guest("Eve")
	eve := w.enter(eveTicket, "Eve")
	if eve.Entered.Mic != nil {
		t.Errorf("Eve got microphone %d of two", eve.Entered.Mic.Index)
	}
	lateTicket, _ := w.guest("Late")
	if a := w.do(call{method: "POST", path: w.path("/join"), bearer: lateTicket}); a.status != http.StatusConflict || a.code != string(room.RoomFull) {
		t.Errorf("the fourth of three: %d %s, want room-full", a.status, a.code)
	}

	if err := bob.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, in := w.state().Subject(bobSubject); in {
		t.Error("Bob left and is still in the room")
	}
	members, err := w.chat.Members(t.Context(), w.group.ID)
	if err != nil || len(members) != 2 {
		t.Errorf("the group has %d members, %v; want 2", len(members), err)
	}
	if err := w.pod.Renew(t.Context(), 1, w.state().Seq); err != nil { // the operator knows who left
		t.Fatal(err)
	}
	w.enter(lateTicket, "Late")
}

func TestFailedFeedbackFreesThePlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 2, MaxMics: 1}, nil)
	w.enter(w.hostTicket(), "Ann")
	ticket, subject := w.guest("Bob")
	g := w.join(ticket, "")
	var fed struct {
		GroupID string
		Mic     *struct{}
	}
	w.do(call{method: "POST", path: w.path("/sessions/" + g.Session + "/feedback"), bearer: g.Token, body: `{"outcome":"failed"}`}).into(t, &fed)
	if fed.GroupID != w.group.ID || fed.Mic != nil {
		t.Errorf("answer %+v", fed)
	}
	if _, in := w.state().Subject(subject); in {
		t.Error("the place is still taken")
	}
}

// A room moves to another pod; whoever was in it comes back with the token it has,
// without chat, and nobody else does.
func TestResumeAfterFailOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 2, MaxMics: 1}, nil)
	ann := w.enter(w.hostTicket(), "Ann")
	before := w.state()
	w.claim(2, before)
	stranger, _ := w.guest("Bob")
	if a := w.do(call{method: "POST", path: w.path("/join"), bearer: stranger}); a.status != http.StatusServiceUnavailable || a.code != string(room.Frozen) {
		t.Errorf("a stranger right after the fail-over: %d %s, want frozen", a.status, a.code)
	}
	if err := w.chat.Close(); err != nil { // chat is away
		t.Fatal(err)
	}
	if a := w.do(call{method: "POST", path: w.path("/sessions/" + ann.Grant.Session + "/feedback"), bearer: ann.Grant.Token, body: `{"outcome":"connected"}`}); a.status != http.StatusGone || a.code != string(room.StaleEpoch) {
		t.Errorf("the old session: %d %s, want stale-epoch", a.status, a.code)
	}
	again := w.enter(ann.Grant.Token, "Ann")
	if again.Grant.Epoch != 2 || again.Grant.Member != ann.Grant.Member || again.Entered.Mic == nil {
		t.Errorf("came back as %+v, %+v; was %+v", again.Grant, again.Entered, ann.Grant)
	}
	other, err := w.minter.Room(token.Room{RoomUID: string(w.vr.UID), Epoch: 1, Subject: "key:shop:never-there", Session: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if a := w.do(call{method: "POST", path: w.path("/join"), bearer: other}); a.code != string(room.UnknownMember) {
		t.Errorf("who has no place resumes: %d %s, want unknown-member", a.status, a.code)
	}
}

// The operator is away: the gateway itself renews the pod's lease, having read the
// epoch from the API server.
func TestThaw(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 1}, nil)
	w.join(w.hostTicket(), "") // nobody else has renewed anything
	renewed := w.metric("voiceroom_gateway_leases_renewed_total")
	if renewed != 1 {
		t.Errorf("%v leases renewed, want 1", renewed)
	}
}

func TestNoThawForAnEpochThatIsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 1}, nil)
	behind := lagging{Reader: cached, vr: w.vr.DeepCopy()}
	w.startGateway(func(c *gateway.Config) { c.Cluster.Cached = behind })
	w.status(func(s *v1alpha1.VoiceRoomStatus) { s.Media.Epoch, s.Media.PodUID = 2, "another" })
	a := w.do(call{method: "POST", path: w.path("/join"), bearer: w.hostTicket()})
	if a.status != http.StatusServiceUnavailable || a.code != string(room.Moving) || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s, want moving with Retry-After", a.status, a.code)
	}
	if n := len(w.state().Members); n != 0 {
		t.Errorf("the old pod let %d in", n)
	}
}

// lagging is a cache that has not heard of the room's newest state.
type lagging struct {
	client.Reader
	vr *v1alpha1.VoiceRoom
}

func (l lagging) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if vr, ok := o.(*v1alpha1.VoiceRoom); ok && key == client.ObjectKeyFromObject(l.vr) {
		l.vr.DeepCopyInto(vr)
		return nil
	}
	return l.Reader.Get(ctx, key, o, opts...)
}

// A guest who asks in a loop cannot fill the room.
func TestGuestsCannotFillTheRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 20, MaxMics: 1}, nil)
	w.enter(w.hostTicket(), "Ann")
	var refused int
	for i := range 20 {
		ticket, _ := w.guest(fmt.Sprint("Guest ", i))
		a := w.do(call{method: "POST", path: w.path("/join"), bearer: ticket})
		switch {
		case a.status == http.StatusOK:
		case a.status == http.StatusTooManyRequests && a.code == string(room.TooMany):
			refused++
		default:
			t.Fatalf("guest %d: %d %s", i, a.status, a.code)
		}
	}
	if taken := len(w.state().Members) - 1; taken > room.GuestPlaces || refused != 20-taken {
		t.Errorf("one address holds %d places; %d of 20 were refused", taken, refused)
	}
	bob := "key:shop:bob"
	grant := w.do(call{method: "POST", path: w.path("/join"), bearer: apiKey, header: http.Header{"X-Voiceroom-User": {"bob"}}})
	if _, in := w.state().Subject(bob); grant.status != http.StatusOK || !in {
		t.Errorf("somebody else: %d %s", grant.status, grant.code)
	}
}

func TestGuestsAreSlowedDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 2, MaxMics: 1}, func(c *gateway.Config) {
		c.Guests.Burst, c.Guests.PerSecond = 3, 0.0001
	})
	for i := range 5 {
		a := w.do(call{method: "POST", path: "/v1/guests", body: `{"name":"G"}`})
		if want := map[bool]int{true: http.StatusCreated, false: http.StatusTooManyRequests}[i < 3]; a.status != want {
			t.Errorf("request %d: %d %s, want %d", i, a.status, a.code, want)
		}
	}
	// X-Forwarded-For is not believed from just anybody.
	if a := w.do(call{method: "POST", path: "/v1/guests", body: `{}`, header: http.Header{"X-Forwarded-For": {"203.0.113.7"}}}); a.status != http.StatusTooManyRequests {
		t.Errorf("another address in a header: %d, want 429", a.status)
	}
}

func (w *world) woken() bool {
	w.t.Helper()
	var vr v1alpha1.VoiceRoom
	if err := direct.Get(w.t.Context(), client.ObjectKeyFromObject(w.vr), &vr); err != nil {
		w.t.Fatal(err)
	}
	return vr.Annotations[v1alpha1.AnnotationWake] != ""
}

func TestRoomsThatCannotBeJoined(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 5, MaxMics: 1}, nil)
	for _, test := range []struct {
		name   string
		change func(*v1alpha1.VoiceRoomStatus)
		status int
		code   string
	}{
		{"closed", func(s *v1alpha1.VoiceRoomStatus) { s.Phase = v1alpha1.RoomClosed }, http.StatusGone, "room-closed"},
		{"no pod", func(s *v1alpha1.VoiceRoomStatus) { s.Phase, s.Media = v1alpha1.RoomPending, nil }, http.StatusServiceUnavailable, "room-not-ready"},
		{"pod that is gone", func(s *v1alpha1.VoiceRoomStatus) {
			s.Phase, s.Media = v1alpha1.RoomOpen, &v1alpha1.RoomMediaStatus{Pod: "p", PodUID: "u", Endpoint: "127.0.0.1:1", Epoch: 1}
		}, http.StatusServiceUnavailable, "media-unavailable"},
	} {
		w.status(test.change)
		a := w.do(call{method: "POST", path: w.path("/join"), bearer: w.hostTicket()})
		if a.status != test.status || a.code != test.code || strings.Contains(a.detail, "127.0.0.1") {
			t.Errorf("%s: %d %s (%s), want %d %s", test.name, a.status, a.code, a.detail, test.status, test.code)
		}
	}
}
