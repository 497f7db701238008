package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/nats/natsserver"
)

var roomy = chat.GroupSpec{Limits: chat.Limits{MaxMembers: 100, MaxMics: 1}}

// start returns a provider of its own server.
func start(t testing.TB, cfg Config) *Provider {
	t.Helper()
	s, err := natsserver.Start(t.Context(), natsserver.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	cfg.URL = s.URL()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // it always returns nil
	return p
}

// within runs op on the provider's store.
func within(t testing.TB, p *Provider, op func(context.Context, *store) error) {
	t.Helper()
	if err := p.call(t.Context(), "test", op); err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// furnished is a group with two members and two messages.
func furnished(t *testing.T, p *Provider, key string) chat.Group {
	t.Helper()
	g, err := p.CreateGroup(t.Context(), key, roomy)
	must(t, err)
	for _, subject := range []string{"guest:1", "guest:2"} {
		must(t, p.AddMember(t.Context(), g.ID, chat.Member{Subject: subject}))
		_, err := p.Post(t.Context(), g.ID, chat.Message{Author: subject, Text: "hi"})
		must(t, err)
	}
	return g
}

// wantNothingLeft looks for what a deleted group left in the streams.
func wantNothingLeft(t *testing.T, p *Provider, id string) {
	t.Helper()
	within(t, p, func(ctx context.Context, st *store) error {
		members, err := st.count(ctx, st.names.members(id))
		if err != nil {
			return err
		}
		messages := 0
		err = st.each(ctx, st.names.messagesStream(), st.names.messages(id), 0, func(it item) bool {
			if it.header.Get(endHeader) == "" {
				messages++
			}
			return true
		})
		if members != 0 || messages != 0 {
			t.Errorf("the deleted group left %d members and %d messages", members, messages)
		}
		if _, _, err := st.groupRecord(ctx, id); !isNotFound(err) {
			t.Errorf("the record of the deleted group: got %v, want ErrNotFound", err)
		}
		return err
	})
}

// cuts are the points at which a deletion may be cut short, after the seal.
var cuts = map[string]func(ctx context.Context, st *store, id string) error{
	"after the seal": func(context.Context, *store, string) error { return nil },
	"after the end mark": func(ctx context.Context, st *store, id string) error {
		_, err := st.publishEnd(ctx, id)
		return err
	},
	"after the messages": func(ctx context.Context, st *store, id string) error {
		mark, err := st.publishEnd(ctx, id)
		if err != nil {
			return err
		}
		return st.purge(ctx, st.names.messagesStream(), st.names.messages(id), mark)
	},
	"after the members": func(ctx context.Context, st *store, id string) error {
		return st.purge(ctx, st.names.stateStream(), st.names.members(id), 0)
	},
}

// finishers are the calls that go on with a deletion that was cut short.
var finishers = map[string]func(context.Context, *Provider, chat.Group) error{
	"DeleteGroup": func(ctx context.Context, p *Provider, g chat.Group) error { return p.DeleteGroup(ctx, g.ID) },
	"ListGroups": func(ctx context.Context, p *Provider, g chat.Group) error {
		groups, err := p.ListGroups(ctx, g.Key)
		if len(groups) != 0 {
			err = errors.Join(err, fmt.Errorf("it lists %v", groups))
		}
		return err
	},
	"CreateGroup": func(ctx context.Context, p *Provider, g chat.Group) error {
		fresh, err := p.CreateGroup(ctx, g.Key, roomy)
		if err == nil && (fresh.ID == g.ID || fresh.Members != 0) {
			err = fmt.Errorf("it is not new: %+v", fresh)
		}
		return err
	},
}

// seal is the first write of a deletion.
func seal(ctx context.Context, st *store, id string) error {
	record, rev, err := st.groupRecord(ctx, id)
	if err != nil {
		return err
	}
	record.Sealed = true
	_, err = st.put(ctx, st.names.groupByID(id), rev, record)
	return err
}

// From its first write on a deleted group is gone for everybody, and several
// calls finish what was begun.
func TestDeletionCutShort(t *testing.T) {
	t.Parallel()
	p := start(t, Config{})
	for cut, did := range cuts {
		for by, finish := range finishers {
			t.Run(cut+", finished by "+by, func(t *testing.T) {
				ctx := t.Context()
				g := furnished(t, p, t.Name())
				within(t, p, func(ctx context.Context, st *store) error {
					return errors.Join(seal(ctx, st, g.ID), did(ctx, st, g.ID))
				})
				if _, err := p.Group(ctx, g.ID); !errors.Is(err, chat.ErrNotFound) {
					t.Errorf("half deleted: got %v, want ErrNotFound", err)
				}
				if err := p.AddMember(ctx, g.ID, chat.Member{Subject: "guest:3"}); !errors.Is(err, chat.ErrNotFound) {
					t.Errorf("AddMember, half deleted: got %v, want ErrNotFound", err)
				}
				if err := finish(ctx, p, g); err != nil {
					t.Errorf("%s: %v", by, err)
				}
				wantNothingLeft(t, p, g.ID)
			})
		}
	}
}

// A writer that looked before the seal and writes after the purge takes it back.
func TestWriteAfterPurge(t *testing.T) {
	t.Parallel()
	p := start(t, Config{})
	g := furnished(t, p, "room")
	within(t, p, func(ctx context.Context, st *store) error {
		err := st.inGroup(ctx, g.ID, func() (func() error, error) {
			if err := p.DeleteGroup(ctx, g.ID); err != nil {
				return nil, err
			}
			rev, err := st.put(ctx, st.names.member(g.ID, "guest:late"), 0, memberRecord{Subject: "guest:late"})
			return func() error {
				_, err := st.remove(ctx, st.names.stateStream(), rev)
				return err
			}, err
		})
		if !isNotFound(err) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		return nil
	})
	wantNothingLeft(t, p, g.ID)
}

func TestDeletedWhileBusyLeavesNothing(t *testing.T) {
	t.Parallel()
	p := start(t, Config{})
	for i := range 5 {
		g := furnished(t, p, fmt.Sprint("room", i))
		begun := make(chan struct{}, 2)
		var wg sync.WaitGroup
		for _, write := range []func(n int) error{
			func(n int) error {
				return p.AddMember(t.Context(), g.ID, chat.Member{Subject: fmt.Sprintf("guest:x%d", n)})
			},
			func(int) error {
				_, err := p.Post(t.Context(), g.ID, chat.Message{Author: "guest:1", Text: "x"})
				return err
			},
		} {
			wg.Go(func() {
				for n := 0; ; n++ {
					err := write(n)
					if n == 0 {
						begun <- struct{}{}
					}
					if err != nil {
						if !errors.Is(err, chat.ErrNotFound) {
							t.Errorf("got %v, want ErrNotFound", err)
						}
						return
					}
				}
			})
		}
		<-begun
		<-begun
		must(t, p.DeleteGroup(t.Context(), g.ID))
		wg.Wait()
		wantNothingLeft(t, p, g.ID)
	}
}

// Somebody who removes the streams costs what they held, and nothing else.
func TestStreamsAreMadeAgain(t *testing.T) {
	t.Parallel()
	p := start(t, Config{})
	g := furnished(t, p, "room")
	within(t, p, func(ctx context.Context, st *store) error {
		return errors.Join(
			st.js.DeleteStream(ctx, st.names.stateStream()),
			st.js.DeleteStream(ctx, st.names.messagesStream()))
	})
	if err := p.Check(t.Context()); !errors.Is(err, chat.ErrUnavailable) {
		t.Errorf("the first call after: got %v, want ErrUnavailable", err)
	}
	must(t, p.Check(t.Context()))
	if _, err := p.Group(t.Context(), g.ID); !errors.Is(err, chat.ErrNotFound) {
		t.Errorf("a group that was in the stream: got %v, want ErrNotFound", err)
	}
	furnished(t, p, "room")
}

func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	p := start(t, Config{History: 3})
	g, err := p.CreateGroup(t.Context(), "room", roomy)
	must(t, err)
	var posted []chat.Message
	for i := range 5 {
		m, err := p.Post(t.Context(), g.ID, chat.Message{Author: "guest:1", Text: fmt.Sprint(i)})
		must(t, err)
		posted = append(posted, m)
	}
	got, err := p.History(t.Context(), g.ID, 0, 10)
	must(t, err)
	if len(got) != 3 || got[0] != posted[2] || got[2] != posted[4] {
		t.Errorf("history is %v, want the last 3 of %v", got, posted)
	}
}

// What the streams are made with decides what survives: see the package's doc.
func TestStreamSettings(t *testing.T) {
	t.Parallel()
	p := start(t, Config{Name: "other_name-1"})
	must(t, p.Check(t.Context()))
	within(t, p, func(ctx context.Context, st *store) error {
		for _, name := range []string{"other_name-1-state", "other_name-1-messages"} {
			stream, err := st.js.Stream(ctx, name)
			if err != nil {
				return err
			}
			cfg := stream.CachedInfo().Config
			if cfg.Storage != jetstream.FileStorage || cfg.MaxAge != 0 || cfg.MaxMsgs != -1 || cfg.MaxBytes != -1 {
				t.Errorf("stream %s may lose records: %+v", name, cfg)
			}
		}
		return nil
	})
}
