package chattest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"voiceroom.dev/voiceroom/chat"
)

func (s *suite) post(t *testing.T, id, text string) chat.Message {
	t.Helper()
	m, err := s.chat.Post(soon(t), id, chat.Message{Author: "guest:1", Name: "Ada", Text: text})
	if err != nil {
		t.Fatalf("Post: %v", err)
	}
	return m
}

func (s *suite) postMany(t *testing.T, id string, n int) []chat.Message {
	t.Helper()
	posted := make([]chat.Message, n)
	for i := range posted {
		posted[i] = s.post(t, id, fmt.Sprintf("message %d", i))
	}
	return posted
}

func testPost(t *testing.T, s *suite) {
	g := s.group(t)
	in := chat.Message{Author: "guest:1", Name: "Ada", Text: "hi", ID: "mine", Seq: 7}
	out, err := s.chat.Post(soon(t), g.ID, in)
	if err != nil {
		t.Fatal(err)
	}
	if out.ID == "" || out.ID == in.ID || out.Seq == 0 || out.Time.IsZero() {
		t.Errorf("ID, Seq and Time were not set by the provider: %+v", out)
	}
	if diff := cmp.Diff(in, out, cmpopts.IgnoreFields(chat.Message{}, "ID", "Seq", "Time")); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	again := s.post(t, g.ID, "hi")
	if again.Seq <= out.Seq || again.ID == out.ID {
		t.Errorf("a second post got ID %s, Seq %d after ID %s, Seq %d", again.ID, again.Seq, out.ID, out.Seq)
	}
}

func testPostInvalid(t *testing.T, s *suite) {
	g := s.group(t)
	for _, test := range []struct {
		name, author, text string
		want               error
	}{
		{"longest text", "guest:1", strings.Repeat("x", chat.MaxText), nil},
		{"longest in bytes", "guest:1", strings.Repeat("é", chat.MaxText/2), nil},
		{"newlines", "guest:1", "one\r\n\ttwo", nil},
		{"markup", "guest:1", `<b onclick="x">&amp;</b> {"a":1} ' 日本語 🎤`, nil},
		{"too long", "guest:1", strings.Repeat("x", chat.MaxText+1), chat.ErrInvalid},
		{"too long in bytes", "guest:1", strings.Repeat("é", chat.MaxText/2+1), chat.ErrInvalid},
		{"empty", "guest:1", "", chat.ErrInvalid},
		{"not UTF-8", "guest:1", "a\xffb", chat.ErrInvalid},
		{"cut UTF-8", "guest:1", "a\xc3", chat.ErrInvalid},
		{"NUL", "guest:1", "a\x00b", chat.ErrInvalid},
		{"escape", "guest:1", "\x1b[31m", chat.ErrInvalid},
		{"no author", "", "x", chat.ErrInvalid},
	} {
		got, err := s.chat.Post(soon(t), g.ID, chat.Message{Author: test.author, Text: test.text})
		if !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
		if err == nil && got.Text != test.text {
			t.Errorf("%s: text changed", test.name)
		}
	}
}

func testHistory(t *testing.T, s *suite) {
	if !s.chat.Capabilities().History {
		t.Skip("the back end has no history")
	}
	g, neighbour := s.group(t), s.group(t)
	s.wantHistory(t, g.ID, 0, 10)
	var all []chat.Message
	for i := range 12 {
		all = append(all, s.post(t, g.ID, fmt.Sprintf("message %d", i)))
		s.post(t, neighbour.ID, "not here")
	}
	s.wantHistory(t, g.ID, 0, 100, all...)
	s.wantHistory(t, g.ID, 0, 5, all[7:]...)
	s.wantHistory(t, g.ID, all[7].Seq, 5, all[2:7]...)
	s.wantHistory(t, g.ID, all[2].Seq, 5, all[:2]...)
	s.wantHistory(t, g.ID, all[0].Seq, 5)
	s.wantHistory(t, g.ID, all[11].Seq+1, 1, all[11])
	s.wantHistory(t, g.ID, 0, 0)
	if _, err := s.chat.History(soon(t), g.ID, 0, -1); !errors.Is(err, chat.ErrInvalid) {
		t.Errorf("negative limit: got %v, want ErrInvalid", err)
	}
}

