package system

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/webhook"
)

const webhookSecret = "whsec_ZW5kLXRvLWVuZC10ZXN0cy1vbmx5LXNlY3JldA=="

// hooks is the deployer's back end of these tests: it follows every room exactly, as
// docs/webhooks.md says.
var hooks = &backEnd{rooms: map[string]*followed{}}

type backEnd struct {
	mu    sync.Mutex
	rooms map[string]*followed // by UID
	err   error                // the first delivery that was not as it has to be
}

// followed is a room as a back end knows it.
type followed struct {
	at      webhook.Cursor
	state   *room.State
	first   webhook.Cursor // where it began
	resyncs int            // that came while it was known already
	jumps   int            // of them, taken
	events  int
	ended   []webhook.Delivery
}

// start makes the back end listen, and returns the flags that aim an operator at it.
func (b *backEnd) start() (flags []string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "voiceroom-webhook-")
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join(dir, "secrets")
	if err := os.WriteFile(path, []byte(webhookSecret+"\n"), 0o600); err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	server := httptest.NewServer(b)
	stop = func() { server.Close(); _ = os.RemoveAll(dir) }
	return []string{"--webhook-url", server.URL, "--webhook-secret-file", path}, stop, nil
}

func (b *backEnd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, err := b.receive(r)
	if err != nil {
		b.err = errors.Join(b.err, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(at)
}

func (b *backEnd) receive(r *http.Request) (webhook.Cursor, error) {
	var d webhook.Delivery
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return webhook.Cursor{}, nil // the operator was killed: the answer reaches nobody
	}
	verifier, err := standardwebhooks.NewWebhook(webhookSecret)
	if err != nil {
		return webhook.Cursor{}, err
	}
	if err := errors.Join(verifier.Verify(body, r.Header), json.Unmarshal(body, &d)); err != nil {
		return webhook.Cursor{}, err
	}
	f := b.rooms[d.Room.UID]
	if f == nil {
		f = &followed{}
		b.rooms[d.Room.UID] = f
	}
	return f.take(d)
}

func (f *followed) take(d webhook.Delivery) (webhook.Cursor, error) {
	switch d.Type {
	case webhook.Ended:
		f.ended = append(f.ended, d)
	case webhook.Resync:
		f.resync(d)
	case webhook.Events:
		for _, e := range d.Events {
			if f.state == nil {
				return f.at, fmt.Errorf("events of %s came before its state", d.Room.Name)
			}
			if e.Epoch == f.at.Epoch && e.Seq > f.at.Seq {
				if !f.state.Apply(e) {
					return f.at, fmt.Errorf("event %d/%d of %s came after %v", e.Epoch, e.Seq, d.Room.Name, f.at)
				}
				f.at.Seq = e.Seq
				f.events++
			}
		}
	}
	return f.at, nil
}

func (f *followed) resync(d webhook.Delivery) {
	if f.state != nil {
		f.resyncs++
	}
	switch same := d.Epoch == f.at.Epoch; {
	case d.Epoch < f.at.Epoch, same && d.Seq <= f.at.Seq, same && !d.Final: // the last asks for what is in between
		return
	case same:
		f.jumps++
	}
	if f.state == nil {
		f.first = webhook.Cursor{Epoch: d.Epoch, Seq: d.Seq}
	}
	f.at, f.state = webhook.Cursor{Epoch: d.Epoch, Seq: d.Seq}, d.State
}

// of calls fn with what the back end knows of a room.
func (b *backEnd) of(r *v1alpha1.VoiceRoom, fn func(*followed)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f := b.rooms[string(r.UID)]; f != nil {
		fn(f)
	}
}

// TestWebhooks: the back end hears of everything, from a room's first event to its end,
// although the operator is killed in between and events happen while it is gone.
func TestWebhooks(t *testing.T) {
	r := newRoom(t, "webhooks")
	ann := open(t, r)
	bob := join(t, bot.Config{Room: r.Namespace + "/" + r.Name, Credential: guest(t, "Bob"), Name: "Bob"})
	muted := func(want bool) func() (bool, error) {
		return func() (yes bool, _ error) {
			hooks.of(r, func(f *followed) {
				mic, ok := f.state.Mic(bob.Entered.Member)
				yes = ok && mic.Muted == want
			})
			return yes, nil
		}
	}
	mute := func(want bool) { must(t, bob.Do(t.Context(), "mute", map[string]bool{"muted": want})) }
	mute(true)
	until(t, "the back end knows that Bob is muted", muted(true))
	mute(false)
	system.KillProcess("operator")
	for range 10 {
		mute(true)
		mute(false)
	}
	mute(true)
	must(t, system.StartProcess("operator"))
	until(t, "the back end was told what happened without the operator", func() (bool, error) {
		resynced := false
		hooks.of(r, func(f *followed) { resynced = f.resyncs > 0 })
		caught, _ := muted(true)()
		return resynced && caught, nil
	})
	mute(false)
	_ = ann.Do(t.Context(), "close", map[string]string{"message": "Good night."}) // its answer may go with the connection
	until(t, "the back end was told of the end", func() (over bool, _ error) {
		hooks.of(r, func(f *followed) { over = len(f.ended) > 0 })
		return over, nil
	})
	hooks.of(r, func(f *followed) {
		if f.jumps != 0 || f.events < 25 || f.first.Epoch != 1 || f.at.Seq != f.first.Seq+uint64(f.events) {
			t.Errorf("%d events from %v to %v, %d jumps: some are missing", f.events, f.first, f.at, f.jumps)
		}
		if f.state.Phase != room.Closed || f.state.CloseMessage != "Good night." {
			t.Errorf("the room is %s (%q) for the back end", f.state.Phase, f.state.CloseMessage)
		}
		last := f.ended[0]
		if last.Reason != string(v1alpha1.CloseByModerator) || last.Message != "Good night." || last.Room.Name != r.Name || last.EndedAt == nil {
			t.Errorf("the end: %+v", last)
		}
		t.Logf("%d events, %d resyncs of a known room", f.events, f.resyncs)
	})
	hooks.mu.Lock()
	defer hooks.mu.Unlock()
	if hooks.err != nil {
		t.Error(hooks.err)
	}
}
