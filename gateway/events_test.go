package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/gateway"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// sse is one server-sent event; the zero value is the end of the stream.
type sse struct{ id, name, data string }

// stream is an open event stream.
type stream struct {
	t      *testing.T
	events chan sse // closed at the end
}

func (w *world) stream(bearer, lastID string) *stream {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url+w.path("/events"), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		w.t.Fatalf("stream: %s", res.Status)
	}
	s := &stream{t: w.t, events: make(chan sse, 256)}
	go func() {
		defer close(s.events)
		defer func() { _ = res.Body.Close() }()
		var e sse
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				e.data = value
			case "":
				if e.name != "" {
					s.events <- e
				}
				e = sse{}
			}
		}
	}()
	return s
}

// next returns the next event, or the zero value at the end.
func (s *stream) next() sse {
	s.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case e := <-s.events:
		return e
	case <-timer.C:
		s.t.Fatal("nothing came")
		return sse{}
	}
}

func (s *stream) wantText(text string) sse {
	s.t.Helper()
	e := s.next()
	var m struct{ Name, Text string }
	if e.name != "message" || json.Unmarshal([]byte(e.data), &m) != nil || m.Text != text {
		s.t.Fatalf("got %+v, want the message %q", e, text)
	}
	return e
}

func (s *stream) wantEnd() {
	s.t.Helper()
	if e := s.next(); e != (sse{}) {
		s.t.Errorf("got %+v, want the end of the stream", e)
	}
}

func (w *world) say(bearer, text string) {
	w.t.Helper()
	body, err := json.Marshal(map[string]string{"text": text})
	must(err)
	if a := w.do(call{method: "POST", path: w.path("/messages"), bearer: bearer, body: string(body)}); a.status != http.StatusCreated {
		w.t.Fatalf("saying %q: %d %s", text, a.status, a.code)
	}
}

func TestChat(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 2}, nil)
	ann := w.enter(w.hostTicket(), "Ann")
	ticket, subject := w.guest("Bob")
	bob := w.enter(ticket, "Bob")
	w.say(ann.Grant.Token, "before anybody listened")
	first, second := w.stream(ann.Grant.Token, ""), w.stream(bob.Grant.Token, "")
	w.say(bob.Grant.Token, "hello\nwörld \u2028 {}")
	for _, s := range []*stream{first, second} {
		e := s.wantText("hello\nwörld \u2028 {}")
		if strings.Contains(e.data, subject) || !strings.Contains(e.data, `"name":"Bob"`) {
			t.Errorf("the message is %s", e.data)
		}
	}
	if n := w.metric("voiceroom_gateway_streams"); n != 2 {
		t.Errorf("%v streams are open, want 2", n)
	}
	var said struct{ Messages []struct{ Seq, Text any } }
	w.do(call{method: "GET", path: w.path("/messages?limit=1"), bearer: ann.Grant.Token}).into(t, &said)
	if len(said.Messages) != 1 || said.Messages[0].Text != "hello\nwörld \u2028 {}" {
		t.Errorf("the newest: %+v", said.Messages)
	}
	w.do(call{method: "GET", path: w.path(fmt.Sprintf("/messages?before=%v", said.Messages[0].Seq)), bearer: ann.Grant.Token}).into(t, &said)
	if len(said.Messages) != 1 || said.Messages[0].Text != "before anybody listened" {
		t.Errorf("the ones before: %+v", said.Messages)
	}
}

func TestStreamGoesOnWhereItBroke(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 2}, nil)
	ann := w.enter(w.hostTicket(), "Ann")
	s := w.stream(ann.Grant.Token, "")
	w.say(ann.Grant.Token, "one")
	last := s.wantText("one")
	w.say(ann.Grant.Token, "two")
	s.wantText("two") // before the next stream ends this one
	again := w.stream(ann.Grant.Token, last.id)
	s.wantEnd() // a session has one stream
	again.wantText("two")
	w.say(ann.Grant.Token, "three")
	again.wantText("three")
}

func TestStreamEndsWithItsSession(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		end  func(w *world, member uint32, session string)
		last string // event before the end
	}{
		{"kicked", func(w *world, member uint32, _ string) { w.command(room.Kick{Member: member}) }, ""},
		{"left", func(w *world, _ uint32, session string) { w.command(room.Leave{Session: session}) }, ""},
		{"its key was revoked", func(w *world, _ uint32, _ string) {
			w.command(room.RevokeKeys{Keys: []string{w.keys.tokens.Keys[0].ID}})
		}, ""},
		{"closed in the pod", func(w *world, _ uint32, _ string) { w.command(room.Close{}) }, "closed"},
		{"closed by its resource", func(w *world, _ uint32, _ string) {
			w.status(func(s *v1alpha1.VoiceRoomStatus) { s.Phase = v1alpha1.RoomClosed })
		}, "closed"},
		{"deleted", func(w *world, _ uint32, _ string) { must(direct.Delete(w.t.Context(), w.vr)) }, "closed"},
		{"moved", func(w *world, _ uint32, _ string) {
			w.status(func(s *v1alpha1.VoiceRoomStatus) { s.Media.Epoch = 2 })
		}, "moved"},
		{"stopping", func(w *world, _ uint32, _ string) { w.gateway.Drain() }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 2}, nil)
			w.enter(w.hostTicket(), "Ann")
			ticket, _ := w.guest("Bob")
			bob := w.enter(ticket, "Bob")
			s := w.stream(bob.Grant.Token, "")
			test.end(w, bob.Grant.Member, bob.Grant.Session)
			if test.last != "" {
				if e := s.next(); e.name != test.last || test.last == "moved" && e.data != `{"epoch":2}` {
					t.Errorf("got %+v, want %s", e, test.last)
				}
			}
			s.wantEnd()
		})
	}
}

