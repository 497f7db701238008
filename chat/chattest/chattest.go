// Package chattest is the suite that every chat.Provider passes, against a real
// server: no provider is trusted on a mock.
//
//	func TestProvider(t *testing.T) {
//		chattest.Run(t, func(t *testing.T) chattest.Server { ... })
//	}
package chattest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/chat"
)

// patience is how long the suite waits for what must happen before it fails. It
// is never waited in full when things are right.
const patience = 30 * time.Second

// Server is a chat server under test and ways to reach and disturb it. Only
// Open is required, yet a back end is proven only with all of them.
type Server struct {
	// Open returns a new Provider of this server. The suite closes it.
	Open func(t *testing.T) chat.Provider

	// Stop makes the server unreachable, and returns when it is. Start brings it
	// back with what it had stored, at the same address, and returns when it serves.
	// Without them the tests of restarts and outages are skipped.
	Stop, Start func(t *testing.T)

	// Denied returns a new Provider with credentials that the server refuses, or
	// is nil if the back end knows no credentials.
	Denied func(t *testing.T) chat.Provider

	// Many is how many members the largest group of the suite gets (default 1200,
	// which no page or value of a back end should hold).
	Many int
}

// Run runs the suite. start is called once; groups of one test are invisible to
// the others by their keys.
func Run(t *testing.T, start func(t *testing.T) Server) {
	s := &suite{server: start(t)}
	s.chat = s.open(t)
	back(t, s.chat) // it may take its time to start
	for _, test := range []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"Create", testCreate},
		{"CreateInvalid", testCreateInvalid},
		{"CreateConcurrently", testCreateConcurrently},
		{"CreateAndDeleteConcurrently", testCreateAndDeleteConcurrently},
		{"List", testList},
		{"ValidIsALatch", testValid},
		{"Limits", testLimits},
		{"ChangesConcurrently", testChangesConcurrently},
		{"Names", testNames},
		{"Delete", testDelete},
		{"NoSuchGroup", testNoSuchGroup},
		{"AddMember", testAddMember},
		{"AddMemberConcurrently", testAddMemberConcurrently},
		{"RemoveMember", testRemoveMember},
		{"AddAndRemoveConcurrently", testAddAndRemoveConcurrently},
		{"AddWhileDeleting", testAddWhileDeleting},
		{"ManyMembers", testManyMembers},
		{"Post", testPost},
		{"PostInvalid", testPostInvalid},
		{"History", testHistory},
		{"Subscribe", testSubscribe},
		{"SubscribeConcurrently", testSubscribeConcurrently},
		{"SubscribeEndsWithContext", testSubscribeEndsWithContext},
		{"SubscribeEndsWithGroup", testSubscribeEndsWithGroup},
		// Those that disturb the server or close the provider come last.
		{"ContextEnds", testContextEnds},
		{"Close", testClose},
		{"Denied", testDenied},
		{"Restart", testRestart},
		{"Outage", testOutage},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

// suite is what the tests share.
type suite struct {
	server Server
	chat   chat.Provider
	keys   atomic.Int64
}

// open returns a Provider that is closed when t ends.
func (s *suite) open(t *testing.T) chat.Provider {
	t.Helper()
	return closing(t, s.server.Open(t))
}

func closing(t *testing.T, p chat.Provider) chat.Provider {
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

// key returns a key that no other test uses.
func (s *suite) key(t *testing.T) string {
	return fmt.Sprintf("%s/%d", t.Name(), s.keys.Add(1))
}

var (
	limits = chat.Limits{MaxMembers: 20, MaxMics: 4}
	spec   = chat.GroupSpec{Name: "Standup", Owner: "oidc:https://issuer.example:ada", Limits: limits}
)

// group makes a group of its own for t.
func (s *suite) group(t *testing.T) chat.Group {
	t.Helper()
	g, err := s.chat.CreateGroup(soon(t), s.key(t), spec)
	if err != nil {
		t.Fatalf("CreateGroup: %v", err)
	}
	return g
}

// soon is a context that ends if a call takes far too long.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually calls try until it returns nil.
func eventually(t *testing.T, what string, try func(context.Context) error) {
	t.Helper()
	if err := retry(soon(t), try); err != nil {
		t.Fatalf("%s: still %v", what, err)
	}
}

// retry calls try until it returns nil or ctx ends, and returns its last error.
func retry(ctx context.Context, try func(context.Context) error) error {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-again.C:
		}
	}
}
