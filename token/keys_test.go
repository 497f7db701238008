package token_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/token"
)

var rotation = token.Rotation{Every: 24 * time.Hour, Publish: 10 * time.Minute, Retire: 48 * time.Hour}

func TestFirstKeySignsAtOnce(t *testing.T) {
	h := newHouse(t)
	if len(h.ring.Keys) != 1 || !h.ring.Keys[0].SignFrom.Equal(start) || !h.ring.Keys[0].VerifyUntil.IsZero() {
		t.Errorf("the first ring is %+v", h.ring.Keys)
	}
	if h.rotate(t, rotation) {
		t.Error("rotating again at once changed the ring")
	}
}

// TestRotation follows a ticket and the keys through one rotation.
func TestRotation(t *testing.T) {
	h := newHouse(t)
	first := h.ring.Keys[0].ID
	due := start.Add(rotation.Every - rotation.Publish)
	if got := h.ring.NextRotation(rotation); !got.Equal(due) {
		t.Fatalf("NextRotation %v, want %v", got, due)
	}
	h.now = due.Add(-time.Second)
	if h.rotate(t, rotation) {
		t.Error("rotated before it was due")
	}

	h.now = due
	if !h.rotate(t, rotation) {
		t.Fatal("not rotated although due")
	}
	second := h.ring.Keys[1].ID
	if h.signer(t) != first {
		t.Error("the new key signs although it was only just published")
	}
	if ids := publicIDs(h.ring); !slices.Equal(ids, []string{first, second}) {
		t.Errorf("published %v, want both keys before the new one signs", ids)
	}
	if h.rotate(t, rotation) {
		t.Error("a ring that was just rotated was rotated again")
	}

	published := h.ring.Public()
	h.now = due.Add(rotation.Publish)
	if h.signer(t) != second {
		t.Error("the new key does not sign when its time has come")
	}
	h.public = published // a verifier that has heard nothing since the publication
	if _, err := h.Verifier.Ticket(h.ticket(t)); err != nil {
		t.Errorf("a ticket of the new key at a verifier that knows it since its publication: %v", err)
	}
	h.public = nil

	// What the first key signed last is verified to its end, and not beyond the key's.
	h.now = due.Add(rotation.Publish - time.Second)
	last := token.Ticket{Purpose: token.PurposeHost, Subject: "s", ExpiresAt: h.now.Add(rotation.Retire)}
	longest, err := h.Minter.Ticket(last)
	if err != nil {
		t.Fatal(err)
	}
	h.now = last.ExpiresAt
	if _, err := h.Verifier.Ticket(longest); err != nil {
		t.Errorf("the last ticket of the old key at its expiry: %v", err)
	}
	retired := h.ring.Keys[0].VerifyUntil
	h.now = retired.Add(time.Second)
	if _, err := h.Verifier.Ticket(longest); !errors.Is(err, token.ErrUnknownKey) {
		t.Errorf("a ticket of a retired key: %v, want ErrUnknownKey", err)
	}
	if !h.rotate(t, rotation) || slices.Contains(publicIDs(h.ring), first) {
		t.Errorf("the retired key is still in the ring: %v", publicIDs(h.ring))
	}
}

// TestRotateAfterALongStop: an operator that was down past every rotation makes
// one new key, and keeps signing with the old one until that is known.
func TestRotateAfterALongStop(t *testing.T) {
	h := newHouse(t)
	first := h.ring.Keys[0].ID
	h.now = start.Add(100 * rotation.Every)
	if !h.rotate(t, rotation) || len(h.ring.Keys) != 2 {
		t.Fatalf("the ring has %d keys, want 2", len(h.ring.Keys))
	}
	if h.signer(t) != first {
		t.Error("signs with a key that nobody knows yet")
	}
	h.now = h.now.Add(rotation.Publish)
	if h.signer(t) == first {
		t.Error("still signs with the old key")
	}
}

func TestNextRotationDropsRetiredKeys(t *testing.T) {
	h := newHouse(t)
	h.now = start.Add(rotation.Every - rotation.Publish)
	h.rotate(t, token.Rotation{Every: rotation.Every, Publish: rotation.Publish, Retire: time.Hour})
	if got, want := h.ring.NextRotation(rotation), h.ring.Keys[0].VerifyUntil; !got.Equal(want) {
		t.Errorf("NextRotation %v, want %v, when the old key retires", got, want)
	}
	if got := (*token.Ring)(nil).NextRotation(rotation); !got.IsZero() {
		t.Errorf("NextRotation without a ring %v, want at once", got)
	}
}

