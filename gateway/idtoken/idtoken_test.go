package idtoken_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"voiceroom.dev/voiceroom/gateway/idtoken"
)

// issuer is an OpenID Connect provider as far as a verifier sees one.
type issuer struct {
	*httptest.Server
	key   *rsa.PrivateKey
	away  atomic.Bool
	asked atomic.Int32
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		i.asked.Add(1)
		if i.away.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL, "token_endpoint": i.URL,
			"id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"keys": []any{map[string]string{"kty": "RSA", "kid": "k", "alg": "RS256", "use": "sig",
			"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes())}}})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) sign(t *testing.T, method jwt.SigningMethod, key any, change func(jwt.MapClaims)) string {
	t.Helper()
	claims := jwt.MapClaims{"iss": i.URL, "aud": "voiceroom", "sub": "1234", "name": "Ann", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	if change != nil {
		change(claims)
	}
	token := jwt.NewWithClaims(method, claims)
	token.Header["kid"] = "k"
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestVerify(t *testing.T) {
	i := newIssuer(t)
	v, err := idtoken.New(i.URL, "voiceroom", i.Client().Transport, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rs := jwt.SigningMethodRS256
	for _, test := range []struct {
		name   string
		method jwt.SigningMethod
		key    any
		change func(jwt.MapClaims)
		want   error
	}{
		{"good", rs, i.key, nil, nil},
		{"several audiences", rs, i.key, func(c jwt.MapClaims) { c["aud"] = []string{"other", "voiceroom"} }, nil},
		{"expired", rs, i.key, func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Minute).Unix() }, idtoken.ErrExpired},
		{"for somebody else", rs, i.key, func(c jwt.MapClaims) { c["aud"] = "other" }, idtoken.ErrInvalid},
		{"of another issuer", rs, i.key, func(c jwt.MapClaims) { c["iss"] = "https://elsewhere.example" }, idtoken.ErrInvalid},
		{"of nobody", rs, i.key, func(c jwt.MapClaims) { delete(c, "sub") }, idtoken.ErrInvalid},
		{"by another key", rs, stranger, nil, idtoken.ErrInvalid},
		{"alg none", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, idtoken.ErrInvalid},
		{"signed with the public key as a secret", jwt.SigningMethodHS256, i.key.N.Bytes(), nil, idtoken.ErrInvalid},
	} {
		person, err := v.Verify(t.Context(), i.sign(t, test.method, test.key, test.change))
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if test.want == nil && (person.Subject != "oidc:"+i.URL+":1234" || person.Name != "Ann") {
			t.Errorf("%s: %+v", test.name, person)
		}
	}
	if _, err := v.Verify(t.Context(), "a.b.c"); !errors.Is(err, idtoken.ErrInvalid) {
		t.Errorf("rubbish: %v", err)
	}
}

// An issuer that is away stops nobody but those who come with its tokens, is not
// asked by each of them, and is found once it is back.
func TestIssuerThatIsAway(t *testing.T) {
	i := newIssuer(t)
	i.away.Store(true)
	now := time.Now()
	v, err := idtoken.New(i.URL, "voiceroom", i.Client().Transport, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	good := i.sign(t, jwt.SigningMethodRS256, i.key, nil)
	for range 10 {
		if _, err := v.Verify(t.Context(), good); !errors.Is(err, idtoken.ErrUnavailable) {
			t.Fatalf("%v, want unavailable", err)
		}
	}
	if n := i.asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times, want once", n)
	}
	i.away.Store(false)
	now = now.Add(10 * time.Second)
	if _, err := v.Verify(t.Context(), good); err != nil {
		t.Errorf("once it is back: %v", err)
	}
}

func TestHalfAConfiguration(t *testing.T) {
	for _, pair := range [][2]string{{"", "voiceroom"}, {"https://issuer.example", ""}} {
		if _, err := idtoken.New(pair[0], pair[1], nil, time.Now); err == nil {
			t.Errorf("issuer %q and audience %q are taken", pair[0], pair[1])
		}
	}
}
