package media

import (
	"fmt"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

const (
	// audienceWaits is how long the audience stays at most for the talkers to have gone ahead, so that
	// whoever arrives has somebody to hear.
	audienceWaits = time.Second
	// departureTime is how long anybody stays once the room has moved.
	departureTime = 5 * time.Second
)

// departure is the room's move to another pod while the connections to this one stand. Talkers
// go first and are heard here until everybody has gone; the audience follows. Its times are the
// room's. The zero value is a room that stays.
type departure struct {
	to     uint64          // the epoch that clients are to join; 0: none
	since  time.Time       // when that became known
	silent map[uint32]bool // members who are not heard here any more
}

// departing is where a session is on that way.
type departing struct {
	told    uint64 // the epoch that it was sent to; 0: none
	arrived bool   // it says that it is there
}

// move sends the clients to the pod that has the room now.
func (k *keeper) move(r mediaapi.MovedRequest) error {
	if err := k.at(r.Epoch); err != nil {
		return err
	}
	d := &k.departure
	switch {
	case r.To <= r.Epoch:
		return &room.Error{Code: mediaapi.BadRequest, Detail: "a room moves to a later epoch"}
	case r.To < d.to:
		return &room.Error{Code: room.StaleEpoch, Detail: fmt.Sprintf("the room has moved on to epoch %d", d.to)}
	}
	if d.silent == nil {
		d.silent = map[uint32]bool{}
	}
	for _, member := range r.Silent {
		d.silent[member] = true
	}
	if err := k.do(room.Control, room.Seal{}); err != nil {
		return err
	}
	k.forwarder.setGrants(k.grants(), nil, time.Now())
	if r.To > d.to {
		k.log.Info("the room has moved; clients are sent after it", "to", r.To, "sessions", len(k.sessions))
		for _, s := range k.sessions {
			s.arrived = s.arrived && d.to == 0 // else it arrived where the room is no more
		}
		d.to, d.since = r.To, k.now()
	}
	k.seeOff()
	return nil
}

// arrived notes that a client is connected to the next pod. It may have heard of that elsewhere,
// before this pod has.
func (k *keeper) arrived(s *session) error {
	if k.room.View().Phase != room.Sealed {
		return &room.Error{Code: room.BadCommand, Detail: "the room has not moved"}
	}
	s.arrived = true
	k.seeOff()
	return nil
}

// seeOff tells whose turn it is that the room has moved, and says goodbye to who is not needed
// here any more: to listeners once they have arrived, to talkers once everybody has, and to
// whoever cannot be told.
func (k *keeper) seeOff() {
	if k.departure.to == 0 {
		return
	}
	onMic := k.onMic()
	talks := func(s *session) bool { return onMic[s.member] && !k.departure.silent[s.member] }
	audience, over := k.progress(talks)
	for _, s := range k.sessions {
		switch talker := talks(s); {
		case over, s.arrived && audience && !talker:
			k.sayMoved(s)
		case s.entered && (audience || talker):
			k.sendAfter(s)
		}
	}
	k.followPhase(time.Now())
}

// progress says whether it is the audience's turn, and whether nobody has to stay any more.
func (k *keeper) progress(talks func(*session) bool) (audience, over bool) {
	audience, over = true, true
	for _, s := range k.sessions {
		if s.entered && !s.arrived {
			audience, over = audience && !talks(s), false
		}
	}
	elapsed := k.now().Sub(k.departure.since)
	return audience || elapsed >= audienceWaits, over || elapsed >= departureTime
}

// sendAfter sends a client after the room, once. One without a data channel cannot know: it is ended,
// and comes back by itself.
func (k *keeper) sendAfter(s *session) {
	to := k.departure.to
	switch {
	case !s.data:
		k.sayMoved(s)
	case s.told != to && k.send(s, movedMessage{Type: "moved", Epoch: to}) == nil:
		s.told = to
	}
}

func (k *keeper) sayMoved(s *session) {
	k.end(s, room.Moving, "the room has moved to another media pod; join again", time.Now())
}