func (s *suite) wantHistory(t *testing.T, id string, before uint64, limit int, want ...chat.Message) {
	t.Helper()
	got, err := s.chat.History(soon(t), id, before, limit)
	if err != nil {
		t.Fatalf("History(before %d, limit %d): %v", before, limit, err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("History(before %d, limit %d) (-want +got):\n%s", before, limit, diff)
	}
}

// subscription is a running Subscribe.
type subscription struct {
	messages chan chat.Message
	result   chan error
	cancel   context.CancelFunc
}

// subscribe starts a Subscribe that ends with the test at the latest.
func (s *suite) subscribe(t *testing.T, p chat.Provider, id string, after uint64) *subscription {
	t.Helper()
	if !p.Capabilities().Subscribe {
		t.Skip("the back end has no subscriptions")
	}
	ctx, cancel := context.WithCancel(soon(t))
	sub := &subscription{messages: make(chan chat.Message, 1000), result: make(chan error, 1), cancel: cancel}
	var wg sync.WaitGroup
	wg.Go(func() {
		sub.result <- p.Subscribe(ctx, id, after, func(m chat.Message) { sub.messages <- m })
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return sub
}

// next waits for one message.
func (sub *subscription) next(t *testing.T) chat.Message {
	t.Helper()
	select {
	case m := <-sub.messages:
		return m
	case err := <-sub.result:
		t.Fatalf("the subscription ended with %v, and a message was to come", err)
	case <-soon(t).Done():
		t.Fatal("a message did not arrive")
	}
	return chat.Message{}
}

// want reads exactly these messages, in order.
func (sub *subscription) want(t *testing.T, want ...chat.Message) {
	t.Helper()
	for i, w := range want {
		if diff := cmp.Diff(w, sub.next(t)); diff != "" {
			t.Fatalf("message %d of the subscription (-want +got):\n%s", i, diff)
		}
	}
}

// wantEnd waits for the end, and checks that nothing was left to deliver.
func (sub *subscription) wantEnd(t *testing.T, want error) {
	t.Helper()
	select {
	case err := <-sub.result:
		if !errors.Is(err, want) {
			t.Errorf("the subscription ended with %v, want %v", err, want)
		}
	case <-soon(t).Done():
		t.Fatal("the subscription did not end")
	}
	select {
	case m := <-sub.messages:
		t.Errorf("the subscription also delivered %+v", m)
	default:
	}
}

func testSubscribe(t *testing.T, s *suite) {
	g, neighbour := s.group(t), s.group(t)
	old := s.postMany(t, g.ID, 3)
	all := s.subscribe(t, s.chat, g.ID, 0)
	some := s.subscribe(t, s.chat, g.ID, old[1].Seq)
	all.want(t, old...)
	some.want(t, old[2:]...)

	s.post(t, neighbour.ID, "not here")
	fresh := s.postMany(t, g.ID, 20)
	all.want(t, fresh...)
	some.want(t, fresh...)

	late := s.subscribe(t, s.chat, g.ID, fresh[19].Seq)
	last := s.post(t, g.ID, "last")
	late.want(t, last)
	all.want(t, last)
	for _, sub := range []*subscription{all, late} { // and nothing more than that
		sub.cancel()
		sub.wantEnd(t, nil)
	}
}

// Messages of many authors at once reach all subscribers in one order.
func testSubscribeConcurrently(t *testing.T, s *suite) {
	const authors, each = 4, 10
	g := s.group(t)
	one, two := s.subscribe(t, s.chat, g.ID, 0), s.subscribe(t, s.open(t), g.ID, 0)
	var wg sync.WaitGroup
	for range authors {
		wg.Go(func() {
			for range each {
				if _, err := s.chat.Post(soon(t), g.ID, chat.Message{Author: "guest:1", Text: "x"}); err != nil {
					t.Errorf("Post: %v", err)
				}
			}
		})
	}
	wg.Wait()
	var last uint64
	for range authors * each {
		m := one.next(t)
		if m.Seq <= last {
			t.Fatalf("Seq %d came after %d", m.Seq, last)
		}
		last = m.Seq
		two.want(t, m)
	}
}

func testSubscribeEndsWithContext(t *testing.T, s *suite) {
	g := s.group(t)
	sub := s.subscribe(t, s.chat, g.ID, 0)
	sub.want(t, s.post(t, g.ID, "x"))
	sub.cancel()
	sub.wantEnd(t, nil)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.chat.Subscribe(ended, g.ID, 0, func(chat.Message) {}); err != nil {
		t.Errorf("Subscribe with a context that has ended: got %v, want nil", err)
	}
}

func testSubscribeEndsWithGroup(t *testing.T, s *suite) {
	g := s.group(t)
	posted := s.postMany(t, g.ID, 3)
	here, elsewhere := s.subscribe(t, s.chat, g.ID, 0), s.subscribe(t, s.open(t), g.ID, 0)
	here.want(t, posted...)
	elsewhere.want(t, posted...)
	if err := s.chat.DeleteGroup(soon(t), g.ID); err != nil {
		t.Fatal(err)
	}
	here.wantEnd(t, chat.ErrNotFound)
	elsewhere.wantEnd(t, chat.ErrNotFound)
}
