package webhook

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/room"
)

// TestEndOfALongGoneRoom is neither told nor kept.
func TestEndOfALongGoneRoom(t *testing.T) {
	r, c := newReceiver(t), config("")
	clock := &hurry{now: t0}
	c.URL, c.Clock = r.URL, clock
	s, _ := start(t, c, nil)
	s.Ended(room.ID{UID: "old"}, t0.Add(-KeepEnded-time.Second), "Empty", "")
	s.Ended(room.ID{UID: "new"}, t0, "Empty", "")
	until(t, "the newer end is told", func() bool { return r.ended("new") })
	if r.ended("old") {
		t.Error("an end was told that was too long ago")
	}
	idle(t, s)
	until(t, "the feed has no goroutine", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.feeds["new"].busy })
	<-clock.After(KeepEnded + time.Second)
	s.Ended(room.ID{UID: "old"}, t0, "Empty", "")
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.feeds) != 0 {
		t.Errorf("%d feeds are kept", len(s.feeds))
	}
}

// TestEndThatCannotBeTold is given up after a day.
func TestEndThatCannotBeTold(t *testing.T) {
	c := config("")
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	clock := &hurry{now: t0}
	c.URL, c.Clock = server.URL, clock
	s, _ := start(t, c, nil)
	s.Ended(room.ID{UID: "a"}, t0, "Empty", "")
	idle(t, s)
	if past := clock.Now().Sub(t0); past < KeepEnded {
		t.Errorf("gave up after %v", past)
	}
}
