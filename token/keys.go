package token

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrNoKey says that a ring has no key that may sign now.
var ErrNoKey = errors.New("no signing key yet")

// Key is one private key with the times between which it signs and is verified.
type Key struct {
	ID          string             `json:"kid"`
	Private     ed25519.PrivateKey `json:"-"`
	Seed        []byte             `json:"seed"`
	SignFrom    time.Time          `json:"signFrom"`    // published before, signs from here on
	VerifyUntil time.Time          `json:"verifyUntil"` // zero: not retired yet
}

// Ring is an immutable list of private keys, oldest first, as kept in a Secret.
type Ring struct {
	Keys []Key `json:"keys"`
}

// Rotation says how keys follow each other.
type Rotation struct {
	Every   time.Duration // a new key is made this long after the newest one signs
	Publish time.Duration // how long a new key is published before it signs
	Retire  time.Duration // how long a key is verified after it stopped signing
}

// DefaultRotation makes a new key every 30 days, published 10 minutes before it
// signs (a ConfigMap reaches its pods within a minute or two). Retire is as long
// as the longest ticket may live.
var DefaultRotation = Rotation{Every: 30 * 24 * time.Hour, Publish: 10 * time.Minute, Retire: 31 * 24 * time.Hour}

// ParseRing reads what Marshal wrote.
func ParseRing(b []byte) (*Ring, error) {
	var r Ring
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, errors.New("key ring is not valid JSON") // the error would quote key material
	}
	for i, k := range r.Keys {
		if len(k.Seed) != ed25519.SeedSize || k.ID == "" {
			return nil, fmt.Errorf("key %d of the ring is malformed", i)
		}
		r.Keys[i].Private = ed25519.NewKeyFromSeed(k.Seed)
	}
	return &r, nil
}

// Marshal writes the ring, private halves included.
func (r *Ring) Marshal() ([]byte, error) { return json.Marshal(r) }

// Rotate returns the ring as it should be at now, and whether that differs from
// r: a first key that signs at once, a next key when the newest is due, keys
// dropped when nothing signed by them can be valid. A nil ring is empty.
func (r *Ring) Rotate(now time.Time, rot Rotation, rand io.Reader) (*Ring, bool, error) {
	next, changed := &Ring{}, false
	var newest time.Time
	if r != nil {
		for _, k := range r.Keys {
			if !k.VerifyUntil.IsZero() && now.After(k.VerifyUntil) {
				changed = true
				continue
			}
			next.Keys = append(next.Keys, k)
			newest = k.SignFrom
		}
	}
	switch {
	case len(next.Keys) == 0:
		return next, true, next.add(now, rand)
	case now.Before(newest.Add(rot.Every - rot.Publish)):
		return next, changed, nil
	}
	from := now.Add(rot.Publish)
	last := &next.Keys[len(next.Keys)-1]
	last.VerifyUntil = from.Add(rot.Retire)
	return next, true, next.add(from, rand)
}

// NextRotation is when Rotate may next change something.
func (r *Ring) NextRotation(rot Rotation) time.Time {
	if r == nil || len(r.Keys) == 0 {
		return time.Time{}
	}
	at := r.Keys[len(r.Keys)-1].SignFrom.Add(rot.Every - rot.Publish)
	for _, k := range r.Keys {
		if !k.VerifyUntil.IsZero() && k.VerifyUntil.Before(at) {
			at = k.VerifyUntil
		}
	}
	return at
}

func (r *Ring) add(from time.Time, rand io.Reader) error {
	seed := make([]byte, ed25519.SeedSize+8)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	id := base64.RawURLEncoding.EncodeToString(seed[ed25519.SeedSize:])
	seed = seed[:ed25519.SeedSize]
	r.Keys = append(r.Keys, Key{ID: id, Seed: seed, Private: ed25519.NewKeyFromSeed(seed), SignFrom: from.UTC()})
	return nil
}

func (r *Ring) signing(now time.Time) (Key, error) {
	if r != nil {
		for i := len(r.Keys) - 1; i >= 0; i-- {
			if !now.Before(r.Keys[i].SignFrom) {
				return r.Keys[i], nil
			}
		}
	}
	return Key{}, ErrNoKey
}

// Public returns the public halves.
func (r *Ring) Public() *PublicSet {
	s := &PublicSet{}
	if r == nil {
		return s
	}
	for _, k := range r.Keys {
		jwk := JWK{KeyType: "OKP", Curve: "Ed25519", ID: k.ID, Use: "sig", Algorithm: "EdDSA",
			X: base64.RawURLEncoding.EncodeToString(k.Private.Public().(ed25519.PublicKey))}
		if !k.VerifyUntil.IsZero() {
			jwk.Expires = k.VerifyUntil.Unix()
		}
		s.Keys = append(s.Keys, jwk)
	}
	return s
}

// JWK is one public key (RFC 8037, section 2).
type JWK struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv"`
	ID        string `json:"kid"`
	Use       string `json:"use,omitempty"`
	Algorithm string `json:"alg,omitempty"`
	X         string `json:"x"`
	Expires   int64  `json:"exp,omitempty"` // seconds since 1970; nothing signed by it is valid after
}

// PublicSet is a JWKS (RFC 7517, section 5). Immutable once in use.
type PublicSet struct {
	Keys []JWK `json:"keys"`
}

// ParsePublicSet reads a JWKS; keys of other types than Ed25519 are refused.
func ParsePublicSet(b []byte) (*PublicSet, error) {
	var s PublicSet
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("reading a key set: %w", err)
	}
	for _, k := range s.Keys {
		if _, err := k.public(); err != nil {
			return nil, fmt.Errorf("key %q: %w", k.ID, err)
		}
	}
	return &s, nil
}

// Marshal writes the JWKS.
func (s *PublicSet) Marshal() ([]byte, error) { return json.Marshal(s) }

func (k JWK) public() (ed25519.PublicKey, error) {
	if k.KeyType != "OKP" || k.Curve != "Ed25519" || k.ID == "" {
		return nil, errors.New("not an Ed25519 key with a kid")
	}
	x, err := base64.RawURLEncoding.DecodeString(k.X)
	if err != nil || len(x) != ed25519.PublicKeySize {
		return nil, errors.New("public key malformed")
	}
	return x, nil
}

func (s *PublicSet) find(kid string, now time.Time) (ed25519.PublicKey, bool) {
	if s == nil || kid == "" {
		return nil, false
	}
	for _, k := range s.Keys {
		if k.ID != kid || (k.Expires != 0 && now.Unix() > k.Expires) {
			continue
		}
		pub, err := k.public()
		return pub, err == nil
	}
	return nil, false
}
