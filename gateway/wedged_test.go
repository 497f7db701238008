package gateway_test

import (
	"crypto/rand"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// A pod that is wedged answers nobody. Whoever waits for it waits until the room has another
// one, not until the call times out.
func TestNobodyWaitsForAPodThatLostItsRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 1}, nil)
	ann := w.enter(w.hostTicket(), "Ann")
	before := w.state()
	wedged, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // as a process that is stopped: its kernel takes connections
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = wedged.Close() }()
	w.status(func(s *v1alpha1.VoiceRoomStatus) {
		s.Media = &v1alpha1.RoomMediaStatus{Pod: "wedged", PodUID: rand.Text(), Endpoint: wedged.Addr().String(), Epoch: 2}
	})
	session, err := w.minter.Room(token.Room{RoomUID: string(w.vr.UID), Epoch: 2, Subject: w.vr.Spec.Owner, Session: "s",
		ExpiresAt: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	calls := []call{
		{method: "POST", path: w.path("/join"), bearer: ann.Grant.Token},
		{method: "POST", path: w.rtc(), bearer: session, body: newPeer(t).offer(t, nil), contentType: "application/sdp"},
		{method: "POST", path: w.path("/sessions/s/feedback"), bearer: session, body: `{"outcome":"connected"}`},
		{method: "POST", path: w.path("/commands/mute"), bearer: session, body: `{"muted":true}`},
		{method: "GET", path: w.path("/events"), bearer: session},
	}
	var calling sync.WaitGroup
	for _, c := range calls {
		calling.Go(func() {
			a := w.do(c)
			if a.status != http.StatusServiceUnavailable || a.code != string(room.Moving) || a.header.Get("Retry-After") != "" {
				t.Errorf("%s %s: %d %s, want moving, to be asked again at once", c.method, c.path, a.status, a.code)
			}
		})
	}
	for range calls {
		conn, err := wedged.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	w.claim(3, before)
	calling.Wait()
	if again := w.enter(ann.Grant.Token, "Ann"); again.Grant.Epoch != 3 || again.Grant.Member != ann.Grant.Member {
		t.Errorf("came back as %+v; was %+v", again.Grant, ann.Grant)
	}
}
