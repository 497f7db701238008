// Package token mints and verifies the three kinds of signed credentials.
//
//   - A Ticket says who may ask to join. It lives as long as its purpose and is
//     exchanged for a room token at the gateway, through admission.
//   - A room token (Room) opens one session in one epoch of one room, once.
//     It lives 60 s: time to start associating, not to stay.
//   - A Caller token proves to one media pod that the operator or a gateway calls.
//
// All are JWTs (RFC 7519) signed with Ed25519 (RFC 8037), with a kid. The kinds
// differ in the typ header and the audience (RFC 8725, sections 3.9 and 3.11), so
// that one is never taken for another. The algorithm is fixed by us, never by the
// token.
//
// Private keys are a Ring (a Secret); public halves are a JWKS (RFC 7517). A key is
// published before it signs and is verified until the last token that it signed
// has expired.
package token

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MaxSize is the longest token in bytes that is looked at (CVE-2025-30204).
const MaxSize = 4096

// RoomTTL is how long a room token may open its session.
const RoomTTL = 60 * time.Second

// CallerTTL is how long a caller's token lives.
const CallerTTL = 60 * time.Second

// leeway between the clocks of the machine that mints and the one that verifies.
const leeway = 5 * time.Second

// Values of the typ header.
const (
	typTicket = "vr-ticket+jwt"
	typRoom   = "vr-room+jwt"
	typCaller = "vr-caller+jwt"
)

// audGateway is the audience of every ticket.
const audGateway = "voiceroom-gateway"

// The reasons why a token is refused. Errors of Verifier wrap one of them and
// never hold the token.
var (
	ErrMalformed  = errors.New("token malformed")
	ErrUnknownKey = errors.New("token signed by an unknown key")
	ErrSignature  = errors.New("token signature wrong")
	ErrExpired    = errors.New("token expired")
	ErrAudience   = errors.New("token meant for another audience")
)

// Purpose says what a ticket was minted for.
type Purpose string

// Ticket purposes.
const (
	PurposeHost   Purpose = "host"   // the owner's, in the room's Secret
	PurposeJoin   Purpose = "join"   // a granted JoinRequest
	PurposeInvite Purpose = "invite" // an invite link: no identity, only a way in
	PurposeGuest  Purpose = "guest"  // an identity that the gateway made: no room
)

// Ticket says who may ask to join what.
type Ticket struct {
	ID        string // jti, set by Mint
	Purpose   Purpose
	Subject   string // empty for an invite
	Name      string // display name
	Room      string // namespace/name; empty for a guest's identity
	RoomUID   string
	Role      string // room.Role; empty: the default
	Uses      int    // how many an invite lets in at most; 0: no limit
	For       string // the only subject that an invite lets in; empty: anybody
	IssuedAt  time.Time
	ExpiresAt time.Time
	Key       string // ID of the key that signed it, set by Verifier
}

// Room opens one session in one epoch of one room.
type Room struct {
	RoomUID string
	Epoch   uint64
	Subject string
	Session string // also the jti: one use
	Member  uint32 // whose session it is: it resumes no other membership of the subject
	Group   string
	Role    string
	Name    string
	// Keys are the IDs of the keys that signed what it was granted for. It is worth nothing
	// without them: a stolen key is not outlived by what it was exchanged for.
	Keys      []string
	ExpiresAt time.Time
	Key       string // ID of the key that signed it, set by Verifier
}

// Proofs are the IDs of all keys that vouch for a verified token's subject.
func (r Room) Proofs() []string {
	if slices.Contains(r.Keys, r.Key) {
		return r.Keys
	}
	return append(slices.Clone(r.Keys), r.Key)
}

// Caller names of control callers.
const (
	CallerOperator = "operator"
	CallerGateway  = "gateway"
)

// Caller proves who calls a media pod's control API.
type Caller struct {
	Name   string // CallerOperator or CallerGateway
	PodUID string
}

// claims is the wire form of all three kinds.
type claims struct {
	jwt.RegisteredClaims
	Purpose Purpose `json:"pur,omitempty"`
	Uses    int     `json:"uses,omitempty"`
	For     string  `json:"for,omitempty"`
	// Millis is IssuedAt in milliseconds since 1970: an invitation that was made right
	// after a kick or a reset is newer than it.
	Millis  int64    `json:"ims,omitempty"`
	Room    string   `json:"room,omitempty"`
	RoomUID string   `json:"ruid,omitempty"`
	Group   string   `json:"grp,omitempty"`
	Role    string   `json:"role,omitempty"`
	Name    string   `json:"name,omitempty"`
	Epoch   uint64   `json:"epoch,omitempty"`
	Member  uint32   `json:"mem,omitempty"`
	Keys    []string `json:"keys,omitempty"`

	key string // of the header: what verified it
}

