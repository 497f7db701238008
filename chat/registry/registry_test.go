package registry_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// probe is a chat.Provider of which only Close is of interest here.
type probe struct {
	chat.Provider
	closed chan struct{}
	before func() // called when Close begins
}

func newProbe() *probe { return &probe{closed: make(chan struct{})} }

func (p *probe) Close() error {
	if p.before != nil {
		p.before()
	}
	close(p.closed) // panics if closed twice
	return nil
}

func (p *probe) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
	}
}

func opening(p chat.Provider) registry.Open {
	return func(context.Context) (chat.Provider, error) { return p, nil }
}

func TestSetReopensOnlyOnAnotherFingerprint(t *testing.T) {
	var r registry.Registry
	first, second := newProbe(), newProbe()
	if _, err := r.Get("a"); !errors.Is(err, registry.ErrUnknown) || !errors.Is(err, chat.ErrUnavailable) {
		t.Fatalf("Get of an unknown name: %v, want ErrUnknown, to be retried", err)
	}
	mustSet(t, &r, "a", "1", opening(first))
	mustSet(t, &r, "a", "1", func(context.Context) (chat.Provider, error) {
		t.Error("opened again although nothing changed")
		return newProbe(), nil
	})
	mustHold(t, &r, "a", first)

	first.before = func() { mustHold(t, &r, "a", second) } // no reader is left without one
	mustSet(t, &r, "a", "2", opening(second))
	if !first.isClosed() || second.isClosed() {
		t.Errorf("closed: old %v, new %v; want only the old one", first.isClosed(), second.isClosed())
	}
}

func TestSetKeepsTheOldProviderWhenOpenFails(t *testing.T) {
	var r registry.Registry
	first, cause := newProbe(), errors.New("bad address")
	mustSet(t, &r, "a", "1", opening(first))
	err := r.Set(t.Context(), "a", "2", func(context.Context) (chat.Provider, error) { return nil, cause })
	if !errors.Is(err, cause) {
		t.Fatalf("Set: %v, want %v", err, cause)
	}
	mustHold(t, &r, "a", first)
	second := newProbe()
	mustSet(t, &r, "a", "2", opening(second)) // the failure was not remembered as this fingerprint
	mustHold(t, &r, "a", second)
}

func TestRemoveAndClose(t *testing.T) {
	var r registry.Registry
	a, b := newProbe(), newProbe()
	mustSet(t, &r, "a", "1", opening(a))
	mustSet(t, &r, "b", "1", opening(b))
	for range 2 {
		if err := r.Remove("a"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Get("a"); !errors.Is(err, registry.ErrUnknown) {
		t.Errorf("Get after Remove: %v", err)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !a.isClosed() || !b.isClosed() {
		t.Errorf("closed: a %v, b %v; want both", a.isClosed(), b.isClosed())
	}
	if err := r.Set(t.Context(), "c", "1", opening(newProbe())); !errors.Is(err, registry.ErrClosed) {
		t.Errorf("Set after Close: %v, want ErrClosed", err)
	}
}

// TestConcurrentUse races every method; whatever was opened is closed exactly
// once (a probe panics on the second time).
func TestConcurrentUse(t *testing.T) {
	var (
		r      registry.Registry
		mu     sync.Mutex
		opened []*probe
		wg     sync.WaitGroup
	)
	open := func(context.Context) (chat.Provider, error) {
		p := newProbe()
		mu.Lock()
		defer mu.Unlock()
		opened = append(opened, p)
		return p, nil
	}
	for i := range 8 {
		wg.Go(func() {
			for n := range 200 {
				name := string(rune('a' + n%3))
				switch i % 4 {
				case 0, 1:
					mustSet(t, &r, name, string(rune('0'+n%5)), open)
				case 2:
					_, _ = r.Get(name)
				case 3:
					if err := r.Remove(name); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for i, p := range opened {
		if !p.isClosed() {
			t.Errorf("provider %d of %d was never closed", i, len(opened))
		}
	}
}

func mustSet(t *testing.T, r *registry.Registry, name, fingerprint string, open registry.Open) {
	t.Helper()
	if err := r.Set(t.Context(), name, fingerprint, open); err != nil {
		t.Error(err)
	}
}

func mustHold(t *testing.T, r *registry.Registry, name string, want chat.Provider) {
	t.Helper()
	if got, err := r.Get(name); err != nil || got != want {
		t.Errorf("Get(%q) = %p, %v; want %p", name, got, err, want)
	}
}
