package gateway

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// A client that does not read is cut; the others hear everything.
func TestSlowClientIsCut(t *testing.T) {
	g := &Gateway{metrics: newMetrics(prometheus.NewRegistry())}
	f := newFollower(g, place{}, func() {})
	slow := &listener{follower: f, session: "slow", events: make(chan event, backlog)}
	quick := &listener{follower: f, session: "quick", events: make(chan event, backlog)}
	f.add(slow)
	f.add(quick)
	for i := range backlog + 1 {
		f.broadcast(messageEvent(chat.Message{Seq: uint64(i + 1)}))
		if e := <-quick.events; e.id != uint64(i+1) {
			t.Fatalf("the quick one heard %d, want %d", e.id, i+1)
		}
	}
	heard := 0
	for range slow.events { // it ends
		heard++
	}
	if heard != backlog || testutil.ToFloat64(g.metrics.cut) != 1 || f.remove(quick) != 0 {
		t.Errorf("the slow one heard %d of %d; %v were cut", heard, backlog, testutil.ToFloat64(g.metrics.cut))
	}
}

// A replica that is older than the session says nothing about it.
func TestOldReplicaEndsNoNewStream(t *testing.T) {
	f := newFollower(&Gateway{metrics: newMetrics(prometheus.NewRegistry())}, place{}, func() {})
	f.state = &room.State{Epoch: 1, Seq: 5}
	l := &listener{follower: f, session: "s", epoch: 1, events: make(chan event, backlog)}
	f.add(l)
	f.trust(l, 7)
	if len(f.listeners) != 1 {
		t.Fatal("the stream was ended by a replica from before")
	}
	f.state.Seq = 8
	f.trust(l, 8)
	if _, open := <-l.events; open || len(f.listeners) != 0 {
		t.Error("the stream outlived its session")
	}
}

func TestDrainedGatewayOpensNoStream(t *testing.T) {
	s := newStreams(&Gateway{})
	s.drain()
	_, err := s.open(place{Room: admission.Room{ID: room.ID{UID: "u"}}}, token.Room{Session: "s"})
	if refusalOf(err).code != codeGatewayStopping {
		t.Errorf("error %v", err)
	}
}

func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 46*time.Second)
		defer cancel()
		w := httptest.NewRecorder()
		events := make(chan event, 3)
		events <- messageEvent(chat.Message{Seq: 1}) // was among the missed ones
		events <- messageEvent(chat.Message{Seq: 2, Text: "hi"})
		first := []event{messageEvent(chat.Message{Seq: 1, Text: "missed"})}
		if err := copyEvents(ctx, w, first, events, pace{heartbeat: heartbeat, write: streamWrite}); err != nil {
			t.Fatal(err)
		}
		text := w.Body.String()
		if n := strings.Count(text, "\n:\n"); n != 3 {
			t.Errorf("%d heartbeats in 46 s, want 3:\n%s", n, text)
		}
		if strings.Count(text, "event: message") != 2 || strings.Count(text, "id: 1\n") != 1 {
			t.Errorf("messages not written once each:\n%s", text)
		}
	})
}

// HTTP/2 ends a stream whose write deadline passes, although nothing is being written.
func TestStreamsOutliveTheirWriteDeadlines(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = copyEvents(r.Context(), w, nil, nil, pace{heartbeat: 300 * time.Millisecond, write: 200 * time.Millisecond})
		}))
		server.EnableHTTP2 = http2
		server.StartTLS()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(res.Body)
		beats := 0
		for beats < 2 && lines.Scan() {
			if lines.Text() == ":" {
				beats++
			}
		}
		if beats < 2 {
			t.Errorf("%s: the stream ended after %d heartbeats: %v", res.Proto, beats, lines.Err())
		}
		_ = res.Body.Close()
		server.Close()
	}
}
