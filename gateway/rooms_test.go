package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/gateway"
)

type summary struct {
	Namespace, Name, DisplayName, Phase, GroupID, JoinURL string
	Members, MaxMembers, MaxMics                          int
	Mics                                                  []struct{ Index int }
}

func TestRooms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 2, MaxMics: 1}, nil)
	ann := http.Header{"X-Voiceroom-User": {"ann"}}
	create := func(header http.Header, body string) answer {
		return w.do(call{method: "POST", path: "/v1/rooms", bearer: apiKey, header: header, body: body})
	}

	a := create(ann, `{"namespace":"default","displayName":"Book club","maxMembers":12,"maxMics":3,"access":"InviteOnly","micPolicy":"OnRequest",
		"moderators":["key:shop:bob"],"pool":"large","chatProvider":"main","chatFailurePolicy":"Degrade","lifecycle":{"emptyTimeout":"1m"},
		"duplicates":"Refuse","audience":"Mix","muteOnEntry":true,"speakingSeconds":90,"announcement":"Page 12","metadata":{"book":"Emma"}}`)
	var made summary
	a.into(t, &made)
	t.Cleanup(func() {
		_ = direct.DeleteAllOf(context.Background(), &v1alpha1.VoiceRoom{}, client.InNamespace("default"), client.MatchingFields{"metadata.name": made.Name})
	})
	if a.status != http.StatusCreated || a.header.Get("Location") != "/v1/rooms/default/"+made.Name || made.Phase != "Pending" || made.MaxMembers != 12 {
		t.Errorf("%d, Location %q, %+v", a.status, a.header.Get("Location"), made)
	}
	if want := w.url + "/r/default/" + made.Name; made.JoinURL != want {
		t.Errorf("link %q, want %q", made.JoinURL, want)
	}
	var vr v1alpha1.VoiceRoom
	if err := direct.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: made.Name}, &vr); err != nil {
		t.Fatal(err)
	}
	s := vr.Spec
	if s.Owner != owner || s.Access != v1alpha1.AccessInviteOnly || s.MicPolicy != v1alpha1.MicOnRequest || s.Media.Pool != "large" ||
		s.Chat.Provider != "main" || s.Chat.FailurePolicy != v1alpha1.ChatDegrade || s.Lifecycle.EmptyTimeout.Minutes() != 1 || len(s.Moderators) != 1 ||
		s.Duplicates != v1alpha1.DuplicatesRefuse || s.Audience != v1alpha1.AudienceMix || !s.MuteOnEntry || s.SpeakingSeconds != 90 || s.Announcement != "Page 12" || s.Metadata["book"] != "Emma" {
		t.Errorf("the resource is %+v", s)
	}

	for _, test := range []struct {
		name, body string
		header     http.Header
		want       int
		code       string
		detail     string
	}{
		{"exists", `{"namespace":"default","name":"` + made.Name + `"}`, ann, 409, "room-exists", ""},
		{"more mics than members", `{"namespace":"default","maxMembers":2,"maxMics":3}`, ann, 422, "room-invalid", "maxMics (8 unless set) must not exceed maxMembers"},
		{"huge", `{"namespace":"default","maxMembers":1000000}`, ann, 422, "room-invalid", "spec.maxMembers"},
		{"unknown duplicates", `{"namespace":"default","duplicates":"Perhaps"}`, ann, 422, "room-invalid", "spec.duplicates"},
		{"an unknown audience mode", `{"namespace":"default","audience":"Loud"}`, ann, 422, "room-invalid", "spec.audience"},
		{"a turn of years", `{"namespace":"default","speakingSeconds":99999999}`, ann, 422, "room-invalid", "spec.speakingSeconds"},
		{"a metadata key without a name", `{"namespace":"default","metadata":{"":"x"}}`, ann, 422, "room-invalid", "metadata"},
		{"unknown access", `{"namespace":"default","access":"Anybody"}`, ann, 422, "room-invalid", "spec.access"},
		{"bad name", `{"namespace":"default","name":"No Such Name"}`, ann, 422, "room-invalid", "metadata.name"},
		{"another namespace", `{"namespace":"kube-system"}`, ann, 403, "namespace-not-allowed", ""},
		{"no namespace", `{}`, ann, 403, "namespace-not-allowed", ""},
		{"for nobody", `{"namespace":"default"}`, nil, 400, "user-required", ""},
	} {
		if a := create(test.header, test.body); a.status != test.want || a.code != test.code || !strings.Contains(a.detail, test.detail) {
			t.Errorf("%s: %d %s %q, want %d %s %q", test.name, a.status, a.code, a.detail, test.want, test.code, test.detail)
		}
	}
}

