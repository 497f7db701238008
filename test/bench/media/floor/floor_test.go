//go:build linux

package floor_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"voiceroom.dev/voiceroom/test/bench/media/client"
	"voiceroom.dev/voiceroom/test/bench/media/floor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var frames = [][]byte{[]byte("short"), bytes.Repeat([]byte("long"), 20), []byte("middling frame")}

// newListeners makes more clients than leave in one batch.
func newListeners(t *testing.T, talkers int) []*client.Client {
	t.Helper()
	var ssrcs []uint32
	for i := range talkers {
		ssrcs = append(ssrcs, floor.SSRC(i))
	}
	var all []*client.Client
	for range 70 {
		c, err := client.New(client.Options{NoGRO: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		c.Expect(ssrcs)
		all = append(all, c)
	}
	return all
}

func newSender(t *testing.T, talkers int) *floor.Sender {
	t.Helper()
	s, err := floor.New(talkers, frames)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Each tick, one packet of each talker reaches each listener, sealed and made as long as the longest.
func TestTick(t *testing.T) {
	for _, talkers := range []int{1, 3} {
		const ticks = 4
		s, listeners := newSender(t, talkers), newListeners(t, talkers)
		var to []netip.AddrPort
		for _, l := range listeners {
			to = append(to, l.Addr())
		}
		s.Add(to)
		size := 0
		for tick := range ticks {
			longest := 0
			for talker := range talkers {
				longest = max(longest, len(frames[(tick+31*talker)%len(frames)]))
			}
			size += talkers * (24 + longest + 16)
			if err := s.Tick(tick); err != nil {
				t.Fatal(err)
			}
		}
		for _, l := range listeners {
			eventually(t, func() bool {
				n := l.Counts()
				return n.Packets == uint64(talkers*ticks) && n.Expected == n.Packets && n.Bytes == uint64(size) && n.Strange == 0
			})
		}
	}
}

// Another process lets listeners in, and makes it play and pause.
func TestHandler(t *testing.T) {
	s, listeners := newSender(t, 1), newListeners(t, 1)
	server := httptest.NewServer(floor.Handler(s, func(err error) { t.Error(err) }))
	defer server.Close()
	post := func(path string, body any) int {
		t.Helper()
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post(server.URL+path, "application/json", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	defer http.DefaultClient.CloseIdleConnections()
	first := listeners[0]
	if status := post("/listeners", []netip.AddrPort{first.Addr()}); status != http.StatusOK {
		t.Errorf("adding a listener: %d", status)
	}
	post("/play", nil)
	eventually(t, func() bool { return first.Counts().Packets > 3 })
	if status := post("/listeners", []netip.AddrPort{listeners[1].Addr()}); status != http.StatusConflict {
		t.Errorf("adding a listener while it plays: %d", status)
	}
	post("/pause", nil)
	if listeners[1].Counts().Packets != 0 {
		t.Error("somebody hears who was not let in")
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}
