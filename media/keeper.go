package media

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"voiceroom.dev/voiceroom/media/egress"
	"voiceroom.dev/voiceroom/media/transport"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

const (
	// beat is how often everything periodic is done.
	beat = 100 * time.Millisecond
	// linger is how long a connection stays for the client to receive its bye.
	linger = 500 * time.Millisecond
)

// keeper is the goroutine that owns the room. Its methods run on it, except for
// run, call and stop; whatever else wants something of the room sends it a function.
type keeper struct {
	log       *slog.Logger
	now       func() time.Time
	transport *transport.Server
	forwarder *forwarder
	metrics   *metrics
	trusts    func(key string) bool // see keyring

	inbox   chan func()
	quit    chan struct{} // closed by stop
	stopped chan struct{} // closed when run returned
	ended   chan struct{} // closed by finish
	endOnce sync.Once

	room       *room.Room // nil until the pod is given one
	lease      time.Time  // strangers may come in until then
	sessions   map[string]*session
	opening    map[*session]struct{} // those that are not associated yet
	members    map[uint32]*session   // those that are, by member
	leaving    map[*session]struct{} // ended, but not closed yet
	watchers   map[*watcher]struct{}
	history    history     // of this epoch, for watchers that come back
	durability *durability // of this epoch
	publisher  publisher
	departure  departure
	draining   bool // the pod is to end once nobody is connected
	beats      int
	ballast    []byte // see ballastSize
}

func newKeeper(log *slog.Logger, now func() time.Time, t *transport.Server, f *forwarder, m *metrics, trusts func(key string) bool) *keeper {
	return &keeper{
		log: log, now: now, transport: t, forwarder: f, metrics: m, trusts: trusts,
		inbox: make(chan func(), 64), quit: make(chan struct{}), stopped: make(chan struct{}), ended: make(chan struct{}),
		sessions: map[string]*session{}, opening: map[*session]struct{}{}, members: map[uint32]*session{},
		leaving: map[*session]struct{}{}, watchers: map[*watcher]struct{}{},
	}
}

// run is the keeper's goroutine. It returns after stop.
func (k *keeper) run() {
	defer close(k.stopped)
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		select {
		case f := <-k.inbox:
			f()
		case <-due.C:
			k.tick()
		case now := <-ticker.C:
			k.onBeat(now)
		case <-k.quit:
			return
		}
		due.Reset(k.untilDue())
	}
}

// stop ends run and waits for it. No connection may be left to call the keeper.
func (k *keeper) stop() {
	close(k.quit)
	<-k.stopped
}

// call runs f on the keeper's goroutine and waits until it has. It is false, and f
// did not run, if the keeper has stopped.
func (k *keeper) call(f func()) bool {
	done := make(chan struct{})
	select {
	case k.inbox <- func() { f(); close(done) }:
	case <-k.stopped:
		return false
	}
	select {
	case <-done:
		return true
	case <-k.stopped:
		return false
	}
}

// ask is call with a result.
func ask[T any](k *keeper, f func() (T, error)) (T, error) {
	var out T
	err := error(&room.Error{Code: mediaapi.Stopping, Detail: "the pod is about to stop"})
	k.call(func() { out, err = f() })
	return out, err
}

// untilDue is how long until time alone changes the room.
func (k *keeper) untilDue() time.Duration {
	const idle = time.Hour
	if k.room == nil {
		return idle
	}
	next := k.room.Next()
	if next.IsZero() {
		return idle
	}
	return max(next.Sub(k.now()), 0)
}

// put gives the pod its room, or the room a newer spec.
func (k *keeper) put(r mediaapi.PutRequest) (*room.State, error) {
	advertise, err := parseAdvertise(r.Advertise)
	if err != nil {
		return nil, err
	}
	if r.Spec.Audience == room.Mix && k.forwarder.codec == nil {
		k.log.Warn("this media server was built without libopus and cannot mix: the audience hears what is forwarded", "room", r.ID.Namespace+"/"+r.ID.Name)
		r.Spec.Audience = room.Forward // the state says so to the operator
	}
	if err := k.bind(r); err != nil {
		return nil, err
	}
	if len(advertise) > 0 {
		if err := k.transport.Advertise(advertise); err != nil {
			return nil, &room.Error{Code: mediaapi.BadRequest, Detail: err.Error()}
		}
	}
	if err := k.do(room.Control, room.SetSpec{Spec: r.Spec}); err != nil {
		return nil, err
	}
	return k.room.State(), nil
}

// bind makes the room of a request the one that is here.
func (k *keeper) bind(r mediaapi.PutRequest) error {
	if r.ID.UID == "" || r.Epoch == 0 {
		return &room.Error{Code: mediaapi.BadRequest, Detail: "a room needs a UID and an epoch"}
	}
	if k.room == nil {
		k.open(r)
		return nil
	}
	here := k.room.View()
	switch {
	case here.ID.UID != r.ID.UID:
		return &room.Error{Code: mediaapi.OtherRoom, Detail: "this pod is bound to another room"}
	case r.Epoch > here.Epoch && here.Phase == room.Prepared && len(k.sessions) == 0:
		// The claim is repeated because its answer was lost; nobody has come in yet.
		k.open(r)
		return nil
	}
	return k.at(r.Epoch)
}