func roomAudience(uid string, epoch uint64) string { return fmt.Sprintf("room:%s#%d", uid, epoch) }
func podAudience(uid string) string                { return "pod:" + uid }

// Minter signs with the newest key of a ring that may sign. Safe for concurrent use.
type Minter struct {
	ring func() *Ring
	now  func() time.Time
	rand io.Reader
}

// NewMinter reads the ring anew for each token, so that a rotated ring is used at
// once. rand makes ticket IDs.
func NewMinter(ring func() *Ring, now func() time.Time, rand io.Reader) *Minter {
	return &Minter{ring: ring, now: now, rand: rand}
}

// Ticket mints t; ID and IssuedAt are set here. ExpiresAt must be set.
func (m *Minter) Ticket(t Ticket) (string, error) {
	id := make([]byte, 16)
	if _, err := io.ReadFull(m.rand, id); err != nil {
		return "", fmt.Errorf("minting a ticket: %w", err)
	}
	c := claims{Purpose: t.Purpose, Room: t.Room, RoomUID: t.RoomUID, Role: t.Role, Name: t.Name, Uses: t.Uses, For: t.For,
		Millis: m.now().UnixMilli()}
	c.ID, c.Subject, c.Audience = fmt.Sprintf("%x", id), t.Subject, jwt.ClaimStrings{audGateway}
	return m.sign(typTicket, c, t.ExpiresAt)
}

// Room mints r; ExpiresAt is set to RoomTTL from now when zero.
func (m *Minter) Room(r Room) (string, error) {
	if r.ExpiresAt.IsZero() {
		r.ExpiresAt = m.now().Add(RoomTTL)
	}
	c := claims{RoomUID: r.RoomUID, Group: r.Group, Role: r.Role, Name: r.Name, Epoch: r.Epoch, Member: r.Member, Keys: r.Keys}
	c.ID, c.Subject, c.Audience = r.Session, r.Subject, jwt.ClaimStrings{roomAudience(r.RoomUID, r.Epoch)}
	return m.sign(typRoom, c, r.ExpiresAt)
}

// Caller mints a token that one media pod accepts for CallerTTL.
func (m *Minter) Caller(c Caller) (string, error) {
	var cl claims
	cl.Subject, cl.Audience = c.Name, jwt.ClaimStrings{podAudience(c.PodUID)}
	return m.sign(typCaller, cl, m.now().Add(CallerTTL))
}

func (m *Minter) sign(typ string, c claims, expires time.Time) (string, error) {
	now := m.now()
	key, err := m.ring().signing(now)
	if err != nil {
		return "", fmt.Errorf("minting a token: %w", err)
	}
	c.IssuedAt, c.ExpiresAt = jwt.NewNumericDate(now), jwt.NewNumericDate(expires)
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	t.Header["typ"], t.Header["kid"] = typ, key.ID
	s, err := t.SignedString(key.Private)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return s, nil
}

// Verifier checks tokens against public keys. Safe for concurrent use.
type Verifier struct {
	keys func() *PublicSet
	now  func() time.Time
}

// NewVerifier reads the key set anew for each token.
func NewVerifier(keys func() *PublicSet, now func() time.Time) *Verifier {
	return &Verifier{keys: keys, now: now}
}

// Ticket verifies a ticket.
func (v *Verifier) Ticket(s string) (Ticket, error) { return v.ticket(s, false) }

// TicketExpired is Ticket that also accepts a ticket past its expiry, for the end
// of a session that it opened.
func (v *Verifier) TicketExpired(s string) (Ticket, error) { return v.ticket(s, true) }

func (v *Verifier) ticket(s string, expired bool) (Ticket, error) {
	c, err := v.verify(s, typTicket, audGateway, expired)
	if err != nil {
		return Ticket{}, err
	}
	issued := c.IssuedAt.Time
	if c.Millis != 0 {
		issued = time.UnixMilli(c.Millis)
	}
	return Ticket{ID: c.ID, Purpose: c.Purpose, Subject: c.Subject, Name: c.Name, Room: c.Room, RoomUID: c.RoomUID,
		Role: c.Role, Uses: c.Uses, For: c.For, IssuedAt: issued, ExpiresAt: c.ExpiresAt.Time, Key: c.key}, nil
}