func TestRotateReportsMissingRandomness(t *testing.T) {
	if _, _, err := (*token.Ring)(nil).Rotate(start, rotation, bytes.NewReader(nil)); err == nil {
		t.Error("made a key out of nothing")
	}
}

func TestRingRoundTrip(t *testing.T) {
	h := newHouse(t)
	h.now = start.Add(rotation.Every)
	h.rotate(t, rotation)
	b, err := h.ring.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := token.ParseRing(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(h.ring, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPublicHalvesHoldNoSecret looks for every private byte in what is published.
func TestPublicHalvesHoldNoSecret(t *testing.T) {
	h := newHouse(t)
	b, err := h.ring.Public().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := json.Marshal(h.ring.Keys[0].Seed)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, bytes.Trim(seed, `"=`)) || bytes.Contains(b, []byte(`"d"`)) {
		t.Errorf("the key set holds a private half: %s", b)
	}
	parsed, err := token.ParsePublicSet(b)
	if diff := cmp.Diff(h.ring.Public(), parsed); err != nil || diff != "" {
		t.Errorf("parsing what was published: %v (-want +got):\n%s", err, diff)
	}
}

func TestParseRingRefuses(t *testing.T) {
	const secret = "c2VjcmV0LXNlZWQ="
	for name, in := range map[string]string{
		"no JSON":      `{"keys":[{"seed":"` + secret,
		"short seed":   `{"keys":[{"kid":"a","seed":"` + secret + `"}]}`,
		"no kid":       `{"keys":[{"seed":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}`,
		"another type": `{"keys":"` + secret + `"}`,
	} {
		_, err := token.ParseRing([]byte(in))
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error quotes key material: %v", name, err)
		}
	}
}

func TestParsePublicSetRefuses(t *testing.T) {
	const x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" // RFC 8037, appendix A.2
	for name, in := range map[string]string{
		"no JSON":         `{`,
		"an RSA key":      `{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}`,
		"another curve":   `{"keys":[{"kty":"OKP","crv":"X25519","kid":"a","x":"` + x + `"}]}`,
		"a symmetric key": `{"keys":[{"kty":"oct","kid":"a","k":"AQAB"}]}`,
		"no kid":          `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + x + `"}]}`,
		"a short key":     `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AQAB"}]}`,
		"not base64url":   `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"+/=="}]}`,
	} {
		if _, err := token.ParsePublicSet([]byte(in)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	good := `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"` + x + `"}]}`
	if _, err := token.ParsePublicSet([]byte(good)); err != nil {
		t.Errorf("RFC 8037's key: %v", err)
	}
}

func FuzzParseRing(f *testing.F) {
	ring, _, err := (*token.Ring)(nil).Rotate(start, rotation, rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	seed, err := ring.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"keys":null}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, in []byte) {
		ring, err := token.ParseRing(in)
		if err != nil {
			return
		}
		out, err := ring.Marshal()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := token.ParseRing(out)
		if diff := cmp.Diff(ring, again); err != nil || diff != "" {
			t.Errorf("round trip: %v (-want +got):\n%s", err, diff)
		}
		set, err := ring.Public().Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := token.ParsePublicSet(set); err != nil {
			t.Errorf("the public halves of a good ring: %v", err)
		}
	})
}

func FuzzParsePublicSet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","exp":9}]}`))
	f.Add([]byte(`{"keys":[]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, in []byte) {
		set, err := token.ParsePublicSet(in)
		if err != nil {
			return
		}
		out, err := set.Marshal()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := token.ParsePublicSet(out)
		if diff := cmp.Diff(set, again); err != nil || diff != "" {
			t.Errorf("round trip: %v (-want +got):\n%s", err, diff)
		}
	})
}

// signer is the ID of the key that signs now.
func (h *house) signer(t *testing.T) string {
	t.Helper()
	signed := h.ticket(t)
	for _, key := range h.ring.Public().Keys {
		alone := token.NewVerifier(func() *token.PublicSet { return &token.PublicSet{Keys: []token.JWK{key}} }, func() time.Time { return h.now })
		if _, err := alone.Ticket(signed); err == nil {
			return key.ID
		}
	}
	t.Fatal("no published key verifies a new ticket")
	return ""
}

func (h *house) ticket(t *testing.T) string {
	t.Helper()
	s, err := h.Minter.Ticket(token.Ticket{Purpose: token.PurposeHost, Subject: "s", ExpiresAt: h.now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publicIDs(r *token.Ring) []string {
	var ids []string
	for _, k := range r.Public().Keys {
		ids = append(ids, k.ID)
	}
	return ids
}
