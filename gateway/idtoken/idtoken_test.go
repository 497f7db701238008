package idtoken_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"voiceroom.dev/voiceroom/gateway/idtoken"
	"voiceroom.dev/voiceroom/gateway/idtoken/idtokentest"
)

func TestVerify(t *testing.T) {
	i := idtokentest.New(t)
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
		{"good", rs, i.Key, nil, nil},
		{"several audiences", rs, i.Key, func(c jwt.MapClaims) { c["aud"] = []string{"other", "voiceroom"} }, nil},
		{"expired", rs, i.Key, func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Minute).Unix() }, idtoken.ErrExpired},
		{"for somebody else", rs, i.Key, func(c jwt.MapClaims) { c["aud"] = "other" }, idtoken.ErrInvalid},
		{"of another issuer", rs, i.Key, func(c jwt.MapClaims) { c["iss"] = "https://elsewhere.example" }, idtoken.ErrInvalid},
		{"of nobody", rs, i.Key, func(c jwt.MapClaims) { delete(c, "sub") }, idtoken.ErrInvalid},
		{"by another key", rs, stranger, nil, idtoken.ErrInvalid},
		{"alg none", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, idtoken.ErrInvalid},
		{"signed with the public key as a secret", jwt.SigningMethodHS256, i.Key.N.Bytes(), nil, idtoken.ErrInvalid},
	} {
		person, err := v.Verify(t.Context(), i.Sign(t, test.method, test.key, test.change))
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
	i := idtokentest.New(t)
	i.Away.Store(true)
	now := time.Now()
	v, err := idtoken.New(i.URL, "voiceroom", i.Client().Transport, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	good := i.Sign(t, jwt.SigningMethodRS256, i.Key, nil)
	for range 10 {
		if _, err := v.Verify(t.Context(), good); !errors.Is(err, idtoken.ErrUnavailable) {
			t.Fatalf("%v, want unavailable", err)
		}
	}
	if n := i.Asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times, want once", n)
	}
	i.Away.Store(false)
	now = now.Add(10 * time.Second)
	// go-oidc hands the failed request's answer to who asks before it has put it away.
	for attempt := 0; ; attempt++ {
		_, err := v.Verify(t.Context(), good)
		if err == nil {
			break
		}
		if attempt == 1000 {
			t.Fatalf("once it is back: %v", err)
		}
		runtime.Gosched()
	}
}

// Its keys cannot be had although it was discovered: that says nothing of the token.
func TestKeysThatAreAway(t *testing.T) {
	i := idtokentest.New(t)
	now := time.Now()
	v, err := idtoken.New(i.URL, "voiceroom", i.Client().Transport, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	good := i.Sign(t, jwt.SigningMethodRS256, i.Key, nil)
	if _, err := v.Verify(t.Context(), "a.b.c"); !errors.Is(err, idtoken.ErrInvalid) {
		t.Fatalf("rubbish: %v", err) // the issuer was discovered for it, its keys were not needed
	}
	i.Away.Store(true)
	if _, err := v.Verify(t.Context(), good); !errors.Is(err, idtoken.ErrUnavailable) || errors.Is(err, idtoken.ErrInvalid) {
		t.Errorf("%v, want unavailable", err)
	}
	i.Away.Store(false)
	now = now.Add(10 * time.Second)
	// go-oidc hands the failed request's answer to who asks before it has put it away.
	for attempt := 0; ; attempt++ {
		_, err := v.Verify(t.Context(), good)
		if err == nil {
			break
		}
		if attempt == 1000 {
			t.Fatalf("once it is back: %v", err)
		}
		runtime.Gosched()
	}
	i.Away.Store(true)
	now = now.Add(time.Hour)
	if _, err := v.Verify(t.Context(), i.Sign(t, jwt.SigningMethodRS256, i.Key, func(c jwt.MapClaims) { c["exp"] = now.Add(time.Hour).Unix() })); err != nil {
		t.Errorf("with keys that are known: %v", err)
	}
}

// Forged tokens do not make us a hammer on the issuer.
func TestForgedTokensAreNotPassedOn(t *testing.T) {
	i := idtokentest.New(t)
	now := time.Now()
	v, err := idtoken.New(i.URL, "voiceroom", i.Client().Transport, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := v.Verify(t.Context(), i.Sign(t, jwt.SigningMethodRS256, stranger, nil)); !errors.Is(err, idtoken.ErrInvalid) {
			t.Fatal(err)
		}
	}
	if n := i.Asked.Load(); n != 2 {
		t.Errorf("the issuer was asked %d times, want twice: itself and its keys", n)
	}
}

func TestHalfAConfiguration(t *testing.T) {
	for _, pair := range [][2]string{{"", "voiceroom"}, {"https://issuer.example", ""}} {
		if _, err := idtoken.New(pair[0], pair[1], nil, time.Now); err == nil {
			t.Errorf("issuer %q and audience %q are taken", pair[0], pair[1])
		}
	}
}
