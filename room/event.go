package room

import (
	"slices"
	"time"
)

// EventType says which fields of an Event are set.
type EventType string

// Event types.
const (
	EventSettings EventType = "settings" // Settings
	EventMember   EventType = "member"   // Member: new, or its new value; Reason if a hand was lowered by another
	EventLeft     EventType = "left"     // Member: who left; Reason
	EventMic      EventType = "mic"      // Mic: its new value; Member 0: gone
	EventRecord   EventType = "record"   // Record: its new value; forgotten if it says nothing
	EventInvite   EventType = "invite"   // Invite: its new value; forgotten if it has no uses
	EventRoom     EventType = "room"     // Room; when it closed, members and mics are gone with it
)

// Event is one change of a room.
type Event struct {
	Epoch    uint64     `json:"epoch"`
	Seq      uint64     `json:"seq"`
	Time     time.Time  `json:"time"`
	Type     EventType  `json:"type"`
	Settings *Settings  `json:"settings,omitempty"`
	Member   *Member    `json:"member,omitempty"`
	Mic      *Mic       `json:"mic,omitempty"`
	Record   *Record    `json:"record,omitempty"`
	Invite   *InviteUse `json:"invite,omitempty"`
	Room     *Summary   `json:"room,omitempty"`
	// More says that the next event is of the same command: only a state after the last of
	// them is one that the room was in.
	More   bool `json:"more,omitempty"`
	Reason Code `json:"reason,omitempty"` // why somebody left, or lost a microphone or its place in the queue
}

// Summary is the part of a State that EventRoom replaces.
type Summary struct {
	Phase        Phase      `json:"phase"`
	ActivatedAt  *time.Time `json:"activatedAt,omitempty"`
	EmptySince   *time.Time `json:"emptySince,omitempty"`
	CloseReason  string     `json:"closeReason,omitempty"`
	CloseMessage string     `json:"closeMessage,omitempty"`
}

func (s *State) summary() Summary {
	return Summary{Phase: s.Phase, ActivatedAt: s.ActivatedAt, EmptySince: s.EmptySince, CloseReason: s.CloseReason, CloseMessage: s.CloseMessage}
}

// Apply makes s the state after e. It returns false, and leaves s alone, if e is
// not the next event: the caller has a gap and needs a new snapshot.
func (s *State) Apply(e Event) bool {
	if e.Epoch != s.Epoch || e.Seq != s.Seq+1 {
		return false
	}
	s.Seq = e.Seq
	switch {
	case e.Settings != nil:
		s.Settings = *e.Settings
	case e.Member != nil:
		s.LastMember = max(s.LastMember, e.Member.ID)
		s.Members = replace(s.Members, e.Member.ID, *e.Member, e.Type == EventLeft, memberByID)
	case e.Mic != nil:
		s.LastGrant = max(s.LastGrant, e.Mic.Grant)
		s.Mics = replace(s.Mics, e.Mic.Index, *e.Mic, e.Mic.Member == 0, micByIndex)
	case e.Record != nil:
		s.Records = replace(s.Records, e.Record.Subject, *e.Record, !e.Record.says(), recordBySubject)
	case e.Invite != nil:
		s.Invites = replace(s.Invites, e.Invite.ID, *e.Invite, e.Invite.Uses == 0, inviteByID)
	case e.Room != nil:
		s.applySummary(*e.Room)
	}
	return true
}

func (s *State) applySummary(r Summary) {
	s.Phase, s.ActivatedAt, s.EmptySince, s.CloseReason, s.CloseMessage = r.Phase, r.ActivatedAt, r.EmptySince, r.CloseReason, r.CloseMessage
	if s.Phase == Closed {
		s.Members, s.Mics = nil, nil
	}
}

// replace puts v at its place in a sorted list, in place of the one with its key; gone
// takes that one out.
func replace[T, K any](list []T, key K, v T, gone bool, compare func(T, K) int) []T {
	i, found := slices.BinarySearchFunc(list, key, compare)
	switch {
	case gone && found:
		return slices.Delete(list, i, i+1)
	case gone:
		return list
	case found:
		list[i] = v
		return list
	}
	return slices.Insert(list, i, v)
}

// Public is what clients may see of e. Events about what they are not shown keep
// their number, without a value, so that numbers stay dense.
func (e Event) Public() Event {
	if e.Settings != nil {
		s := e.Settings.public()
		e.Settings = &s
	}
	if e.Member != nil {
		if !e.Member.visible() {
			e.Member, e.Reason = nil, ""
		} else {
			m := e.Member.public()
			e.Member = &m
		}
	}
	e.Record, e.Invite = nil, nil
	return e
}
