package media

import (
	"errors"
	"net/http"
	"time"

	"voiceroom.dev/voiceroom/media/transport"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// errToken is a refused token.
func errToken(err error) error {
	return &room.Error{Code: mediaapi.TokenCode(err), Detail: "the room token is not valid here"}
}

// parseOffer reads an offer; what is wrong with it is a refusal.
func parseOffer(sdp string) (*transport.Offer, error) {
	offer, err := transport.ParseOffer([]byte(sdp))
	if bad := (*transport.OfferError)(nil); errors.As(err, &bad) {
		return nil, &room.Error{Code: room.Code(bad.Code), Detail: bad.Reason}
	}
	return offer, err
}

// signal opens a session. The token is spent only once the offer was understood.
func (a *api) signal(h *http.Request, r mediaapi.SignalRequest) (*mediaapi.SignalAnswer, error) {
	id, err := a.roomAt(r.Epoch)
	if err != nil {
		return nil, err
	}
	t, err := a.tokens.Room(r.Token, id.UID, r.Epoch)
	if err != nil {
		return nil, a.countRefused(errToken(err))
	}
	offer, err := parseOffer(r.Offer)
	if err != nil {
		return nil, a.countRefused(err)
	}
	journey := newJourney(h.Context(), time.Now())
	answer, err := ask(a.keeper, func() (*mediaapi.SignalAnswer, error) { return a.keeper.openSession(r.Epoch, t, offer, journey) })
	if errors.Is(err, &room.Error{Code: room.UnknownSession}) {
		err = &statusError{http.StatusUnauthorized, err} // here it is the credential that is out of date
	}
	return answer, a.countRefused(err)
}

// restart answers an offer that restarts ICE.
func (a *api) restart(h *http.Request, r mediaapi.SignalRequest) (*mediaapi.SignalAnswer, error) {
	session := h.PathValue("session")
	if err := a.opened(session, r.Epoch, r.Token); err != nil {
		return nil, err
	}
	offer, err := parseOffer(r.Offer)
	if err != nil {
		return nil, err
	}
	return ask(a.keeper, func() (*mediaapi.SignalAnswer, error) {
		return a.keeper.restartSession(r.Epoch, session, r.IfMatch, offer)
	})
}

// hangup ends a session for who opened it.
func (a *api) hangup(h *http.Request, r mediaapi.HangupRequest) (*struct{}, error) {
	session := h.PathValue("session")
	if err := a.opened(session, r.Epoch, r.Token); err != nil {
		return nil, err
	}
	return ask(a.keeper, func() (*struct{}, error) {
		if err := a.keeper.at(r.Epoch); err != nil {
			return nil, err
		}
		return nil, a.keeper.do(room.Control, room.Leave{Session: session})
	})
}

// opened checks that a token, expired or not, is the one that opened the session.
func (a *api) opened(session string, epoch uint64, bearer string) error {
	id, err := a.roomAt(epoch)
	if err != nil {
		return err
	}
	t, err := a.tokens.RoomExpired(bearer, id.UID, epoch)
	if err != nil {
		return errToken(err)
	}
	if t.Session != session {
		return &room.Error{Code: mediaapi.Forbidden, Detail: "this token opened another session"}
	}
	return nil
}

// roomAt returns the room's ID if its epoch is this one.
func (a *api) roomAt(epoch uint64) (room.ID, error) {
	return ask(a.keeper, func() (room.ID, error) {
		if err := a.keeper.at(epoch); err != nil {
			return room.ID{}, err
		}
		return a.keeper.room.View().ID, nil
	})
}

func (a *api) countRefused(err error) error {
	if err != nil {
		a.metrics.refused(err)
	}
	return err
}

// openSession spends the session's token and answers its offer.
func (k *keeper) openSession(epoch uint64, t token.Room, offer *transport.Offer, j journey) (*mediaapi.SignalAnswer, error) {
	if err := k.at(epoch); err != nil {
		return nil, err
	}
	if err := k.trust(t.Key); err != nil {
		return nil, err
	}
	if err := k.do(room.Control, room.Open{Session: t.Session, Key: t.Key}); err != nil {
		return nil, err
	}
	s := newSession(t.Session, k, offer.HasData())
	s.journey = j
	conn, answer, err := k.transport.Accept(offer, s)
	if err != nil {
		_ = k.do(room.Control, room.Fail{Session: s.id}) // it was opened in this same step: never refused
		return nil, err
	}
	s.conn = conn
	k.sessions[s.id], k.opening[s] = s, struct{}{}
	k.metrics.follow(k)
	return &mediaapi.SignalAnswer{Session: s.id, ETag: s.etag(), Answer: string(answer)}, nil
}

// trust refuses a key that was taken away after it verified what it signed: on the keeper's
// goroutine, where that either ends what the key let in or is known here.
func (k *keeper) trust(key string) error {
	if k.trusts(key) {
		return nil
	}
	return &room.Error{Code: mediaapi.TokenUnknownKey, Detail: "what let you in was signed by a key that is not trusted any more"}
}

func (k *keeper) restartSession(epoch uint64, id, ifMatch string, offer *transport.Offer) (*mediaapi.SignalAnswer, error) {
	if err := k.at(epoch); err != nil {
		return nil, err
	}
	s := k.sessions[id]
	switch {
	case s == nil:
		return nil, &room.Error{Code: room.UnknownSession, Detail: "this session has ended or was replaced"}
	case ifMatch != "*" && ifMatch != s.etag():
		return nil, &room.Error{Code: mediaapi.ETagMismatch, Detail: "the ICE session was restarted meanwhile"}
	}
	answer, err := s.conn.Restart(offer)
	switch {
	case errors.Is(err, transport.ErrRestartChanged):
		return nil, &room.Error{Code: "offer-changed", Detail: err.Error()}
	case err != nil:
		return nil, &room.Error{Code: room.UnknownSession, Detail: "this session has ended"}
	}
	s.restarts++
	return &mediaapi.SignalAnswer{Session: s.id, ETag: s.etag(), Answer: string(answer)}, nil
}

// reserve takes a place.
func (k *keeper) reserve(r mediaapi.ReserveRequest) (*mediaapi.Reservation, error) {
	if err := k.at(r.Epoch); err != nil {
		return nil, err
	}
	for _, key := range r.Keys {
		if err := k.trust(key); err != nil {
			return nil, err
		}
	}
	if err := k.do(room.Control, r.Reserve); err != nil {
		return nil, err
	}
	state := k.room.View()
	m, ok := k.room.Subject(r.Subject)
	if !ok {
		return nil, errors.New("a place was taken but is not there")
	}
	ttl := room.ReservationTTL
	if r.Guest {
		ttl = room.GuestTTL
	}
	return &mediaapi.Reservation{Epoch: state.Epoch, Member: m, ExpiresAt: k.now().Add(ttl), Members: len(state.Members)}, nil
}

// renew lets strangers in for another lease, and notes what is durable.
func (k *keeper) renew(r mediaapi.LeaseRequest) error {
	if err := k.at(r.Epoch); err != nil {
		return err
	}
	k.durability.reach(min(r.Seq, k.room.View().Seq))
	until := k.now().Add(mediaapi.Lease)
	if err := k.do(room.Control, room.Renew{Until: until, Durable: min(r.Seq, k.room.View().Seq)}); err != nil {
		return err
	}
	k.lease = until
	k.metrics.follow(k)
	return nil
}

// closeRoom ends the room for everyone. It may be asked again.
func (k *keeper) closeRoom(epoch uint64, reason string) error {
	if err := k.at(epoch); err != nil && !errors.Is(err, &room.Error{Code: room.RoomClosed}) {
		return err
	}
	if k.room.View().Phase == room.Closed {
		return nil
	}
	return k.do(room.Control, room.Close{Reason: reason})
}

// atAny is at, and lets epoch 0 mean whatever the room is at.
func (k *keeper) atAny(epoch uint64) error {
	if epoch == 0 && k.room != nil {
		return nil
	}
	return k.at(epoch)
}

// shutdown says goodbye to everyone and waits until they have it, or had time for it.
func (k *keeper) shutdown() {
	k.call(k.endAll)
	deadline := time.Now().Add(2 * linger)
	ticker := time.NewTicker(beat / 4)
	defer ticker.Stop()
	for left := 1; left > 0 && time.Now().Before(deadline); {
		<-ticker.C
		if !k.call(func() { left = len(k.leaving) }) {
			return
		}
	}
}
