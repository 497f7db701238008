// Package idtoken verifies OpenID Connect ID tokens of the deployer's issuer.
//
// The issuer is discovered when the first token arrives, so that the gateway
// starts, and serves everybody else, while the issuer is away.
package idtoken

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

var (
	// ErrUnavailable says that the issuer does not answer; ask again.
	ErrUnavailable = errors.New("the identity provider does not answer")
	// ErrInvalid says that the token is not one that the issuer made for us.
	ErrInvalid = errors.New("ID token refused")
	// ErrExpired says that it was, but no longer is.
	ErrExpired = errors.New("ID token expired")
)

// algorithms are those of public keys: what the issuer's keys fit decides.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA}

// Person is who a token names.
type Person struct {
	Subject string // "oidc:<issuer>:<sub>": issuers do not collide
	Name    string // display name, may be empty
}

// Verifier verifies the tokens of one issuer. Safe for concurrent use.
type Verifier struct {
	issuer string
	config *oidc.Config
	http   *http.Client
	keys   atomic.Pointer[oidc.RemoteKeySet] // nil: not discovered yet
}

// New makes a Verifier of tokens that issuer made for audience (our client ID).
// transport may be nil.
func New(issuer, audience string, transport http.RoundTripper, now func() time.Time) (*Verifier, error) {
	if issuer == "" || audience == "" {
		return nil, errors.New("OpenID Connect needs both an issuer and an audience")
	}
	return &Verifier{
		issuer: issuer,
		config: &oidc.Config{ClientID: audience, SupportedSigningAlgs: algorithms, Now: now},
		http:   &http.Client{Transport: newPatient(transport, now)},
	}, nil
}

// Verify returns whom the token names. The errors wrap one of this package's and
// never hold the token.
func (v *Verifier) Verify(ctx context.Context, raw string) (Person, error) {
	known, err := v.discovered(ctx)
	if err != nil {
		return Person{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	keys := &observed{KeySet: known}
	token, err := oidc.NewVerifier(v.issuer, keys, v.config).Verify(ctx, raw)
	if expired := (*oidc.TokenExpiredError)(nil); errors.As(err, &expired) {
		return Person{}, ErrExpired
	}
	if errors.Is(keys.err, ErrUnavailable) {
		return Person{}, keys.err
	}
	if err != nil {
		return Person{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var claims struct {
		Name     string `json:"name"`
		Username string `json:"preferred_username"`
	}
	if err := token.Claims(&claims); err != nil || token.Subject == "" {
		return Person{}, fmt.Errorf("%w: its claims are malformed", ErrInvalid)
	}
	if claims.Name == "" {
		claims.Name = claims.Username
	}
	return Person{Subject: "oidc:" + token.Issuer + ":" + token.Subject, Name: claims.Name}, nil
}

func (v *Verifier) discovered(ctx context.Context) (*oidc.RemoteKeySet, error) {
	if keys := v.keys.Load(); keys != nil {
		return keys, nil
	}
	ctx = oidc.ClientContext(ctx, v.http)
	provider, err := oidc.NewProvider(ctx, v.issuer)
	if err != nil {
		return nil, fmt.Errorf("discovering %s: %w", v.issuer, err)
	}
	var found struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&found); err != nil {
		return nil, fmt.Errorf("discovering the keys of %s: %w", v.issuer, err)
	}
	v.keys.CompareAndSwap(nil, oidc.NewRemoteKeySet(ctx, found.Keys))
	return v.keys.Load(), nil
}

// observed remembers why a signature was not verified: oidc's verifier says only
// that it was not.
type observed struct {
	oidc.KeySet
	err error
}

func (o *observed) VerifySignature(ctx context.Context, raw string) (payload []byte, err error) {
	payload, o.err = o.KeySet.VerifySignature(ctx, raw)
	return payload, o.err
}
