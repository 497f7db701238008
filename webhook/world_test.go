package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"voiceroom.dev/voiceroom/room"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	otherSecret = "whsec_b3RoZXItc2VjcmV0LW9mLTI0LWJ5dGVz"
	// patience is how long anything may take before a test gives up; nothing asserts it.
	patience = 30 * time.Second
)

var t0 = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// hurry is a clock on which waits end at once, and that writes them down.
type hurry struct {
	mu    sync.Mutex
	now   time.Time
	waits []time.Duration
}

func (h *hurry) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *hurry) After(d time.Duration) <-chan time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
	h.waits = append(h.waits, d)
	c := make(chan time.Time, 1)
	c <- h.now
	return c
}

func (h *hurry) waited() []time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]time.Duration(nil), h.waits...)
}

// pod is a room at its pod, as the operator follows it: it tells its sender of every
// event, and remembers some.
type pod struct {
	remembers int // how many events; 0: all

	mu     sync.Mutex
	room   *room.Room
	now    time.Time
	past   []room.Event // of this epoch
	sender *Sender
}

func newPod(uid string) *pod {
	id := room.ID{UID: uid, Namespace: "shop", Name: "room-" + uid, GroupID: "g-" + uid}
	spec := room.Spec{Generation: 1, Owner: "key:shop:ann", MaxMembers: 20, MaxMics: 4, Access: room.Public, MicPolicy: room.Auto}
	p := &pod{now: t0, room: room.New(id, 1, spec, nil, t0)}
	p.do(room.Renew{Until: t0.Add(1000 * time.Hour)})
	return p
}

// tell makes s the pod's sender from now on.
func (p *pod) tell(s *Sender) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sender = s
	s.Snapshot(p.room.View())
}

func (p *pod) do(c room.Command) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(time.Second)
	events, _ := p.room.Do(p.now, room.Control, c)
	p.past = append(p.past, events...)
	if p.sender == nil {
		return
	}
	for _, e := range events {
		p.sender.Event(p.room.View().ID, e)
	}
}

// die replaces the pod by one of the next epoch.
func (p *pod) die() {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.room.State()
	p.room, p.past = room.New(old.ID, old.Epoch+1, *old.Settings.Spec, old, p.now), nil
	_, _ = p.room.Do(p.now, room.Control, room.Renew{Until: t0.Add(1000 * time.Hour)})
	if p.sender != nil {
		p.sender.Snapshot(p.room.View())
	}
}

// announce changes the announcement n times: each one is an event.
func (p *pod) announce(n int, text string) {
	for i := range n {
		announcement := text + string(rune('a'+i%26))
		p.do(room.Configure{Announcement: &announcement})
	}
}

func (p *pod) state() *room.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.room.State()
}

func (p *pod) since(epoch, after, last uint64) ([]room.Event, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.room.View()
	forgotten := 0
	if p.remembers > 0 {
		forgotten = max(0, len(p.past)-p.remembers)
	}
	if epoch != s.Epoch || int(after) < forgotten || last > s.Seq {
		return nil, errors.New("not remembered")
	}
	return append([]room.Event(nil), p.past[after:last]...), nil
}

// pods are the rooms of a test.
type pods map[string]*pod

func (p pods) State(uid string) *room.State {
	if p[uid] == nil {
		return nil
	}
	return p[uid].state()
}

func (p pods) Since(_ context.Context, uid string, epoch, after, last uint64) ([]room.Event, error) {
	return p[uid].since(epoch, after, last)
}

// config is one for the receiver at a URL.
func config(url string) Config {
	return Config{URL: url, Secrets: func() ([]byte, error) { return []byte(testSecret), nil }, Clock: &hurry{now: t0},
		Random: func() float64 { return 0.5 }, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)}
}

// start makes a sender that tells of some rooms, and runs it. It returns what stops it
// and waits; the test's end does too.
func start(t *testing.T, c Config, rooms Rooms) (*Sender, func()) {
	t.Helper()
	s, err := New(c, rooms)
	must(t, err)
	if all, ok := rooms.(pods); ok {
		for _, p := range all {
			p.tell(s)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Start(ctx) // it never fails
	}()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return s, stop
}

// idle waits until everything is acknowledged, or given up.
func idle(t *testing.T, s *Sender) {
	t.Helper()
	until(t, "nothing waits", func() bool { rooms, bytes, oldest := s.backlog(); return rooms == 0 && bytes == 0 && oldest == 0 })
}

func until(t *testing.T, what string, yes func() bool) {
	t.Helper()
	deadline := time.After(patience)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !yes() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func jsonTo(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

func readAll(req *http.Request) ([]byte, error) { return io.ReadAll(req.Body) }

// wall is the real clock.
type wall struct{}

func (wall) Now() time.Time                         { return time.Now() }
func (wall) After(d time.Duration) <-chan time.Time { return time.After(d) }
