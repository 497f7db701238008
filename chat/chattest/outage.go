package chattest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/chat"
)

// everyCall makes each call of a Provider on group id with ctx.
func everyCall(ctx context.Context, p chat.Provider, id, key string) map[string]error {
	errs := map[string]error{
		"Check":        p.Check(ctx),
		"SetValid":     p.SetValid(ctx, id),
		"SetLimits":    p.SetLimits(ctx, id, limits),
		"AddMember":    p.AddMember(ctx, id, chat.Member{Subject: "guest:late"}),
		"RemoveMember": p.RemoveMember(ctx, id, "guest:0"),
		"DeleteGroup":  p.DeleteGroup(ctx, id),
	}
	_, errs["CreateGroup"] = p.CreateGroup(ctx, key, spec)
	_, errs["Group"] = p.Group(ctx, id)
	_, errs["ListGroups"] = p.ListGroups(ctx, key)
	_, errs["Members"] = p.Members(ctx, id)
	_, errs["Post"] = p.Post(ctx, id, chat.Message{Author: "guest:0", Text: "late"})
	if p.Capabilities().History {
		_, errs["History"] = p.History(ctx, id, 0, 1)
	}
	return errs
}

func wantAll(t *testing.T, errs map[string]error, want error) {
	t.Helper()
	for call, err := range errs {
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", call, err, want)
		}
	}
}

func testContextEnds(t *testing.T, s *suite) {
	g := s.group(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantAll(t, everyCall(ctx, s.chat, g.ID, s.key(t)), chat.ErrUnavailable)
	s.wantMembers(t, g.ID)
}

func testClose(t *testing.T, s *suite) {
	g := s.group(t)
	p := s.open(t)
	posted := s.post(t, g.ID, "x")
	var running *subscription
	if p.Capabilities().Subscribe {
		running = s.subscribe(t, p, g.ID, 0)
		running.want(t, posted)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	if running != nil {
		running.wantEnd(t, chat.ErrUnavailable)
	}
	wantAll(t, everyCall(soon(t), p, g.ID, s.key(t)), chat.ErrUnavailable)
	s.wantMembers(t, g.ID)
}

func testDenied(t *testing.T, s *suite) {
	if s.server.Denied == nil {
		t.Skip("the back end knows no credentials")
	}
	g := s.group(t)
	p := closing(t, s.server.Denied(t))
	eventually(t, "wrong credentials", func(ctx context.Context) error {
		if err := p.Check(ctx); !errors.Is(err, chat.ErrDenied) {
			return fmt.Errorf("check: got %w, want ErrDenied", err)
		}
		return nil
	})
	s.wantMembers(t, g.ID)
}

// snapshot is all that a group is.
type snapshot struct {
	Group   chat.Group
	Members map[string]chat.Member
	History []chat.Message
}

func (s *suite) snapshot(t *testing.T, id string) snapshot {
	t.Helper()
	var snap snapshot
	var err error
	if snap.Group, err = s.chat.Group(soon(t), id); err != nil {
		t.Fatalf("Group: %v", err)
	}
	snap.Members = s.members(t, id)
	if s.chat.Capabilities().History {
		if snap.History, err = s.chat.History(soon(t), id, 0, 100); err != nil {
			t.Fatalf("History: %v", err)
		}
	}
	return snap
}

func (s *suite) needStop(t *testing.T) {
	t.Helper()
	if s.server.Stop == nil || s.server.Start == nil {
		t.Skip("the server cannot be stopped and started")
	}
}

// back waits until a provider works again.
func back(t *testing.T, p chat.Provider) {
	t.Helper()
	eventually(t, "the server is back", p.Check)
}

func testRestart(t *testing.T, s *suite) {
	s.needStop(t)
	if !s.chat.Capabilities().Durable {
		t.Skip("the back end forgets")
	}
	g, deleted := s.group(t), s.group(t)
	for _, subject := range subjects(5) {
		if err := s.chat.AddMember(soon(t), g.ID, chat.Member{Subject: subject}); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		s.chat.RemoveMember(soon(t), g.ID, "guest:3"),
		s.chat.SetValid(soon(t), g.ID),
		s.chat.SetLimits(soon(t), g.ID, chat.Limits{MaxMembers: 7, MaxMics: 3}),
		s.chat.DeleteGroup(soon(t), deleted.ID),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.postMany(t, g.ID, 3)
	before := s.snapshot(t, g.ID)

	s.server.Stop(t)
	s.server.Start(t)
	back(t, s.chat)

	if diff := cmp.Diff(before, s.snapshot(t, g.ID)); diff != "" {
		t.Errorf("the restart changed the group (-before +after):\n%s", diff)
	}
	s.wantGone(t, deleted.ID)
	again, err := s.chat.CreateGroup(soon(t), g.Key, spec)
	if err != nil {
		t.Fatal(err)
	}
	if again.ID != g.ID {
		t.Errorf("the key made another group after the restart: %s, not %s", again.ID, g.ID)
	}
	if m := s.post(t, g.ID, "after"); len(before.History) > 0 && m.Seq <= before.History[2].Seq {
		t.Errorf("Seq fell to %d after the restart", m.Seq)
	}
}

// With the server away calls end in ErrUnavailable, in time, whether the
// provider was connected or not; they change nothing later; and what retries
// goes on by itself.
func testOutage(t *testing.T, s *suite) {
	s.needStop(t)
	g := s.group(t)
	if err := s.chat.AddMember(soon(t), g.ID, chat.Member{Subject: "guest:0"}); err != nil {
		t.Fatal(err)
	}
	posted := s.postMany(t, g.ID, 1)
	before := s.snapshot(t, g.ID)
	key := s.key(t)
	var running *subscription
	if s.chat.Capabilities().Subscribe {
		running = s.subscribe(t, s.chat, g.ID, 0)
		running.want(t, posted...)
	}

	s.server.Stop(t)
	if running != nil {
		running.wantEnd(t, chat.ErrUnavailable)
	}
	late := s.open(t)
	for _, p := range []chat.Provider{s.chat, late} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		wantAll(t, everyCall(ctx, p, g.ID, key), chat.ErrUnavailable)
		cancel()
	}
	type result struct {
		group chat.Group
		err   error
	}
	created := make(chan result, 1)
	patient := soon(t)
	go func() { // as a controller does
		var r result
		r.err = retry(patient, func(ctx context.Context) (err error) {
			r.group, err = s.chat.CreateGroup(ctx, key, spec)
			if err != nil && !errors.Is(err, chat.ErrUnavailable) {
				t.Errorf("CreateGroup during an outage: got %v, want ErrUnavailable", err)
			}
			return err
		})
		created <- r
	}()
	s.server.Start(t)
	made := <-created
	if made.err != nil {
		t.Fatalf("CreateGroup did not go on after the outage: %v", made.err)
	}
	back(t, late)

	if found := s.list(t, key); len(found) != 1 || found[0].ID != made.group.ID {
		t.Errorf("groups after the outage: %v, want only %s", found, made.group.ID)
	}
	if diff := cmp.Diff(before, s.snapshot(t, g.ID)); diff != "" {
		t.Errorf("calls that had failed changed the group (-before +after):\n%s", diff)
	}
	if running != nil {
		next := s.post(t, g.ID, "next")
		s.subscribe(t, s.chat, g.ID, posted[0].Seq).want(t, next)
	}
}
