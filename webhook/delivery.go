package webhook

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"voiceroom.dev/voiceroom/room"
)

// Kind says what a Delivery is.
type Kind string

// Kinds of deliveries.
const (
	Resync Kind = "resync" // State: take it in place of what you have of the room
	Events Kind = "events" // Events: the next ones
	Ended  Kind = "ended"  // EndedAt, Reason, Message: nothing more comes of the room
)

// Delivery is the body of a POST.
type Delivery struct {
	Type Kind    `json:"type"`
	Room room.ID `json:"room"`
	// Epoch and Seq are the room's version after the delivery; of Ended, the newest that
	// the sender knows, 0 if it knows none.
	Epoch uint64 `json:"epoch"`
	Seq   uint64 `json:"seq"`

	State *room.State `json:"state,omitempty"`
	// Final says that the events before State cannot be had any more: asking for them
	// with an older cursor is of no use.
	Final bool `json:"final,omitempty"`

	Events []room.Event `json:"events,omitempty"` // their numbers are dense; the last is Seq

	EndedAt *time.Time `json:"endedAt,omitempty"`
	Reason  string     `json:"reason,omitempty"`  // VoiceRoom's closeReason, or Deleted
	Message string     `json:"message,omitempty"` // a sentence of who closed it
}

// Cursor is a room's version. A receiver that answers with one (in JSON, with status
// 2xx) has durably stored everything up to it.
type Cursor struct {
	Epoch uint64 `json:"epoch"`
	Seq   uint64 `json:"seq"`
}

// compare orders versions.
func (c Cursor) compare(d Cursor) int {
	return cmp.Or(cmp.Compare(c.Epoch, d.Epoch), cmp.Compare(c.Seq, d.Seq))
}

// parcel is a delivery that is ready to be sent. The same content has the same id.
type parcel struct {
	kind  Kind
	id    string // the header webhook-id
	first uint64 // number of the first event
	last  Cursor // version after it
	final bool
	body  []byte
}

func resyncOf(state *room.State, final bool) (parcel, error) {
	p := parcel{kind: Resync, id: fmt.Sprintf("%s_%d_%d", state.ID.UID, state.Epoch, state.Seq), last: Cursor{state.Epoch, state.Seq}, final: final}
	if final {
		p.id += "_final"
	}
	return p.filled(Delivery{Type: Resync, Room: state.ID, Epoch: state.Epoch, Seq: state.Seq, State: stateShown(state), Final: final})
}

// eventsOf makes one delivery of events that follow each other.
func eventsOf(id room.ID, epoch uint64, batch []queued) (parcel, error) {
	first, last := batch[0].seq, batch[len(batch)-1].seq
	p := parcel{kind: Events, id: fmt.Sprintf("%s_%d_%d-%d", id.UID, epoch, first, last), first: first, last: Cursor{epoch, last}}
	written := make([]json.RawMessage, len(batch))
	for i, q := range batch {
		written[i] = q.event
	}
	return p.filled(struct {
		Delivery
		Events []json.RawMessage `json:"events"` // in place of Delivery's
	}{Delivery{Type: Events, Room: id, Epoch: epoch, Seq: last}, written})
}

func endedOf(id room.ID, head Cursor, e ending) (parcel, error) {
	p := parcel{kind: Ended, id: id.UID + "_ended", last: head}
	return p.filled(Delivery{Type: Ended, Room: id, Epoch: head.Epoch, Seq: head.Seq, EndedAt: &e.at, Reason: e.reason, Message: e.message})
}

func (p parcel) filled(content any) (parcel, error) {
	body, err := json.Marshal(content)
	if err != nil {
		return p, fmt.Errorf("writing webhook %s: %w", p.id, err)
	}
	p.body = body
	return p, nil
}

// stateShown is what a receiver is shown of a state: all but what only the machinery
// needs, the sessions of members and the intent that was applied last.
func stateShown(s *room.State) *room.State {
	shown := *s
	shown.Settings.Spec = nil
	shown.Members = slices.Clone(s.Members)
	for i := range shown.Members {
		shown.Members[i].Session = ""
	}
	return &shown
}

// eventShown is what a receiver is shown of an event.
func eventShown(e room.Event) room.Event {
	if e.Member != nil {
		m := *e.Member
		m.Session = ""
		e.Member = &m
	}
	if e.Settings != nil {
		s := *e.Settings
		s.Spec = nil
		e.Settings = &s
	}
	return e
}

// parseAnswer reads the cursor of a receiver's answer; nil if there is none. Whatever
// is not a JSON object is none: many receivers answer "ok". An object with half a
// cursor, or one that is not made of numbers, is an error.
func parseAnswer(body []byte) (*Cursor, error) {
	var a struct {
		Epoch *uint64 `json:"epoch"`
		Seq   *uint64 `json:"seq"`
	}
	err := json.Unmarshal(body, &a)
	mistyped, ok := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case ok && mistyped.Field != "":
		return nil, fmt.Errorf("the answer's %s is no version: it is a %s", mistyped.Field, mistyped.Value)
	case err != nil, a.Epoch == nil && a.Seq == nil:
		return nil, nil
	case a.Epoch == nil || a.Seq == nil:
		return nil, errors.New("the answer has half a cursor: epoch and seq belong together")
	}
	return &Cursor{Epoch: *a.Epoch, Seq: *a.Seq}, nil
}