// Room verifies a room token for one epoch of one room.
func (v *Verifier) Room(s, roomUID string, epoch uint64) (Room, error) {
	return v.room(s, roomUID, epoch, false)
}

// RoomExpired is Room that also accepts a token past its expiry: whoever opened a
// session may end or restart it for as long as it lives.
func (v *Verifier) RoomExpired(s, roomUID string, epoch uint64) (Room, error) {
	return v.room(s, roomUID, epoch, true)
}

func (v *Verifier) room(s, roomUID string, epoch uint64, expired bool) (Room, error) {
	c, err := v.verify(s, typRoom, roomAudience(roomUID, epoch), expired)
	if err != nil {
		return Room{}, err
	}
	keys, now := v.keys(), v.now()
	for _, id := range c.Keys {
		if _, known := keys.find(id, now); !known {
			return Room{}, ErrUnknownKey
		}
	}
	return Room{RoomUID: c.RoomUID, Epoch: c.Epoch, Subject: c.Subject, Session: c.ID, Member: c.Member, Group: c.Group, Role: c.Role,
		Name: c.Name, Keys: c.Keys, ExpiresAt: c.ExpiresAt.Time, Key: c.key}, nil
}

// Caller verifies that s lets its bearer call the pod.
func (v *Verifier) Caller(s, podUID string) (Caller, error) {
	c, err := v.verify(s, typCaller, podAudience(podUID), false)
	if err != nil {
		return Caller{}, err
	}
	return Caller{Name: c.Subject, PodUID: podUID}, nil
}

// IsTicket tells, without verifying anything, whether s claims to be a ticket.
func IsTicket(s string) bool { return typOf(s) == typTicket }

// IsRoom tells, without verifying anything, whether s claims to be a room token.
func IsRoom(s string) bool { return typOf(s) == typRoom }

// Peek returns the claims of a room token without verifying it: which room,
// epoch and session it is about. For routing only.
func Peek(s string) (Room, error) {
	if len(s) > MaxSize {
		return Room{}, ErrMalformed
	}
	var c claims
	if _, _, err := jwt.NewParser().ParseUnverified(s, &c); err != nil {
		return Room{}, ErrMalformed
	}
	return Room{RoomUID: c.RoomUID, Epoch: c.Epoch, Subject: c.Subject, Session: c.ID, Member: c.Member, Group: c.Group, Role: c.Role,
		Name: c.Name}, nil
}

func typOf(s string) string {
	if len(s) > MaxSize {
		return ""
	}
	t, _, err := jwt.NewParser().ParseUnverified(s, &claims{})
	if err != nil {
		return ""
	}
	typ, _ := t.Header["typ"].(string)
	return typ
}

func (v *Verifier) verify(s, typ, aud string, expired bool) (*claims, error) {
	if s == "" || len(s) > MaxSize {
		return nil, ErrMalformed
	}
	opts := []jwt.ParserOption{jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithAudience(aud),
		jwt.WithTimeFunc(v.now), jwt.WithLeeway(leeway), jwt.WithExpirationRequired()}
	if expired { // the clock of a time before every token: none has expired
		opts = append(opts, jwt.WithTimeFunc(func() time.Time { return time.Time{}.Add(time.Second) }))
	}
	now := v.now()
	var c claims
	t, err := jwt.NewParser(opts...).ParseWithClaims(s, &c, func(t *jwt.Token) (any, error) {
		c.key, _ = t.Header["kid"].(string)
		key, ok := v.keys().find(c.key, now)
		if !ok {
			return nil, ErrUnknownKey
		}
		return key, nil
	})
	if err != nil {
		return nil, reason(err)
	}
	if t.Header["typ"] != typ || c.IssuedAt == nil {
		return nil, ErrAudience
	}
	return &c, nil
}

// reason maps the library's errors to ours. The order matters: a wrong signature
// says nothing about the claims.
func reason(err error) error {
	switch {
	case errors.Is(err, ErrUnknownKey):
		return ErrUnknownKey
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return ErrSignature
	case errors.Is(err, jwt.ErrTokenExpired):
		return ErrExpired
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return ErrAudience
	}
	return ErrMalformed
}