func TestRoomSummary(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 5, MaxMics: 2, DisplayName: "Book club"}, nil)
	w.status(func(s *v1alpha1.VoiceRoomStatus) {
		s.Members, s.Mics, s.EffectiveMaxMembers = 3, []v1alpha1.MicStatus{{Index: 1, Holder: "key:shop:secret-name"}}, 4
	})
	a := w.do(call{method: "GET", path: w.path("")})
	var got summary
	a.into(t, &got)
	if got.DisplayName != "Book club" || got.Phase != "Open" || got.Members != 3 || got.MaxMembers != 4 || got.MaxMics != 2 || len(got.Mics) != 1 || got.GroupID != w.group.ID {
		t.Errorf("%+v", got)
	}
	if strings.Contains(string(a.body), "secret-name") || strings.Contains(string(a.body), "ann") {
		t.Errorf("it tells subjects: %s", a.body)
	}
}

func TestOnlyTheOwnerOrABackEndDeletes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		who    string
		bearer func(*world) string
		want   int
	}{
		{"the owner", (*world).hostTicket, http.StatusNoContent},
		{"a back end", func(*world) string { return apiKey }, http.StatusNoContent},
		{"a guest", func(w *world) string { ticket, _ := w.guest("G"); return ticket }, http.StatusForbidden},
	} {
		w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 2, MaxMics: 1}, nil)
		if a := w.do(call{method: "DELETE", path: w.path(""), bearer: test.bearer(w)}); a.status != test.want {
			t.Errorf("%s: %d %s, want %d", test.who, a.status, a.code, test.want)
		}
		err := direct.Get(t.Context(), client.ObjectKeyFromObject(w.vr), &v1alpha1.VoiceRoom{})
		if gone := apierrors.IsNotFound(err); gone != (test.want == http.StatusNoContent) {
			t.Errorf("%s: the room is gone: %v", test.who, gone)
		}
	}
}

// Where rooms can be made in any namespace, what is no namespace's name gets no
// further than we do.
func TestAnyNamespaceIsStillANamespace(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 2, MaxMics: 1}, func(c *gateway.Config) {
		c.RoomNamespaces = []string{"*"}
		c.Cluster.Writer = counting{direct, &asked}
	})
	for _, namespace := range []string{"", ".", "..", "a/b", "../../api", "%2e%2e", "A", "a b", strings.Repeat("a", 64)} {
		a := w.do(call{method: "POST", path: "/v1/rooms", bearer: apiKey, header: http.Header{"X-Voiceroom-User": {"ann"}},
			body: `{"name":"x","namespace":"` + namespace + `"}`})
		if a.status != http.StatusForbidden || a.code != "namespace-not-allowed" {
			t.Errorf("%q: %d %s", namespace, a.status, a.code)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the API server was asked %d times", n)
	}
	if a := w.do(call{method: "POST", path: "/v1/rooms", bearer: apiKey, header: http.Header{"X-Voiceroom-User": {"ann"}},
		body: `{"namespace":"no-such-namespace"}`}); a.status != http.StatusNotFound || a.code != "unknown-room" || asked.Load() != 1 {
		t.Errorf("one that is not there: %d %s", a.status, a.code)
	}
}

// counting counts what is created.
type counting struct {
	client.Writer
	created *atomic.Int32
}

func (c counting) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	c.created.Add(1)
	return c.Writer.Create(ctx, o, opts...)
}

func TestPublishedKeysVerifyOurTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 2, MaxMics: 1}, nil)
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	a := w.do(call{method: "GET", path: "/.well-known/jwks.json"})
	a.into(t, &set)
	if len(set.Keys) != 1 || set.Keys[0]["kid"] != w.keys.tokens.Keys[0].ID || set.Keys[0]["d"] != nil {
		t.Errorf("key set: %s", a.body)
	}
	for _, secret := range []string{"seed", fmt.Sprintf("%x", w.keys.tokens.Keys[0].Seed)} {
		if strings.Contains(string(a.body), secret) {
			t.Errorf("the key set holds %q", secret)
		}
	}
}
