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

	"voiceroom.dev/voiceroom/admission/flight"
)

var (
	// ErrUnavailable: the issuer does not answer; ask again.
	ErrUnavailable = errors.New("the identity provider does not answer")
	// ErrInvalid: the token is not one that the issuer made for us.
	ErrInvalid = errors.New("ID token refused")
	// ErrExpired: it was, but no longer is.
	ErrExpired = errors.New("ID token expired")
)

const (
	// discoverEvery bounds how often an issuer that is away is asked.
	discoverEvery = 5 * time.Second
	fetchTimeout  = 5 * time.Second
)

// Person is who a token names.
type Person struct {
	Subject string // "oidc:<issuer>:<sub>": issuers do not collide
	Name    string // display name, may be empty
}

// Verifier verifies the tokens of one issuer. Safe for concurrent use.
type Verifier struct {
	issuer, audience string
	http             *http.Client
	now              func() time.Time
	discoveries      *flight.Group[*oidc.IDTokenVerifier]
	found            atomic.Pointer[oidc.IDTokenVerifier]
}

// New makes a Verifier of tokens that issuer made for audience (our client ID).
// transport may be nil.
func New(issuer, audience string, transport http.RoundTripper, now func() time.Time) (*Verifier, error) {
	if issuer == "" || audience == "" {
		return nil, errors.New("OpenID Connect needs both an issuer and an audience")
	}
	return &Verifier{
		issuer: issuer, audience: audience, now: now,
		http:        &http.Client{Transport: transport, Timeout: fetchTimeout},
		discoveries: flight.New[*oidc.IDTokenVerifier](discoverEvery, fetchTimeout, now),
	}, nil
}

// Verify returns whom the token names. The errors wrap one of this package's and
// never hold the token.
func (v *Verifier) Verify(ctx context.Context, raw string) (Person, error) {
	verifier, err := v.discovered(ctx)
	if err != nil {
		return Person{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	token, err := verifier.Verify(ctx, raw)
	if expired := (*oidc.TokenExpiredError)(nil); errors.As(err, &expired) {
		return Person{}, ErrExpired
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

func (v *Verifier) discovered(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	if found := v.found.Load(); found != nil {
		return found, nil
	}
	return v.discoveries.Do(ctx, v.issuer, func(ctx context.Context) (*oidc.IDTokenVerifier, error) {
		ctx = oidc.ClientContext(ctx, v.http)
		provider, err := oidc.NewProvider(ctx, v.issuer)
		if err != nil {
			return nil, fmt.Errorf("discovering %s: %w", v.issuer, err)
		}
		found := provider.VerifierContext(ctx, &oidc.Config{ClientID: v.audience, Now: v.now})
		v.found.Store(found)
		return found, nil
	})
}
