package media

import (
	"cmp"
	"slices"

	"voiceroom.dev/voiceroom/room"
)

const (
	// maxBatch is how many events go into one message, so that it stays far below
	// what any client takes.
	maxBatch = 100
	// maxNews is how many events a client is told of at once; of more, a snapshot tells in fewer bytes.
	maxNews = 500
	// tellings is how many of those who only listen are told of events in a beat, and maxTurn how many
	// beats one of them waits at most: 1 s. A message takes some 50 us of CPU until it is acknowledged, so
	// that a room in which something happens all the time pays for a thousand a second, not for ten a
	// second to each of hundreds. They are told in turns, for all at once would delay the audio.
	tellings = 100
	maxTurn  = 10
)

// turnOf is how many beats there are from one to the next in which a client that only listens is told
// what happened, in a room of so many clients.
func turnOf(clients int) int { return min(1+(clients-1)/tellings, maxTurn) }

// news are the events that some client has still to be told of. They are the keeper's.
type news struct {
	events   []room.Event        // public, oldest first; dense, and of one epoch
	messages map[uint64][][]byte // that tell of what came after a number; made in this beat
}

func (n *news) add(events []room.Event) {
	for _, e := range events {
		if len(n.events) > 0 && n.events[0].Epoch != e.Epoch {
			n.events = n.events[:0] // nobody is left who was told of that
		}
		n.events = append(n.events, e.Public())
	}
}

// since returns the messages that tell what happened after the event with a number. It is false when
// that is not known any more, or too much.
func (n *news) since(told uint64) (messages [][]byte, ok bool) {
	if messages, ok = n.messages[told]; ok {
		return messages, true
	}
	events := n.events[n.after(told):]
	if len(events) > maxNews || len(events) > 0 && events[0].Seq != told+1 {
		return nil, false
	}
	for batch := range slices.Chunk(events, maxBatch) {
		messages = append(messages, marshal(eventBatch{Type: "events", Events: batch}))
	}
	if n.messages == nil {
		n.messages = map[uint64][][]byte{}
	}
	n.messages[told] = messages
	return messages, true
}

// after is where the events begin that follow the one with a number.
func (n *news) after(seq uint64) int {
	i, _ := slices.BinarySearchFunc(n.events, seq+1, func(e room.Event, seq uint64) int { return cmp.Compare(e.Seq, seq) })
	return i
}

// told ends a beat: everybody knows the event with this number, and those before it.
func (n *news) told(all uint64) {
	n.events = slices.Delete(n.events, 0, n.after(all))
	clear(n.messages)
}