func (w *world) command(c room.Command) {
	w.t.Helper()
	if _, err := w.pod.Command(w.t.Context(), 1, "", c); err != nil {
		w.t.Fatal(err)
	}
}

func TestStreamOfASessionThatWasTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 2}, nil)
	first := w.enter(w.hostTicket(), "Ann")
	s := w.stream(first.Grant.Token, "")
	second := w.enter(w.hostTicket(), "Ann")
	s.wantEnd()
	if a := w.do(call{method: "POST", path: w.path("/messages"), bearer: first.Grant.Token, body: `{"text":"still here"}`}); a.status != http.StatusNotFound || a.code != string(room.UnknownSession) {
		t.Errorf("the old session posts: %d %s", a.status, a.code)
	}
	w.say(second.Grant.Token, "hello")
}

// Reserved is not entered: no chat yet.
func TestChatIsForThoseWhoEntered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 2}, nil)
	w.enter(w.hostTicket(), "Ann")
	ticket, _ := w.guest("Bob")
	g := w.join(ticket, "")
	for _, c := range []call{
		{method: "GET", path: w.path("/messages")},
		{method: "POST", path: w.path("/messages"), body: `{"text":"hello"}`},
		{method: "GET", path: w.path("/events")},
	} {
		c.bearer = g.Token
		if a := w.do(c); a.status != http.StatusConflict || a.code != string(room.NotEntered) {
			t.Errorf("%s %s: %d %s, want not-entered", c.method, c.path, a.status, a.code)
		}
	}
	if said, err := w.chat.History(t.Context(), w.group.ID, 0, 10); err != nil || len(said) != 0 {
		t.Errorf("messages: %v, %v", said, err)
	}
}

// switchable are providers that can be taken away.
type switchable struct {
	chat.Provider
	off atomic.Bool
}

func (s *switchable) Get(string) (chat.Provider, error) {
	if s.off.Load() {
		return nil, chat.ErrUnavailable
	}
	return s.Provider, nil
}

// Streams stay open while chat is away, for what else there is to tell; what was
// said meanwhile comes once it is back.
func TestStreamsOutliveChat(t *testing.T) {
	t.Parallel()
	broken := &switchable{}
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 2}, nil)
	broken.Provider = w.chat
	w.startGateway(func(c *gateway.Config) { c.Providers = broken })
	ann := w.enter(w.hostTicket(), "Ann")
	broken.off.Store(true)
	s := w.stream(ann.Grant.Token, "")
	if a := w.do(call{method: "POST", path: w.path("/messages"), bearer: ann.Grant.Token, body: `{"text":"hello"}`}); a.status != http.StatusServiceUnavailable || a.code != "chat-unavailable" {
		t.Errorf("posting without chat: %d %s", a.status, a.code)
	}
	if _, err := w.chat.Post(t.Context(), w.group.ID, chat.Message{Author: owner, Text: "meanwhile"}); err != nil {
		t.Fatal(err)
	}
	broken.off.Store(false)
	s.wantText("meanwhile")
	w.say(ann.Grant.Token, "and now")
	s.wantText("and now")
}

// cut is a pod whose watch can be taken away.
type cut struct {
	gateway.Pod
	off *atomic.Bool
}

func (c cut) Watch(ctx context.Context, epoch, after uint64, fn func(mediaapi.Frame) error) error {
	return c.Pod.Watch(ctx, epoch, after, func(f mediaapi.Frame) error {
		if c.off.Load() {
			return errors.New("the pod cannot be heard")
		}
		return fn(f)
	})
}

// Who cannot hear the pod does not know who was thrown out: streams do not go on for ever.
func TestStreamsEndWhenThePodIsNotHeard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 2}, nil)
	var off atomic.Bool
	var ahead atomic.Int64
	w.startGateway(func(c *gateway.Config) {
		dial := c.Dial
		c.Dial = func(life context.Context, endpoint, podUID string) gateway.Pod {
			return cut{Pod: dial(life, endpoint, podUID), off: &off}
		}
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	ann := w.enter(w.hostTicket(), "Ann")
	s := w.stream(ann.Grant.Token, "")
	off.Store(true)
	w.say(ann.Grant.Token, "still heard")
	s.wantText("still heard")
	ahead.Store(int64(time.Minute))
	s.wantEnd()
}

func TestPostsAreSlowedDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 2}, nil)
	ann := w.enter(w.hostTicket(), "Ann")
	for range 50 {
		a := w.do(call{method: "POST", path: w.path("/messages"), bearer: ann.Grant.Token, body: `{"text":"spam"}`})
		if a.status == http.StatusTooManyRequests && a.code == "rate-limited" && a.header.Get("Retry-After") != "" {
			return
		}
	}
	t.Error("50 messages in a row were taken")
}
