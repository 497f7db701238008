package token_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/token"
)

var start = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

// house is one ring with its minter and verifier, on a clock that the test sets.
type house struct {
	now    time.Time
	ring   *token.Ring
	public *token.PublicSet // what the verifier was told; nil: the ring's at any time
	*token.Minter
	*token.Verifier
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{now: start}
	h.rotate(t, token.DefaultRotation)
	clock := func() time.Time { return h.now }
	h.Minter = token.NewMinter(func() *token.Ring { return h.ring }, clock, rand.Reader)
	h.Verifier = token.NewVerifier(func() *token.PublicSet {
		if h.public != nil {
			return h.public
		}
		return h.ring.Public()
	}, clock)
	return h
}

func (h *house) rotate(t testing.TB, rot token.Rotation) (changed bool) {
	t.Helper()
	ring, changed, err := h.ring.Rotate(h.now, rot, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h.ring = ring
	return changed
}

var (
	aTicket = token.Ticket{Purpose: token.PurposeJoin, Subject: "key:backend:alice", Name: "Alice", Room: "demo/lobby",
		RoomUID: "r-1", Role: "co-host", Uses: 3, For: "key:backend:bob", ExpiresAt: start.Add(time.Hour)}
	aRoom = token.Room{RoomUID: "r-1", Epoch: 3, Subject: "key:backend:alice", Session: "s-1", Member: 12, Group: "g-1", Role: "speaker",
		Name: "Alice", ExpiresAt: start.Add(time.Minute)}
	aCaller = token.Caller{Name: token.CallerGateway, PodUID: "p-1"}
)

func (h *house) mintAll(t testing.TB) (ticket, room, caller string) {
	t.Helper()
	var errs [3]error
	ticket, errs[0] = h.Minter.Ticket(aTicket)
	room, errs[1] = h.Minter.Room(aRoom)
	caller, errs[2] = h.Minter.Caller(aCaller)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return ticket, room, caller
}

// roomVerified is what the verifier makes of aRoom.
func (h *house) roomVerified() token.Room {
	r := aRoom
	r.Key = h.ring.Keys[0].ID
	return r
}

func TestRoundTrip(t *testing.T) {
	h := newHouse(t)
	ticket, room, caller := h.mintAll(t)

	gotTicket, err := h.Verifier.Ticket(ticket)
	if err != nil {
		t.Fatal(err)
	}
	want := aTicket
	want.ID, want.IssuedAt, want.Key = gotTicket.ID, start, h.ring.Keys[0].ID
	if diff := cmp.Diff(want, gotTicket); diff != "" || len(gotTicket.ID) != 32 {
		t.Errorf("ticket, ID %q (-want +got):\n%s", gotTicket.ID, diff)
	}
	gotRoom, err := h.Verifier.Room(room, "r-1", 3)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(h.roomVerified(), gotRoom); diff != "" {
		t.Errorf("room token (-want +got):\n%s", diff)
	}
	gotCaller, err := h.Verifier.Caller(caller, "p-1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(aCaller, gotCaller); diff != "" {
		t.Errorf("caller's token (-want +got):\n%s", diff)
	}
	peeked, err := token.Peek(room)
	want2 := aRoom
	want2.ExpiresAt = time.Time{}
	if diff := cmp.Diff(want2, peeked); err != nil || diff != "" {
		t.Errorf("Peek: %v (-want +got):\n%s", err, diff)
	}
}

// A room token is worth nothing without every key that vouches for it.
func TestRoomTokenEndsWithItsProofs(t *testing.T) {
	h := newHouse(t)
	mint := func(keys ...string) token.Room {
		t.Helper()
		r := aRoom
		r.Keys = keys
		signed, err := h.Minter.Room(r)
		if err != nil {
			t.Fatal(err)
		}
		for name, verify := range map[string]func(string, string, uint64) (token.Room, error){"fresh": h.Verifier.Room, "late": h.RoomExpired} {
			got, err := verify(signed, "r-1", 3)
			if known := !slices.Contains(keys, "gone"); known != (err == nil) || !known && !errors.Is(err, token.ErrUnknownKey) {
				t.Errorf("%s, vouched for by %q: %v", name, keys, err)
			}
			r = got
		}
		return r
	}
	own := h.ring.Keys[0].ID
	mint("gone")
	mint(own, "gone")
	for _, keys := range [][]string{nil, {own}} {
		if got := mint(keys...).Proofs(); !slices.Equal(got, []string{own}) {
			t.Errorf("the proofs of a token vouched for by %q are %q", keys, got)
		}
	}
}

func TestTicketsOfOneMinterDiffer(t *testing.T) {
	h := newHouse(t)
	a, _, _ := h.mintAll(t)
	b, _, _ := h.mintAll(t)
	if a == b {
		t.Error("two tickets with the same claims are the same string: their IDs do not differ")
	}
}

// TestKindsAreNeverConfused offers each kind wherever another is wanted, also
// when the audience was forged to fit: typ decides too (RFC 8725, section 3.11).
func TestKindsAreNeverConfused(t *testing.T) {
	h := newHouse(t)
	ticket, room, caller := h.mintAll(t)
	accepts := map[string]func(string) error{
		"ticket": func(s string) error { _, err := h.Verifier.Ticket(s); return err },
		"old":    func(s string) error { _, err := h.TicketExpired(s); return err },
		"room":   func(s string) error { _, err := h.Verifier.Room(s, "r-1", 3); return err },
		"late":   func(s string) error { _, err := h.RoomExpired(s, "r-1", 3); return err },
		"caller": func(s string) error { _, err := h.Verifier.Caller(s, "p-1"); return err },
	}
	audiences := map[string]string{"ticket": "voiceroom-gateway", "old": "voiceroom-gateway", "room": "room:r-1#3", "late": "room:r-1#3", "caller": "pod:p-1"}
	typs := map[string]string{"ticket": "vr-ticket+jwt", "room": "vr-room+jwt", "caller": "vr-caller+jwt"}
	for kind, minted := range map[string]string{"ticket": ticket, "room": room, "caller": caller} {
		for wanted, accept := range accepts {
			if kind == wanted || kind == "room" && wanted == "late" || kind == "ticket" && wanted == "old" {
				if err := accept(minted); err != nil {
					t.Errorf("%s refused as %s: %v", kind, wanted, err)
				}
				continue
			}
			if err := accept(minted); !errors.Is(err, token.ErrAudience) {
				t.Errorf("%s offered as %s: %v, want ErrAudience", kind, wanted, err)
			}
			forged := h.forge(t, func(tok *jwt.Token, c jwt.MapClaims) { tok.Header["typ"], c["aud"] = typs[kind], audiences[wanted] })
			if err := accept(forged); !errors.Is(err, token.ErrAudience) {
				t.Errorf("%s with the audience of %s: %v, want ErrAudience", kind, wanted, err)
			}
		}
	}
	if !token.IsTicket(ticket) || token.IsTicket(room) || token.IsTicket(caller) || token.IsTicket("x") {
		t.Error("IsTicket is wrong about a kind")
	}
	if !token.IsRoom(room) || token.IsRoom(ticket) || token.IsRoom(caller) || token.IsRoom("") {
		t.Error("IsRoom is wrong about a kind")
	}
}

// forge signs a ticket with the house's real key after change was at it.
func (h *house) forge(t testing.TB, change func(*jwt.Token, jwt.MapClaims)) string {
	t.Helper()
	c := jwt.MapClaims{"aud": "voiceroom-gateway", "iat": h.now.Unix(), "exp": h.now.Add(time.Minute).Unix(), "sub": "mallory"}
	tok := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	tok.Header["typ"], tok.Header["kid"] = "vr-ticket+jwt", h.ring.Keys[0].ID
	change(tok, c)
	var key any = h.ring.Keys[0].Private
	switch tok.Method {
	case jwt.SigningMethodNone:
		key = jwt.UnsafeAllowNoneSignatureType
	case jwt.SigningMethodHS256:
		key = []byte(h.ring.Keys[0].Private.Public().(ed25519.PublicKey))
	}
	s, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestForgeries(t *testing.T) {
	h := newHouse(t)
	other := newHouse(t)
	ticket, _, _ := h.mintAll(t)
	foreign, _, _ := other.mintAll(t)
	parts := strings.Split(ticket, ".")
	foreignParts := strings.Split(foreign, ".")
	algorithm := func(m jwt.SigningMethod) func(*jwt.Token, jwt.MapClaims) {
		return func(tok *jwt.Token, _ jwt.MapClaims) { tok.Method, tok.Header["alg"] = m, m.Alg() }
	}
	without := func(claim string) func(*jwt.Token, jwt.MapClaims) {
		return func(_ *jwt.Token, c jwt.MapClaims) { delete(c, claim) }
	}
	for _, tt := range []struct {
		name, token string
		want        error
	}{
		{"nothing changed", h.forge(t, func(*jwt.Token, jwt.MapClaims) {}), nil},
		{"alg none", h.forge(t, algorithm(jwt.SigningMethodNone)), token.ErrSignature},
		{"HS256 keyed with the public key", h.forge(t, algorithm(jwt.SigningMethodHS256)), token.ErrSignature},
		{"alg says EdDSA, no signature", parts[0] + "." + parts[1] + ".", token.ErrSignature},
		{"another house's kid", foreign, token.ErrUnknownKey},
		{"no kid", h.forge(t, func(tok *jwt.Token, _ jwt.MapClaims) { delete(tok.Header, "kid") }), token.ErrUnknownKey},
		{"kid is no string", h.forge(t, func(tok *jwt.Token, _ jwt.MapClaims) { tok.Header["kid"] = 7 }), token.ErrUnknownKey},
		{"our header, another house's signature", parts[0] + "." + parts[1] + "." + foreignParts[2], token.ErrSignature},
		{"claims changed", parts[0] + "." + edit(t, parts[1], "sub", "mallory") + "." + parts[2], token.ErrSignature},
		{"no audience", h.forge(t, without("aud")), token.ErrMalformed},
		{"no expiry", h.forge(t, without("exp")), token.ErrMalformed},
		{"no time of issue", h.forge(t, without("iat")), token.ErrAudience},
		{"no typ", h.forge(t, func(tok *jwt.Token, _ jwt.MapClaims) { delete(tok.Header, "typ") }), token.ErrAudience},
		{"empty", "", token.ErrMalformed},
		{"one part", "abc", token.ErrMalformed},
		{"a thousand parts", strings.Repeat(".", 1000), token.ErrMalformed},
		{"too long", h.forge(t, func(_ *jwt.Token, c jwt.MapClaims) { c["name"] = strings.Repeat("a", token.MaxSize) }), token.ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := h.Verifier.Ticket(tt.token)
			if !errors.Is(err, tt.want) {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			if err != nil && len(tt.token) > 20 && strings.Contains(err.Error(), tt.token[:20]) {
				t.Errorf("the error quotes the token: %v", err)
			}
		})
	}
}

// edit changes one claim of an encoded payload.
func edit(t *testing.T, payload, claim, value string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	c[claim] = value
	if b, err = json.Marshal(c); err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func TestAudience(t *testing.T) {
	h := newHouse(t)
	_, room, caller := h.mintAll(t)
	for _, tt := range []struct {
		name  string
		uid   string
		epoch uint64
		want  error
	}{
		{"its room and epoch", "r-1", 3, nil},
		{"another room", "r-2", 3, token.ErrAudience},
		{"an older epoch", "r-1", 2, token.ErrAudience},
		{"a newer epoch", "r-1", 4, token.ErrAudience},
		{"an epoch that begins alike", "r-1", 31, token.ErrAudience},
		{"a UID that takes the epoch in", "r-1#3", 0, token.ErrAudience},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := h.Verifier.Room(room, tt.uid, tt.epoch); !errors.Is(err, tt.want) {
				t.Errorf("Room: %v, want %v", err, tt.want)
			}
			if _, err := h.RoomExpired(room, tt.uid, tt.epoch); !errors.Is(err, tt.want) {
				t.Errorf("RoomExpired: %v, want %v", err, tt.want)
			}
		})
	}
	if _, err := h.Verifier.Caller(caller, "p-2"); !errors.Is(err, token.ErrAudience) {
		t.Errorf("a caller's token at another pod: %v, want ErrAudience", err)
	}
}

func TestExpiry(t *testing.T) {
	const leeway = 5 * time.Second
	h := newHouse(t)
	ticket, room, caller := h.mintAll(t)
	for _, tt := range []struct {
		name    string
		accept  func() error
		expires time.Time
	}{
		{"ticket", func() error { _, err := h.Verifier.Ticket(ticket); return err }, aTicket.ExpiresAt},
		{"room token", func() error { _, err := h.Verifier.Room(room, "r-1", 3); return err }, aRoom.ExpiresAt},
		{"caller's token", func() error { _, err := h.Verifier.Caller(caller, "p-1"); return err }, start.Add(token.CallerTTL)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.now = tt.expires.Add(leeway - time.Second)
			if err := tt.accept(); err != nil {
				t.Errorf("within the leeway: %v", err)
			}
			h.now = tt.expires.Add(leeway + time.Second)
			if err := tt.accept(); !errors.Is(err, token.ErrExpired) {
				t.Errorf("after the leeway: %v, want ErrExpired", err)
			}
		})
	}
}

