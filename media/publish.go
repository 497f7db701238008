package media

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"voiceroom.dev/voiceroom/media/transport"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

const (
	micBeats      = 2  // beats between heartbeats to who is on a microphone: 200 ms
	audienceBeats = 20 // and to the others: 2 s
	lossBeats     = 10 // between two looks at the listeners' losses: 1 s

	// caughtUp is how little must be queued, in bytes, before a client that fell behind is sent
	// a snapshot.
	caughtUp = 64 << 10
)

// publisher gathers what clients are to be told. It is the keeper's.
type publisher struct {
	news      news
	snapshots [details][]byte // as of epoch and seq; nil: not made
	epoch     uint64
	seq       uint64
}

// detail is how much of the room a snapshot shows: clients take messages of different sizes.
type detail int

const (
	everyone detail = iota
	active          // who speaks, commands or raises a hand
	speakers        // who speaks or commands
	details
)

// snapshotOf returns the snapshot message of the room now.
func (p *publisher) snapshotOf(r *room.Room, d detail) []byte {
	if s := r.View(); p.seq != s.Seq || p.epoch != s.Epoch {
		p.snapshots, p.seq, p.epoch = [details][]byte{}, s.Seq, s.Epoch
	}
	if p.snapshots[d] == nil {
		p.snapshots[d] = marshal(newSnapshot(r.View().Public(), d))
	}
	return p.snapshots[d]
}

// newSnapshot takes s.
func newSnapshot(s *room.State, d detail) snapshot {
	all := len(s.Members)
	s.Members = slices.DeleteFunc(s.Members, func(m room.Member) bool {
		switch {
		case d == everyone, m.Role == room.Host, m.Role == room.CoHost, d == active && m.Hand != nil:
			return false
		}
		return !slices.ContainsFunc(s.Mics, func(mic room.Mic) bool { return mic.Member == m.ID })
	})
	return snapshot{Type: "snapshot", State: s, Omitted: all - len(s.Members)}
}

// onBeat does everything periodic.
func (k *keeper) onBeat(now time.Time) {
	k.closeLeaving(now)
	k.noteDrained()
	if k.room == nil {
		return
	}
	k.beats++
	k.forwarder.hush(now)
	for _, a := range k.forwarder.takeAudible() {
		a.session.journey.reached("first audio", a.session.id, a.at, nil)
	}
	k.publish()
	k.seeOff()
	if k.beats%lossBeats == 0 {
		k.shareLoss()
	}
	if k.now().Sub(k.lease) >= room.StopAfter {
		k.log.Info("nobody renewed the lease; the pod stops", "lease", k.lease)
		k.endAll()
		k.finish()
	}
}

// publish tells clients what happened: who speaks or moderates in each beat, the others when it is their turn.
func (k *keeper) publish() {
	state, turn := k.room.View(), turnOf(len(k.sessions))
	durable, _ := k.durability.get()
	speaking := k.onMic()
	all := state.Seq // what everybody was told of, at the end
	for _, s := range k.sessions {
		if s.out == nil || !s.data {
			continue
		}
		beat := k.beats + int(s.member)
		if s.entered && (s.stale || beat%turn == 0 || speaking[s.member] || moderates(state, s.member)) {
			k.tell(s)
		}
		pulse := heartbeat{Type: "heartbeat", Seq: state.Seq, Durable: durable}
		if s.entered && !s.stale {
			pulse.Seq = s.known
			all = min(all, s.known)
		}
		every := audienceBeats
		if speaking[s.member] {
			every = micBeats
		}
		if beat%every == 0 {
			_ = k.send(s, pulse) // the next one follows
		}
	}
	k.publishSlots()
	k.publisher.news.told(all)
}

func moderates(state *room.State, member uint32) bool {
	m, _ := state.Member(member)
	return m.Role == room.Host || m.Role == room.CoHost
}

// publishSlots tells clients who is on their slots now, and before that who that is.
func (k *keeper) publishSlots() {
	for _, m := range k.forwarder.takeSlotMaps() {
		entries := make([]slotEntry, len(m.members))
		for i, member := range m.members {
			entries[i] = slotEntry{Slot: i, Member: member, Mix: i == 0 && m.mix}
		}
		if m.session.data {
			k.tell(m.session)
		}
		if err := k.send(m.session, slotsMessage{Type: "slots", Slots: entries}); errors.Is(err, transport.ErrBacklog) {
			k.forwarder.untake(m.session)
		}
	}
}

// tell sends the events that a client does not know yet, or a snapshot if it misses some.
func (k *keeper) tell(s *session) {
	if s.stale {
		k.sendSnapshot(s)
		return
	}
	messages, ok := k.publisher.news.since(s.known)
	if !ok {
		k.sendSnapshot(s)
		return
	}
	for _, m := range messages {
		if err := s.conn.Send(m); err != nil {
			s.stale = true
			k.metrics.dropped("events")
			return
		}
	}
	s.known = k.room.View().Seq
}

// sendSnapshot tries to bring a client up to date.
func (k *keeper) sendSnapshot(s *session) {
	s.stale = true
	if s.conn.Buffered() > caughtUp {
		return // it is stale until it has read what is queued
	}
	err := transport.ErrMessageTooLarge
	for d := everyone; d < details && errors.Is(err, transport.ErrMessageTooLarge); d++ {
		err = s.conn.Send(k.publisher.snapshotOf(k.room, d))
	}
	s.stale, s.known = errors.Is(err, transport.ErrBacklog), k.room.View().Seq
}

// onMic are the members on microphones.
func (k *keeper) onMic() map[uint32]bool {
	on := make(map[uint32]bool, len(k.room.View().Mics))
	for _, m := range k.room.View().Mics {
		on[m.Member] = true
	}
	return on
}

// closeLeaving closes the connections whose client has its bye, or had time for it.
func (k *keeper) closeLeaving(now time.Time) {
	for s := range k.leaving {
		if s.conn.Buffered() == 0 || !now.Before(s.closeAt) {
			delete(k.leaving, s)
			s.conn.Close(errEnded)
		}
	}
}

var errEnded = errors.New("the session was ended here")

// send queues one message for a client.
func (k *keeper) send(s *session, message any) error { return s.conn.Send(marshal(message)) }

// request answers what a client asked.
func (k *keeper) request(s *session, r request) {
	if k.sessions[s.id] != s {
		return // ended while it asked
	}
	err := r.err
	switch {
	case err != nil:
	case r.own == "":
		err = k.do(room.Actor{Session: s.id}, r.command)
	case !s.entered:
		err = &room.Error{Code: room.NotEntered, Detail: "you have not entered the room"}
	case r.own == resync:
		s.stale = true
	default:
		err = k.arrived(s)
	}
	if k.sessions[s.id] != s {
		return // it left, or may go: the bye is the reply
	}
	reply := replyMessage{Type: "reply", ID: r.id, OK: err == nil, Seq: k.room.View().Seq}
	if err != nil {
		p := mediaapi.NewProblem(err)
		reply.Error = &errorPart{Code: p.Code, Detail: p.Detail}
	}
	if k.send(s, reply) != nil {
		k.metrics.dropped("replies")
	}
}

// marshal writes values that always can be.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