func (k *keeper) open(r mediaapi.PutRequest) {
	now := k.now()
	k.room, k.lease = room.New(r.ID, r.Epoch, r.Spec, r.Seed, now), now
	k.history, k.durability = history{}, newDurability()
	if k.ballast == nil {
		k.ballast = make([]byte, ballastSize)
	}
	k.log.Info("the pod has a room", "room", r.ID.Namespace+"/"+r.ID.Name, "uid", r.ID.UID, "epoch", r.Epoch)
	k.metrics.follow(k)
	k.snapshotWatchers()
}

func parseAdvertise(addrs []string) ([]netip.AddrPort, error) {
	out := make([]netip.AddrPort, 0, len(addrs))
	for _, s := range addrs {
		a, err := netip.ParseAddrPort(s)
		if err != nil {
			return nil, &room.Error{Code: mediaapi.BadRequest, Detail: fmt.Sprintf("%.60q is not an address and a port", s)}
		}
		out = append(out, a)
	}
	return out, nil
}

// at checks that a request is meant for the room's epoch. A higher one proves that
// the room has moved.
func (k *keeper) at(epoch uint64) error {
	if k.room == nil {
		return &room.Error{Code: mediaapi.NoRoom, Detail: "this pod has no room yet"}
	}
	switch here := k.room.View().Epoch; {
	case epoch < here:
		return &room.Error{Code: room.StaleEpoch, Detail: fmt.Sprintf("epoch %d is over; the room is at %d", epoch, here)}
	case epoch > here:
		if err := k.do(room.Control, room.Seal{}); err != nil {
			return err
		}
		return &room.Error{Code: room.Moving, Detail: "the room has moved to another media pod; ask again"}
	}
	return nil
}

// finish makes Server.Run and the watches end. It may be called from anywhere.
func (k *keeper) finish() { k.endOnce.Do(func() { close(k.ended) }) }

// end takes a session out: no audio in either direction from here on; a bye that
// says why, and then the end of the connection.
func (k *keeper) end(s *session, why room.Code, detail string, now time.Time) {
	if s == nil || k.sessions[s.id] != s {
		return
	}
	k.forget(s, now)
	if s.out == nil || k.send(s, bye{Type: "bye", Code: why, Detail: detail}) != nil {
		s.conn.Close(&room.Error{Code: why, Detail: detail})
		return
	}
	s.closeAt = now.Add(linger)
	k.leaving[s] = struct{}{}
}

func (k *keeper) forget(s *session, now time.Time) {
	delete(k.sessions, s.id)
	delete(k.opening, s)
	if k.members[s.member] == s {
		delete(k.members, s.member)
	}
	s.entered = false
	k.forwarder.leave(s, now)
}

// drain makes the pod end once nobody is connected.
func (k *keeper) drain() {
	k.call(func() {
		k.log.Info("the pod is to go; it ends once nobody is connected", "sessions", len(k.sessions))
		k.draining = true
		k.noteDrained()
	})
}

func (k *keeper) noteDrained() {
	if k.draining && len(k.sessions) == 0 {
		k.finish()
	}
}

// endAll says goodbye to everyone: the process ends, the room may not have.
func (k *keeper) endAll() {
	now := time.Now()
	for _, s := range k.sessions {
		k.end(s, room.Moving, "the media server is stopping; join again", now)
	}
}

// connected is called once a session's media connection stands.
func (k *keeper) connected(s *session) {
	if k.sessions[s.id] != s {
		return // ended meanwhile
	}
	now := time.Now()
	k.metrics.handshake.Observe(now.Sub(s.opened).Seconds())
	s.journey.stands(s.id, s.conn.Checked(), now)
	err := k.associate(s)
	s.journey.reached("associate", s.id, time.Now(), err)
	if err != nil {
		k.log.Info("a connection that stands was not associated", "session", s.id, "error", err)
		k.metrics.refused(err)
		k.end(s, codeOf(err), "the connection was not taken into the room", time.Now())
		_ = k.do(room.Control, room.Fail{Session: s.id}) // refused if the room has forgotten it already
	}
}

func (k *keeper) associate(s *session) error {
	out, err := egress.New(s.conn)
	if err != nil {
		return err
	}
	s.out = out
	if err := k.do(room.Control, room.Associate{Session: s.id}); err != nil {
		return err
	}
	_ = k.send(s, welcome{Type: "welcome", Member: s.member, Session: s.id, Epoch: k.room.View().Epoch, Slots: out.Len()})
	k.metrics.joins.Inc()
	return nil
}

// disconnected is called once for every connection, when it has ended.
func (k *keeper) disconnected(s *session, reason error) {
	delete(k.leaving, s)
	if k.sessions[s.id] != s {
		return
	}
	associated := s.member != 0
	k.forget(s, time.Now())
	var command room.Command = room.Lost{Session: s.id}
	if !associated {
		k.metrics.failures.WithLabelValues(string(failure(reason))).Inc()
		s.journey.failed(s.id, s.conn.Checked(), time.Now(), reason)
		command = room.Fail{Session: s.id}
	}
	k.log.Info("a connection has ended", "session", s.id, "associated", associated, "reason", reason)
	if err := k.do(room.Control, command); err != nil { // the room has let it go already
		k.followPhase(time.Now())
	}
}

// tick lets time pass in the room.
func (k *keeper) tick() {
	if k.room == nil {
		return
	}
	if err := k.do(room.Control, room.Tick{}); err != nil && !errors.Is(err, &room.Error{Code: room.RoomClosed}) {
		k.log.Error("letting time pass in the room", "error", err)
	}
}