func TestRoomTokensLiveForRoomTTL(t *testing.T) {
	h := newHouse(t)
	r := aRoom
	r.ExpiresAt = time.Time{}
	s, err := h.Minter.Room(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := h.Verifier.Room(s, r.RoomUID, r.Epoch)
	if err != nil || !got.ExpiresAt.Equal(start.Add(token.RoomTTL)) {
		t.Errorf("expires %v, %v; want %v", got.ExpiresAt, err, start.Add(token.RoomTTL))
	}
}

// TestRoomExpired accepts what opened a session for as long as its key is
// verified, and nothing that Room would refuse for another reason.
func TestRoomExpired(t *testing.T) {
	h := newHouse(t)
	_, room, _ := h.mintAll(t)
	h.now = start.Add(20 * time.Hour)
	if _, err := h.Verifier.Room(room, "r-1", 3); !errors.Is(err, token.ErrExpired) {
		t.Fatalf("Room: %v, want ErrExpired", err)
	}
	got, err := h.RoomExpired(room, "r-1", 3)
	if diff := cmp.Diff(h.roomVerified(), got); err != nil || diff != "" {
		t.Errorf("RoomExpired: %v (-want +got):\n%s", err, diff)
	}
	tampered := room[:len(room)-4] + "AAAA"
	if _, err := h.RoomExpired(tampered, "r-1", 3); !errors.Is(err, token.ErrSignature) {
		t.Errorf("tampered: %v, want ErrSignature", err)
	}
	noExpiry := h.forge(t, func(tok *jwt.Token, c jwt.MapClaims) {
		tok.Header["typ"], c["aud"] = "vr-room+jwt", "room:r-1#3"
		delete(c, "exp")
	})
	if _, err := h.RoomExpired(noExpiry, "r-1", 3); !errors.Is(err, token.ErrMalformed) {
		t.Errorf("without an expiry: %v, want ErrMalformed", err)
	}
	h.public = &token.PublicSet{}
	if _, err := h.RoomExpired(room, "r-1", 3); !errors.Is(err, token.ErrUnknownKey) {
		t.Errorf("its key is gone: %v, want ErrUnknownKey", err)
	}
}

// TestTicketExpired accepts a ticket past its expiry for as long as its key is verified.
func TestTicketExpired(t *testing.T) {
	h := newHouse(t)
	ticket, _, _ := h.mintAll(t)
	want, err := h.Verifier.Ticket(ticket)
	if err != nil {
		t.Fatal(err)
	}
	h.now = aTicket.ExpiresAt.Add(time.Hour)
	if _, err := h.Verifier.Ticket(ticket); !errors.Is(err, token.ErrExpired) {
		t.Fatalf("Ticket: %v, want ErrExpired", err)
	}
	got, err := h.TicketExpired(ticket)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("TicketExpired: %v (-want +got):\n%s", err, diff)
	}
	retired := *h.ring.Public()
	retired.Keys[0].Expires = h.now.Add(-time.Minute).Unix()
	h.public = &retired
	if _, err := h.TicketExpired(ticket); !errors.Is(err, token.ErrUnknownKey) {
		t.Errorf("its key has retired: %v, want ErrUnknownKey", err)
	}
}

