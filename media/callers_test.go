package media

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/token"
)

// A caller's token that was verified is good for moments only, and not at all under other keys.
func TestKnownCallers(t *testing.T) {
	start := time.Now()
	now := start
	clock := func() time.Time { return now }
	ring, _, err := (*token.Ring)(nil).Rotate(now, token.DefaultRotation, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	bearer, err := token.NewMinter(func() *token.Ring { return ring }, clock, rand.Reader).Caller(token.Caller{Name: token.CallerGateway, PodUID: "pod"})
	if err != nil {
		t.Fatal(err)
	}
	k := newKeyring(t.TempDir(), clock)
	k.distrust = func([]string) {}
	push := func(keys *token.PublicSet) {
		if err := k.set(mediaapi.Keys{Gateway: keys}); err != nil {
			t.Fatal(err)
		}
	}
	push(ring.Public())
	for _, step := range []struct {
		name   string
		bearer string
		after  time.Duration
		keys   *token.PublicSet // nil: as before
		want   error
	}{
		{"verified", bearer, 0, nil, nil},
		{"remembered", bearer, 0, nil, nil},
		{"another one", bearer + "x", 0, nil, token.ErrSignature},
		{"with its key gone", bearer, 0, &token.PublicSet{Keys: []token.JWK{key("other", 0)}}, token.ErrUnknownKey},
		{"with its key back", bearer, 0, ring.Public(), nil},
		{"late in its life", bearer, token.CallerTTL, nil, nil},
		{"over", bearer, token.CallerTTL + 2*callerMemory, nil, token.ErrExpired},
	} {
		now = start.Add(step.after)
		if step.keys != nil {
			push(step.keys)
		}
		name, err := k.caller(step.bearer, "pod")
		if !errors.Is(err, step.want) || err == nil && name != token.CallerGateway {
			t.Errorf("%s: %q, %v, want %v", step.name, name, err, step.want)
		}
	}
}

// However many tokens come, few are kept.
func TestKnownCallersAreFew(t *testing.T) {
	var k knownCallers
	now := time.Now()
	for i := range 3 * maxCallers {
		bearer := string(rune('a' + i))
		k.add(bearer, token.CallerOperator, callerSets{}, now)
		if name, ok := k.find(bearer, callerSets{}, now); !ok || name != token.CallerOperator {
			t.Fatalf("token %d is not known: %q", i, name)
		}
		if len(k.tokens) > maxCallers {
			t.Fatalf("%d tokens are kept", len(k.tokens))
		}
	}
}

// BenchmarkCaller is what it costs to know who calls: once in callerMemory the first, else the second.
func BenchmarkCaller(b *testing.B) {
	ring, _, err := (*token.Ring)(nil).Rotate(time.Now(), token.DefaultRotation, rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	bearer, err := token.NewMinter(func() *token.Ring { return ring }, time.Now, rand.Reader).Caller(token.Caller{Name: token.CallerGateway, PodUID: "pod"})
	if err != nil {
		b.Fatal(err)
	}
	k := newKeyring(b.TempDir(), time.Now)
	if err := k.set(mediaapi.Keys{Gateway: ring.Public()}); err != nil {
		b.Fatal(err)
	}
	for name, call := range map[string]func(bearer, podUID string) (string, error){"verified": k.verifyCaller, "remembered": k.caller} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := call(bearer, "pod"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
