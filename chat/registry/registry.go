// Package registry holds the open chat providers of a process by the name of
// their ChatProvider, so that whoever needs a room's group asks for it by name
// and is never left with a provider of yesterday's address or credentials.
//
// One owner keeps it in step (Set, Remove, Close); any number of others read
// (Get). A reader fetches the provider for each operation and does not keep it:
// a replaced one is closed, and its running calls end with chat.ErrUnavailable,
// which everybody retries anyway.
package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"voiceroom.dev/voiceroom/chat"
)

var (
	// ErrUnknown says that no provider of this name is open. It wraps
	// chat.ErrUnavailable: the name may be on its way here.
	ErrUnknown = fmt.Errorf("no such chat provider is open: %w", chat.ErrUnavailable)
	// ErrCredentials says that a provider cannot be opened because what holds its
	// credentials is missing or lacks the key.
	ErrCredentials = errors.New("credentials not found")
	// ErrClosed says that Set came after Close.
	ErrClosed = errors.New("the registry is closed")
)

// Open configures a provider. It must not wait for the back end: calls answer
// chat.ErrUnavailable until that can be reached.
type Open func(ctx context.Context) (chat.Provider, error)

// Registry is a set of open providers by name. The zero value is empty and
// ready. All methods are safe for concurrent use.
type Registry struct {
	change sync.Mutex // held while something is opened or closed; before mu

	mu     sync.RWMutex // guards what follows; never held across a provider's call
	open   map[string]entry
	closed bool
}

type entry struct {
	fingerprint string
	provider    chat.Provider
}

// Get returns the provider of this name, or an error that wraps ErrUnknown.
func (r *Registry) Get(name string) (chat.Provider, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e, ok := r.open[name]; ok {
		return e.provider, nil
	}
	return nil, fmt.Errorf("chat provider %q: %w", name, ErrUnknown)
}

// Set makes the provider of this name the one that open returns, unless one with
// the same fingerprint is open already. The fingerprint stands for everything
// that open depends on. The provider before it is closed after the new one is in
// place; if open fails, it stays.
func (r *Registry) Set(ctx context.Context, name, fingerprint string, open Open) error {
	r.change.Lock()
	defer r.change.Unlock()
	r.mu.RLock()
	old, known, closed := r.open[name].provider, r.open[name].fingerprint == fingerprint, r.closed
	r.mu.RUnlock()
	switch {
	case closed:
		return fmt.Errorf("opening chat provider %q: %w", name, ErrClosed)
	case old != nil && known:
		return nil
	}
	provider, err := open(ctx)
	if err != nil {
		return fmt.Errorf("opening chat provider %q: %w", name, err)
	}
	r.mu.Lock()
	if r.open == nil {
		r.open = map[string]entry{}
	}
	r.open[name] = entry{fingerprint: fingerprint, provider: provider}
	r.mu.Unlock()
	return closeProvider(name, old)
}

// Remove closes the provider of this name, if there is one.
func (r *Registry) Remove(name string) error {
	r.change.Lock()
	defer r.change.Unlock()
	r.mu.Lock()
	old := r.open[name].provider
	delete(r.open, name)
	r.mu.Unlock()
	return closeProvider(name, old)
}

// Close closes every provider; nothing can be opened afterwards.
func (r *Registry) Close() error {
	r.change.Lock()
	defer r.change.Unlock()
	r.mu.Lock()
	open := r.open
	r.open, r.closed = nil, true
	r.mu.Unlock()
	var errs []error
	for name, e := range open {
		errs = append(errs, closeProvider(name, e.provider))
	}
	return errors.Join(errs...)
}

func closeProvider(name string, p chat.Provider) error {
	if p == nil {
		return nil
	}
	if err := p.Close(); err != nil {
		return fmt.Errorf("closing chat provider %q: %w", name, err)
	}
	return nil
}
