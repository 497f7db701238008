package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"voiceroom.dev/voiceroom/chat"
)

const (
	// heartbeat keeps proxies from ending a stream in which nobody says anything.
	heartbeat = 15 * time.Second
	// streamWrite is how long one write may take: a client that reads nothing is cut.
	streamWrite = 10 * time.Second
)

// pace is how often a stream says that it lives, and how long one write may take.
type pace struct{ heartbeat, write time.Duration }

// event is one server-sent event (HTML, section 9.2).
type event struct {
	name string
	id   uint64 // of a chat message: its Seq; else 0
	data []byte // JSON, one line
}

func eventOf(name string, id uint64, v any) event {
	data, err := json.Marshal(v)
	if err != nil { // structs of strings and numbers always marshal
		panic(err)
	}
	return event{name: name, id: id, data: data}
}

func messageEvent(m chat.Message) event { return eventOf("message", m.Seq, messageOf(m)) }

type moved struct {
	Epoch uint64 `json:"epoch"`
}

// events streams what happens around the caller's room: chat messages, and that the
// room moved to another pod or closed. It ends when the session does.
func (g *Gateway) events(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	p, t, err := g.inRoom(r)
	if err != nil {
		return err
	}
	if _, err := g.member(ctx, p, t.Session); err != nil { // before anything is started for it
		return err
	}
	l, err := g.streams.open(p, t)
	if err != nil {
		return err
	}
	defer g.streams.close(l)
	if err := l.follower.waitChat(ctx); err != nil {
		return err
	}
	if err := g.verify(ctx, p, l); err != nil {
		return err
	}
	missed, err := g.missed(ctx, p, r.Header.Get("Last-Event-ID"))
	if err != nil {
		return err
	}
	g.metrics.streams.Inc()
	defer g.metrics.streams.Dec()
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // nginx buffers otherwise
	w.WriteHeader(http.StatusOK)
	return copyEvents(ctx, w, missed, l.events, pace{heartbeat: heartbeat, write: streamWrite})
}

// verify lets only a session stream that has entered, as of now.
func (g *Gateway) verify(ctx context.Context, p place, l *listener) error {
	info, err := g.member(ctx, p, l.session)
	if err != nil {
		return err
	}
	l.follower.trust(l, info.Seq)
	// The room may have moved between our looking it up and our listening for it.
	now, err := g.located(ctx, p.ID.Namespace, p.ID.Name)
	if err != nil {
		return err
	}
	if now.ID.UID != p.ID.UID || now.Epoch != p.Epoch {
		return stale(http.StatusGone)
	}
	return nil
}

// missed are the messages since the last one that the client saw.
func (g *Gateway) missed(ctx context.Context, p place, lastID string) ([]event, error) {
	last, err := strconv.ParseUint(lastID, 10, 63)
	if err != nil || p.Chat == nil {
		return nil, nil // none said, or none of ours
	}
	said, err := p.Chat.History(ctx, p.ID.GroupID, 0, historyMost)
	if err != nil {
		return nil, err
	}
	var events []event
	for _, m := range said {
		if m.Seq > last {
			events = append(events, messageEvent(m))
		}
	}
	return events, nil
}

// copyEvents writes events until there are no more, the client is gone, or reads
// too slowly. A message that was among the first is not written twice.
func copyEvents(ctx context.Context, w http.ResponseWriter, first []event, events <-chan event, at pace) error {
	control := http.NewResponseController(w)
	write := func(text string) bool {
		_ = control.SetWriteDeadline(time.Now().Add(at.write))
		// HTTP/2 resets a stream whose deadline passes even while nothing is written.
		defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
		if _, err := w.Write([]byte(text)); err != nil { //nolint:gosec // an event stream, with nosniff: no browser renders it
			return false
		}
		return control.Flush() == nil
	}
	if !write(": welcome\n\n") {
		return nil
	}
	var last uint64
	for _, e := range first {
		if !write(e.String()) {
			return nil
		}
		last = e.id
	}
	beat := time.NewTicker(at.heartbeat)
	defer beat.Stop()
	for {
		text := ":\n\n"
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
		case e, ok := <-events:
			if !ok {
				return nil
			}
			if e.id != 0 && e.id <= last {
				continue
			}
			text = e.String()
		}
		if !write(text) {
			return nil
		}
	}
}

func (e event) String() string {
	id := ""
	if e.id != 0 {
		id = fmt.Sprintf("id: %d\n", e.id)
	}
	return fmt.Sprintf("%sevent: %s\ndata: %s\n\n", id, e.name, e.data)
}
