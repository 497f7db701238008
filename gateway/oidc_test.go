package gateway_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/gateway"
	"voiceroom.dev/voiceroom/gateway/idtoken"
	"voiceroom.dev/voiceroom/gateway/idtoken/idtokentest"
	"voiceroom.dev/voiceroom/room"
)

func TestUsersOfAnIssuer(t *testing.T) {
	t.Parallel()
	issuer := idtokentest.New(t)
	verifier, err := idtoken.New(issuer.URL, "voiceroom", issuer.Client().Transport, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	rs := jwt.SigningMethodRS256
	ann := issuer.Sign(t, rs, issuer.Key, nil)
	subject := "oidc:" + issuer.URL + ":1234"
	w := newWorld(t, v1alpha1.VoiceRoomSpec{Owner: subject, MaxMembers: 2, MaxMics: 1}, func(c *gateway.Config) { c.Credentials.OIDC = verifier })

	if g := w.join(ann, ""); g.Role != string(room.Host) {
		t.Errorf("the owner comes as %s", g.Role)
	}
	if m, ok := w.state().Subject(subject); !ok || m.Name != "Ann" {
		t.Errorf("the member is %+v", m)
	}
	// An API key still is one, also one that looks like a token.
	for _, key := range []string{apiKey, dottedKey} {
		if a := w.do(call{method: "POST", path: w.path("/invites"), bearer: key}); a.status != http.StatusCreated {
			t.Errorf("a back end: %d %s", a.status, a.code)
		}
	}
	a := w.do(call{method: "POST", path: "/v1/rooms", bearer: ann, body: `{"namespace":"default"}`})
	var made summary
	a.into(t, &made)
	t.Cleanup(func() {
		_ = direct.DeleteAllOf(context.Background(), &v1alpha1.VoiceRoom{}, client.InNamespace("default"), client.MatchingFields{"metadata.name": made.Name})
	})
	var vr v1alpha1.VoiceRoom
	if err := direct.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: made.Name}, &vr); err != nil || vr.Spec.Owner != subject {
		t.Errorf("the room that she made is owned by %q, %v", vr.Spec.Owner, err)
	}

	for _, test := range []struct {
		name   string
		bearer string
		code   string
	}{
		{"expired", issuer.Sign(t, rs, issuer.Key, func(c jwt.MapClaims) { c["exp"] = minuteAgo().Unix() }), "token-expired"},
		{"for another client", issuer.Sign(t, rs, issuer.Key, func(c jwt.MapClaims) { c["aud"] = "other" }), "unauthenticated"},
		{"without signature", issuer.Sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil), "unauthenticated"},
		{"that would be a guest", issuer.Sign(t, rs, issuer.Key, func(c jwt.MapClaims) { c["iss"] = "guest" }), "unauthenticated"},
	} {
		if a := w.do(call{method: "POST", path: w.path("/join"), bearer: test.bearer}); a.status != http.StatusUnauthorized || a.code != test.code {
			t.Errorf("a token %s: %d %s, want 401 %s", test.name, a.status, a.code, test.code)
		}
	}
}

func TestIssuerIsAway(t *testing.T) {
	t.Parallel()
	issuer := idtokentest.New(t)
	issuer.Away.Store(true)
	verifier, err := idtoken.New(issuer.URL, "voiceroom", issuer.Client().Transport, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 2, MaxMics: 1}, func(c *gateway.Config) { c.Credentials.OIDC = verifier })
	a := w.do(call{method: "POST", path: w.path("/join"), bearer: issuer.Sign(t, jwt.SigningMethodRS256, issuer.Key, nil)})
	if a.status != http.StatusServiceUnavailable || a.code != "identity-unavailable" || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s, want identity-unavailable with Retry-After", a.status, a.code)
	}
	if g := w.join(w.hostTicket(), ""); g.Token == "" {
		t.Error("others cannot join")
	}
}
