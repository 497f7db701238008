package room

import (
	"slices"
	"time"
)

// spare refuses another microphone when as many exist as may. After the cap was lowered
// nobody new gets one until enough have left.
func (r *Room) spare() error {
	if most := r.state.Settings.MaxMics; len(r.state.Mics) >= most {
		return refuse(MicUnavailable, "all %d microphones are taken", most)
	}
	return nil
}

// freeIndex is the lowest index that a new microphone may have.
func (r *Room) freeIndex() (int, error) {
	if err := r.spare(); err != nil {
		return 0, err
	}
	for i := range r.state.Settings.MaxMics {
		if r.isFree(i) == nil {
			return i, nil
		}
	}
	return 0, refuse(MicUnavailable, "all microphones that are not locked are taken")
}

// isFree refuses an index that no microphone can be given.
func (r *Room) isFree(index int) error {
	if err := r.exists(index); err != nil {
		return err
	}
	if slices.Contains(r.state.Settings.LockedMics, index) {
		return refuse(MicLocked, "microphone %d is locked", index)
	}
	if _, taken := r.at(index); taken {
		return refuse(MicTaken, "microphone %d is taken", index)
	}
	return nil
}

func (r *Room) exists(index int) error {
	if most := r.state.Settings.MaxMics; index < 0 || index >= most {
		return refuse(MicUnavailable, "there is no microphone %d; there are %d", index, most)
	}
	return nil
}

func (r *Room) at(index int) (Mic, bool) {
	if i, ok := slices.BinarySearchFunc(r.state.Mics, index, micByIndex); ok {
		return r.state.Mics[i], true
	}
	return Mic{}, false
}

// newMic is a grant of an index to a member, whose turn begins.
func (r *Room) newMic(m Member, index int) Mic {
	return Mic{Index: index, Member: m.ID, Grant: r.state.LastGrant + 1, ModMuted: r.state.Record(m.Subject).Muted, Until: r.turn(m)}
}

// turn is when a turn ends that begins now. Nil: it has no end.
func (r *Room) turn(m Member) *time.Time {
	limit := r.state.Settings.SpeakingSeconds
	if limit == 0 || m.Role.moderates() {
		return nil
	}
	end := r.now.Add(time.Duration(limit) * time.Second)
	return &end
}

func (r *Room) dropMic(member uint32, why Code) {
	if m, ok := r.state.Mic(member); ok {
		r.emit(Event{Type: EventMic, Mic: &Mic{Index: m.Index, Grant: m.Grant}, Reason: why})
	}
}

// move gives a microphone another index, under a new grant.
func (r *Room) move(mic Mic, index int) {
	mic.Index, mic.Grant = index, r.state.LastGrant+1
	r.setMic(mic)
}

// seat is the index at which a member can be put: the asked one or, with -1, the lowest
// free one. A member that has one can move, with -1 it stays.
func (r *Room) seat(m Member, index int) (int, error) {
	held, on := r.state.Mic(m.ID)
	switch {
	case on && (index == -1 || index == held.Index):
		return held.Index, nil
	case index == -1:
		return r.freeIndex()
	}
	err := r.isFree(index)
	if err == nil && !on {
		err = r.spare()
	}
	return index, err
}

// place puts a member on a microphone, at its seat.
func (r *Room) place(m Member, index int) {
	held, on := r.state.Mic(m.ID)
	switch {
	case on && index == held.Index:
		return
	case on:
		r.dropMic(m.ID, "")
		r.move(held, index)
		return
	}
	if m.Hand != nil || m.AskedUntil != nil {
		m.Hand, m.AskedUntil = nil, nil
		r.setMember(m)
	}
	r.setMic(r.newMic(m, index))
}

func (c TakeMic) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.commander(by)
	if err != nil {
		return err
	}
	_, on := r.state.Mic(m.ID)
	switch {
	case m.Role == Audience:
		return refuse(MicNotAllowed, "you are in the audience")
	case !on && r.state.Settings.MicPolicy != Auto && !m.Role.moderates():
		return refuse(MicNotAllowed, "in this room a moderator gives the microphones")
	}
	index, err := r.seat(m, c.Index)
	if err != nil {
		return err
	}
	r.place(m, index)
	return nil
}

// ownMic returns the microphone that the actor holds.
func (r *Room) ownMic(by Actor) (Mic, error) {
	m, err := r.commander(by)
	if err != nil {
		return Mic{}, err
	}
	mic, on := r.state.Mic(m.ID)
	if !on {
		return mic, refuse(NotOnMic, "you are not on a microphone")
	}
	return mic, nil
}

func (LeaveMic) apply(r *Room, _ time.Time, by Actor) error {
	mic, err := r.ownMic(by)
	if err != nil {
		return err
	}
	r.dropMic(mic.Member, "")
	return nil
}

func (c Mute) apply(r *Room, _ time.Time, by Actor) error {
	mic, err := r.ownMic(by)
	switch {
	case err != nil:
		return err
	case !c.Muted && mic.ModMuted:
		return refuse(MutedByModerator, "a moderator muted you; only a moderator can lift it")
	case mic.Muted != c.Muted:
		mic.Muted = c.Muted
		r.setMic(mic)
	}
	return nil
}
