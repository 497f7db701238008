package room

import "time"

// freeIndex is the lowest index that a new microphone may have. Fewer than MaxMics
// may exist, so that a lowered cap lets nobody new on until enough have left.
func (r *Room) freeIndex() (int, bool) {
	if len(r.state.Mics) >= r.state.Settings.MaxMics {
		return 0, false
	}
	i := 0
	for _, m := range r.state.Mics { // by index
		if m.Index != i {
			break
		}
		i++
	}
	return i, true
}

func (r *Room) micOf(member uint32) (Mic, bool) {
	for _, m := range r.state.Mics {
		if m.Member == member {
			return m, true
		}
	}
	return Mic{}, false
}

func (r *Room) grant(member uint32, index int) {
	r.emit(Event{Type: EventMic, Mic: &Mic{Index: index, Member: member, Grant: r.nextGrant}})
	r.nextGrant++
}

func (r *Room) dropMic(member uint32, why Code) {
	if m, ok := r.micOf(member); ok {
		r.emit(Event{Type: EventMic, Mic: &Mic{Index: m.Index, Grant: m.Grant}, Reason: why})
	}
}

// place puts a member on a microphone: the asked index or, with -1, the lowest
// free one. A member that has one moves.
func (r *Room) place(m Member, index int) error {
	held, on := r.micOf(m.ID)
	if on && (index == -1 || index == held.Index) {
		return nil
	}
	if index < -1 || index >= r.state.Settings.MaxMics {
		return refuse(MicUnavailable, "there is no microphone %d; there are %d", index, r.state.Settings.MaxMics)
	}
	for _, other := range r.state.Mics {
		if other.Index == index {
			return refuse(MicTaken, "microphone %d is taken", index)
		}
	}
	if on {
		r.dropMic(m.ID, "")
		moved := Mic{Index: index, Member: m.ID, Grant: r.nextGrant, Muted: held.Muted, ModMuted: held.ModMuted}
		r.nextGrant++
		r.emit(Event{Type: EventMic, Mic: &moved})
		return nil
	}
	free, ok := r.freeIndex()
	if !ok {
		return refuse(MicUnavailable, "all %d microphones are taken", r.state.Settings.MaxMics)
	}
	if index == -1 {
		index = free
	}
	if m.HandAt != nil {
		m.HandAt = nil
		r.setMember(m)
	}
	r.grant(m.ID, index)
	return nil
}

func (c TakeMic) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.commander(by)
	if err != nil {
		return err
	}
	_, on := r.micOf(m.ID)
	switch {
	case m.Role == Audience:
		return refuse(MicNotAllowed, "you are in the audience")
	case !on && r.state.Settings.MicPolicy != Auto && !m.Role.moderates():
		return refuse(MicNotAllowed, "in this room a moderator gives the microphones")
	}
	return r.place(m, c.Index)
}

func (LeaveMic) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.commander(by)
	if err != nil {
		return err
	}
	if _, on := r.micOf(m.ID); !on {
		return refuse(NotOnMic, "you are not on a microphone")
	}
	r.dropMic(m.ID, "")
	return nil
}

func (c Mute) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.commander(by)
	if err != nil {
		return err
	}
	mic, on := r.micOf(m.ID)
	if !on {
		return refuse(NotOnMic, "you are not on a microphone")
	}
	if mic.Muted != c.Muted {
		mic.Muted = c.Muted
		r.emit(Event{Type: EventMic, Mic: &mic})
	}
	return nil
}

func (c Hand) apply(r *Room, now time.Time, by Actor) error {
	m, err := r.commander(by)
	if err != nil {
		return err
	}
	_, on := r.micOf(m.ID)
	switch {
	case c.Raised == (m.HandAt != nil):
		return nil
	case !c.Raised:
		m.HandAt = nil
	case r.state.Settings.MicPolicy == Appointed:
		return refuse(HandsRefused, "in this room moderators choose who speaks")
	case on:
		return refuse(BadCommand, "you are on a microphone already")
	default:
		m.HandAt = &now
	}
	r.setMember(m)
	return nil
}

func (c Rename) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.commander(by)
	if err != nil {
		return err
	}
	if c.Name == "" {
		return refuse(BadCommand, "a name must not be empty")
	}
	if err := checkName(c.Name); err != nil {
		return err
	}
	if m.Name != c.Name {
		m.Name = c.Name
		r.setMember(m)
	}
	return nil
}
