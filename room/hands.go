package room

import "time"

func (c RaiseHand) apply(r *Room, now time.Time, by Actor) error {
	m, err := r.commander(by)
	if err != nil {
		return err
	}
	_, on := r.state.Mic(m.ID)
	switch {
	case c.Raised == (m.Hand != nil): // a hand that is raised again keeps its place
		return nil
	case !c.Raised:
		m.Hand = nil
	case r.state.Settings.MicPolicy == Appointed:
		return refuse(HandsRefused, "in this room moderators choose who speaks")
	case on:
		return refuse(BadCommand, "you are on a microphone already")
	default:
		m.Hand = &Hand{At: now, Until: now.Add(HandTTL)}
	}
	r.setMember(m)
	return nil
}

func (c LowerHand) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.target(by, c.Member)
	if err != nil {
		return err
	}
	r.refuseHand(m)
	return nil
}

func (ClearHands) apply(r *Room, _ time.Time, by Actor) error {
	if _, err := r.moderator(by); err != nil {
		return err
	}
	for _, m := range r.state.Hands() {
		r.refuseHand(m)
	}
	return nil
}

func (r *Room) refuseHand(m Member) {
	if m.Hand != nil {
		m.Hand = nil
		r.emit(Event{Type: EventMember, Member: &m, Reason: HandRefused})
	}
}

func (c HandPriority) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.target(by, c.Member)
	switch {
	case err != nil:
		return err
	case c.Priority < 0 || c.Priority > MaxHandPriority:
		return refuse(BadCommand, "a priority is a number from 0 to %d", MaxHandPriority)
	case m.Hand == nil:
		return refuse(NoHand, "that member has not raised its hand")
	case m.Hand.Priority != c.Priority:
		hand := *m.Hand
		hand.Priority = c.Priority
		m.Hand = &hand
		r.setMember(m)
	}
	return nil
}

func (c AskToSpeak) apply(r *Room, now time.Time, by Actor) error {
	m, err := r.target(by, c.Member)
	if err != nil {
		return err
	}
	if m.Status != Entered {
		return refuse(NotEntered, "that member is not connected")
	}
	if _, on := r.state.Mic(m.ID); on {
		return nil
	}
	until := now.Add(AskTTL)
	m.AskedUntil = &until
	r.setMember(m)
	return nil
}

func (c AnswerAsk) apply(r *Room, _ time.Time, by Actor) error {
	m, err := r.commander(by)
	switch {
	case err != nil:
		return err
	case m.AskedUntil == nil:
		return refuse(NotAsked, "nobody asks you to speak, or not any more")
	case c.Accept:
		return r.bringUp(m, -1)
	}
	m.AskedUntil = nil
	r.setMember(m)
	return nil
}
