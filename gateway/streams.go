package gateway

import (
	"context"
	"net/http"
	"sync"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/token"
)

// backlog is how many events a slow client may be behind before it is cut.
const backlog = 128

// streams are this gateway's event streams. Those of one room share one follower,
// which watches the room's chat and pod while anybody listens.
type streams struct {
	g       *Gateway
	running sync.WaitGroup // followers

	mu       sync.Mutex           // before a follower's
	rooms    map[string]*follower // by the room's UID
	draining bool
}

// listener is one client's stream. Its events end when the session does, when the
// client is too slow, or when the gateway stops.
type listener struct {
	follower *follower
	session  string
	subject  string
	events   chan event // closed at the end, by whoever takes it out of the follower

	// Guarded by the follower.
	epoch, seq uint64 // of a state in which the session had entered; 0: not known yet
}

func newStreams(g *Gateway) *streams {
	return &streams{g: g, rooms: map[string]*follower{}}
}

// open starts a stream of the token's session; an older one of it ends. The caller must
// close it.
func (s *streams) open(p place, t token.Room) (*listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil, refuse(http.StatusServiceUnavailable, codeGatewayStopping, "this gateway is about to stop; ask again").later()
	}
	f := s.rooms[p.ID.UID]
	if f == nil {
		ctx, stop := context.WithCancel(context.Background()) // ends with the last stream
		f = newFollower(s.g, p, stop)
		s.rooms[p.ID.UID] = f
		s.running.Go(func() { f.run(ctx) })
	}
	l := &listener{follower: f, session: t.Session, subject: t.Subject, events: make(chan event, backlog), epoch: p.Epoch}
	f.add(l)
	return l, nil
}

// close ends a stream, and its follower with the last one.
func (s *streams) close(l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := l.follower
	if f.remove(l) == 0 && s.rooms[f.uid] == f {
		delete(s.rooms, f.uid)
		f.stop()
	}
}

func (s *streams) follower(uid string) *follower {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms[uid]
}

// roomChanged tells the room's streams what its resource says.
func (s *streams) roomChanged(vr *v1alpha1.VoiceRoom, deleted bool) {
	f := s.follower(string(vr.UID))
	switch {
	case f == nil:
	case deleted || ended(vr):
		f.endAll(eventOf("closed", 0, struct{}{}))
	case vr.Status.Phase == v1alpha1.RoomAsleep:
		f.endAll() // it is empty
	case vr.Status.Media != nil:
		f.movedTo(uint64(vr.Status.Media.Epoch))
	}
}

// drain ends all streams and takes no more.
func (s *streams) drain() {
	s.mu.Lock()
	s.draining = true
	for _, f := range s.rooms {
		f.endAll()
	}
	s.mu.Unlock()
}

// wait returns when all followers have ended; they do when their last stream has.
func (s *streams) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