func TestNoKeys(t *testing.T) {
	clock := func() time.Time { return start }
	for name, ring := range map[string]*token.Ring{"no ring": nil, "an empty ring": {}} {
		m := token.NewMinter(func() *token.Ring { return ring }, clock, rand.Reader)
		if _, err := m.Ticket(aTicket); !errors.Is(err, token.ErrNoKey) {
			t.Errorf("minting with %s: %v, want ErrNoKey", name, err)
		}
	}
	ticket, _, _ := newHouse(t).mintAll(t)
	for name, set := range map[string]*token.PublicSet{"no set": nil, "an empty set": {}} {
		v := token.NewVerifier(func() *token.PublicSet { return set }, clock)
		if _, err := v.Ticket(ticket); !errors.Is(err, token.ErrUnknownKey) {
			t.Errorf("verifying with %s: %v, want ErrUnknownKey", name, err)
		}
	}
}

// FuzzVerifier: whatever is accepted was minted by us, claim for claim.
func FuzzVerifier(f *testing.F) {
	h := newHouse(f)
	ticket, room, caller := h.mintAll(f)
	for _, seed := range []string{ticket, room, caller, "", "..", "e30.e30.", ticket + ".", strings.ToUpper(ticket)} {
		f.Add(seed)
	}
	wantTicket, err := h.Verifier.Ticket(ticket)
	if err != nil {
		f.Fatal(err)
	}
	reasons := []error{token.ErrMalformed, token.ErrUnknownKey, token.ErrSignature, token.ErrExpired, token.ErrAudience}
	typed := func(t *testing.T, err error) {
		for _, reason := range reasons {
			if errors.Is(err, reason) {
				return
			}
		}
		t.Errorf("refused without a reason of ours: %v", err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := h.Verifier.Ticket(s); err != nil {
			typed(t, err)
		} else if diff := cmp.Diff(wantTicket, got); diff != "" {
			t.Errorf("accepted a ticket that we did not mint:\n%s", diff)
		}
		if got, err := h.RoomExpired(s, "r-1", 3); err != nil {
			typed(t, err)
		} else if diff := cmp.Diff(h.roomVerified(), got); diff != "" {
			t.Errorf("accepted a room token that we did not mint:\n%s", diff)
		}
		if got, err := h.Verifier.Caller(s, "p-1"); err != nil {
			typed(t, err)
		} else if got != aCaller {
			t.Errorf("accepted a caller that we did not mint: %+v", got)
		}
		if _, err := token.Peek(s); err != nil && !errors.Is(err, token.ErrMalformed) {
			t.Errorf("Peek: %v", err)
		}
		if token.IsTicket(s) && token.IsRoom(s) {
			t.Error("claims to be two kinds")
		}
	})
}
