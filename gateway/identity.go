package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"unicode"

	"voiceroom.dev/voiceroom/gateway/idtoken"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// headerUser names whom a back end with an API key speaks for.
const headerUser = "X-Voiceroom-User"

// Prefixes of subjects. OIDC subjects are made by package idtoken.
const (
	prefixKey   = "key:"
	prefixGuest = "guest:"
)

// maxUser is the longest X-Voiceroom-User in bytes; with a key's name before it it fits an owner.
const maxUser = 128

// caller is who makes a request, proven.
type caller struct {
	subject string // empty only for an API key without a user
	name    string // display name that comes with the identity

	key     string        // the name of the API key that was shown
	ticket  *token.Ticket // that was shown; a guest's among them
	session *token.Room   // the room token that was shown, expired or not
}

func (c caller) guest() bool { return strings.HasPrefix(c.subject, prefixGuest) }

// bearer returns the credential of a request.
func bearer(r *http.Request) (string, error) {
	scheme, credential, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	credential = strings.TrimSpace(credential)
	if !ok || !strings.EqualFold(scheme, "Bearer") || credential == "" {
		return "", refuse(http.StatusUnauthorized, mediaapi.Unauthenticated, "this needs Authorization: Bearer and a credential")
	}
	return credential, nil
}

// identify proves who makes the request.
func (g *Gateway) identify(r *http.Request) (caller, error) {
	credential, err := bearer(r)
	if err != nil {
		return caller{}, err
	}
	switch {
	case token.IsTicket(credential):
		return g.ofTicket(credential)
	case token.IsRoom(credential):
		t, err := g.roomToken(credential, true)
		if err != nil {
			return caller{}, err
		}
		return caller{subject: t.Subject, name: t.Name, session: &t}, nil
	}
	if key, ok := g.cfg.Credentials.APIKeys().Find(credential); ok {
		return ofKey(key, r.Header.Get(headerUser))
	}
	if g.cfg.Credentials.OIDC != nil && strings.Count(credential, ".") == 2 {
		return g.ofIssuer(r.Context(), credential)
	}
	return caller{}, refuse(http.StatusUnauthorized, mediaapi.Unauthenticated, "the credential is not known here")
}

func (g *Gateway) ofTicket(credential string) (caller, error) {
	t, err := g.tickets.Ticket(credential)
	if err != nil {
		return caller{}, g.unverified(err)
	}
	switch {
	case t.Purpose == token.PurposeInvite || t.Subject == "":
		return caller{}, refuse(http.StatusUnauthorized, codeNoIdentity, "an invite goes in the body of a join, beside an identity")
	case t.Purpose == token.PurposeGuest && !g.cfg.Guests.Allow:
		return caller{}, refuse(http.StatusForbidden, codeGuests, "guests are not allowed here")
	}
	return caller{subject: t.Subject, name: t.Name, ticket: &t}, nil
}

func (g *Gateway) ofIssuer(ctx context.Context, credential string) (caller, error) {
	p, err := g.cfg.Credentials.OIDC.Verify(ctx, credential)
	switch {
	case errors.Is(err, idtoken.ErrUnavailable):
		return caller{}, refuse(http.StatusServiceUnavailable, codeIdentity, "the identity provider does not answer").later().because(err)
	case errors.Is(err, idtoken.ErrExpired):
		return caller{}, refuse(http.StatusUnauthorized, mediaapi.TokenExpired, "the ID token has expired")
	case err != nil:
		return caller{}, refuse(http.StatusUnauthorized, mediaapi.Unauthenticated, "the ID token is not one of our issuer for us").because(err)
	}
	return caller{subject: p.Subject, name: p.Name}, nil
}

// ofKey is the user that a back end speaks for with its API key.
func ofKey(key, user string) (caller, error) {
	if user == "" {
		return caller{key: key}, nil
	}
	if len(user) > maxUser || strings.ContainsFunc(user, func(c rune) bool { return !unicode.IsPrint(c) || c == unicode.ReplacementChar }) {
		return caller{}, refuse(http.StatusBadRequest, codeUserRequired, "%s is at most %d bytes of printable text", headerUser, maxUser)
	}
	return caller{subject: prefixKey + key + ":" + user, name: user, key: key}, nil
}

// subjectOf refuses a back end that does not say whom it speaks for.
func subjectOf(c caller) (string, error) {
	if c.subject == "" {
		return "", refuse(http.StatusBadRequest, codeUserRequired, "with an API key, %s must name the user", headerUser)
	}
	return c.subject, nil
}

// roomToken verifies a room token by its own claims; the caller compares room and
// epoch with where it is shown (see place.match).
func (g *Gateway) roomToken(credential string, expired bool) (token.Room, error) {
	claims, err := token.Peek(credential)
	if err != nil {
		return token.Room{}, tokenRefusal(err)
	}
	verify := g.tickets.Room
	if expired {
		verify = g.tickets.RoomExpired
	}
	t, err := verify(credential, claims.RoomUID, claims.Epoch)
	if err != nil {
		return token.Room{}, g.unverified(err)
	}
	return t, nil
}

// unverified says why a token does not count. Before there are keys nothing is known of it.
func (g *Gateway) unverified(err error) *refusal {
	if public := g.cfg.Credentials.Public(); public == nil || len(public.Keys) == 0 {
		return refuse(http.StatusServiceUnavailable, codeKeysNotReady, "the keys are not there yet").later()
	}
	return tokenRefusal(err)
}

func tokenRefusal(err error) *refusal {
	code := mediaapi.TokenCode(err)
	sentences := map[room.Code]string{
		mediaapi.TokenExpired:    "the token has expired",
		mediaapi.TokenUnknownKey: "the token was signed by a key that is not known here",
		mediaapi.TokenSignature:  "the token's signature is wrong",
		mediaapi.TokenAudience:   "the token is meant for something else",
		mediaapi.TokenMalformed:  "the token is malformed",
	}
	return refuse(http.StatusUnauthorized, code, "%s", sentences[code])
}
