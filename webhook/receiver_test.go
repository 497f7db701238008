package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"voiceroom.dev/voiceroom/room"
)

// receiver is a back end that follows docs/webhooks.md over real HTTP: it verifies, keeps
// a cursor and a copy of each room, and answers with the cursor.
type receiver struct {
	*httptest.Server
	verifier *standardwebhooks.Webhook
	// before, if set, may answer in place of the receiver: it returns true if it did. It
	// is called without the lock.
	before func(w http.ResponseWriter, d Delivery) bool
	// lose, if set, says whether the answer to what was stored gets lost.
	lose func() bool

	mu    sync.Mutex
	books map[string]*book
	log   []string // "id kind" of each delivery that came in, retries included
	err   error    // the first thing that must not be
}

// book is what the receiver has of a room.
type book struct {
	cursor Cursor
	state  *room.State
	events []room.Event // every event that it has seen, in order
	jumps  int          // resyncs within an epoch: events were missed
	ended  *Delivery
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	verifier, err := standardwebhooks.NewWebhook(testSecret)
	must(t, err)
	r := &receiver{verifier: verifier, books: map[string]*book{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(func() {
		r.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.err != nil {
			t.Error(r.err)
		}
	})
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	d, err := r.read(req)
	if err != nil {
		r.note(err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.log = append(r.log, req.Header.Get(standardwebhooks.HeaderWebhookID)+" "+string(d.Type))
	r.mu.Unlock()
	if r.before != nil && r.before(w, d) {
		return
	}
	cursor := r.take(d)
	if r.lose != nil && r.lose() {
		panic(http.ErrAbortHandler) // cuts the connection
	}
	if err := json.NewEncoder(w).Encode(cursor); err != nil {
		r.note(err)
	}
}

func (r *receiver) read(req *http.Request) (Delivery, error) {
	var d Delivery
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return d, err
	}
	if err := r.verifier.VerifyIgnoringTimestamp(body, req.Header); err != nil { // tests have their own time
		return d, err
	}
	return d, json.Unmarshal(body, &d)
}

func (r *receiver) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// take follows the rules for receivers.
func (r *receiver) take(d Delivery) Cursor {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.books[d.Room.UID]
	if b == nil {
		b = &book{}
		r.books[d.Room.UID] = b
	}
	at := Cursor{d.Epoch, d.Seq}
	switch d.Type {
	case Ended:
		b.ended = &d
	case Resync:
		switch {
		case at.compare(b.cursor) <= 0:
		case at.Epoch == b.cursor.Epoch && !d.Final: // give me what is in between
		default:
			if at.Epoch == b.cursor.Epoch {
				b.jumps++
			}
			b.cursor, b.state = at, d.State
		}
	case Events:
		r.err = errors.Join(r.err, b.apply(d))
	}
	return b.cursor
}

// apply takes the events of a delivery that it does not have, if they follow.
func (b *book) apply(d Delivery) error {
	if last := d.Events[len(d.Events)-1]; last.Epoch != d.Epoch || last.Seq != d.Seq {
		return fmt.Errorf("a delivery up to %d/%d ends with event %d/%d", d.Epoch, d.Seq, last.Epoch, last.Seq)
	}
	for i, e := range d.Events {
		if i > 0 && e.Seq != d.Events[i-1].Seq+1 {
			return fmt.Errorf("event %d comes after %d", e.Seq, d.Events[i-1].Seq)
		}
		if e.Member != nil && e.Member.Session != "" || e.Settings != nil && e.Settings.Spec != nil {
			return fmt.Errorf("event %d shows what it should not", e.Seq)
		}
		if (Cursor{e.Epoch, e.Seq}).compare(b.cursor) <= 0 {
			continue
		}
		if b.state == nil || !b.state.Apply(e) {
			return nil // a gap: the answer tells
		}
		b.cursor.Seq = e.Seq
		b.events = append(b.events, e)
	}
	return nil
}

// seen returns a copy of the log.
func (r *receiver) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.log...)
}

// with runs fn with what the receiver has of a room.
func (r *receiver) with(uid string, fn func(b *book)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.books[uid]; b != nil {
		fn(b)
	}
}

// cursor is what the receiver has of a room.
func (r *receiver) cursor(uid string) (c Cursor) {
	r.with(uid, func(b *book) { c = b.cursor })
	return c
}

// ended says whether the receiver was told that a room is over.
func (r *receiver) ended(uid string) (yes bool) {
	r.with(uid, func(b *book) { yes = b.ended != nil })
	return yes
}
