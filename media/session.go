package media

import (
	"context"
	"errors"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"voiceroom.dev/voiceroom/media/egress"
	"voiceroom.dev/voiceroom/media/transport"
	"voiceroom.dev/voiceroom/room"
)

const (
	// commandsPerSecond and commandBurst bound what one client can ask of the keeper.
	// A client that sends more is read more slowly; nothing is refused.
	commandsPerSecond = 20
	commandBurst      = 40

	// asksPerSecond and askBurst bound the packets that it can ask for again: browsers ask with each packet that
	// comes for all that they lack, which on 16 slots, of which a quarter is lost, is half of this.
	asksPerSecond = 2000
	askBurst      = 1000
)

// session is one client's connection to the room. It is the connection's
// transport.Handler.
type session struct {
	id      string
	keeper  *keeper
	conn    *transport.Conn
	data    bool // it has a data channel
	opened  time.Time
	limiter *rate.Limiter
	asks    *rate.Limiter // packets

	// The keeper's.
	restarts int
	out      *egress.Listener // nil until connected
	member   uint32           // 0 until associated
	entered  bool
	stale    bool      // missed events: needs a snapshot
	known    uint64    // the last event that it was told of, unless it is stale
	down     downlink  // what of it is lost
	closeAt  time.Time // a bye was sent; the connection is closed then at the latest
	departing
	journey journey

	// RTP's, of which there is one call at a time.
	paced    time.Time // what it sent is paid for until then
	sequence uint16    // of the packet that was paid for last

	// The forwarder's, under its mutex.
	talks *talker
	hears *listener
	onMic bool // muted or not
}

func newSession(id string, k *keeper, data bool) *session {
	return &session{id: id, keeper: k, data: data, opened: time.Now(),
		limiter: rate.NewLimiter(commandsPerSecond, commandBurst), asks: rate.NewLimiter(asksPerSecond, askBurst)}
}

// etag names the session's ICE session.
func (s *session) etag() string { return `"` + s.id + "." + strconv.Itoa(s.restarts) + `"` }

var _ transport.Handler = (*session)(nil)

// Connected implements transport.Handler.
func (s *session) Connected() {
	s.keeper.call(func() { s.keeper.connected(s) })
}

// RTP implements transport.Handler.
func (s *session) RTP(p *transport.Packet) { s.keeper.forwarder.forward(s, p) }

// NACK implements transport.Handler. What asks for too much does not come as far as the forwarder's lock.
func (s *session) NACK(slot int, seqs []uint16) {
	if s.asks.AllowN(time.Now(), len(seqs)) {
		s.keeper.forwarder.resend(s, slot, seqs)
	}
}

// Data implements transport.Handler.
func (s *session) Data(msg []byte) {
	if s.limiter.Wait(context.Background()) != nil { // a burst of one always fits
		return
	}
	request := parseRequest(msg)
	s.keeper.call(func() { s.keeper.request(s, request) })
}

// Closed implements transport.Handler.
func (s *session) Closed(reason error) {
	s.keeper.call(func() { s.keeper.disconnected(s, reason) })
}

var failures = map[room.Code]error{
	"timeout":              transport.ErrTimeout,
	"fingerprint-mismatch": transport.ErrFingerprint,
	"handshake":            transport.ErrHandshake,
	"peer-closed":          transport.ErrPeerClosed,
	"stopping":             transport.ErrServerClosed,
}

// failure names why a connection did not come to stand.
func failure(reason error) room.Code {
	for code, target := range failures {
		if errors.Is(reason, target) {
			return code
		}
	}
	return room.Failed
}
