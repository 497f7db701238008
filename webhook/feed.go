package webhook

import (
	"encoding/json"
	"errors"
	"time"

	"voiceroom.dev/voiceroom/room"
)

const (
	// maxBatch and maxBatchBytes bound one delivery of events. A single event may be larger.
	maxBatch      = 256
	maxBatchBytes = 256 << 10
	// maxQueueBytes bounds what waits for the receiver in one room, maxQueuedBytes in all.
	maxQueueBytes  = 2 << 20
	maxQueuedBytes = 64 << 20
)

// errNotHad says that a room's source returned other events than it was asked for.
var errNotHad = errors.New("the events do not follow each other")

// feed is what the receiver has to be told of one room: first the queue, then the whole
// state if that is due, then that the room has ended. Its methods are called with the
// Sender's lock held.
type feed struct {
	id   room.ID
	head Cursor // the newest that there is

	queue []queued // not acknowledged; dense, of one epoch
	epoch uint64   // of the queue
	bytes int      // of the queue

	resync   bool      // the whole state is due, and not under way
	underWay bool      // the whole state is
	resyncAt time.Time // since when
	final    bool      // see Delivery

	end  *ending
	gone bool // the receiver wants no more of the room

	failures int  // deliveries since the last that got further
	busy     bool // it has its goroutine, or is about to get it
}

// queued is an event that waits, as it is sent.
type queued struct {
	seq   uint64
	at    time.Time // when it came
	event json.RawMessage
}

// ending is the end of a room.
type ending struct {
	at              time.Time
	reason, message string
	told            bool // and acknowledged
}

// size is what q takes in memory, roughly.
func (q queued) size() int { return len(q.event) + 64 }

// due says whether there is anything to send.
func (f *feed) due() bool {
	return !f.gone && (len(f.queue) > 0 || f.resync || f.end != nil && !f.end.told)
}

// oldest is since when something is not acknowledged; false: nothing is.
func (f *feed) oldest() (time.Time, bool) {
	switch {
	case f.underWay:
		return f.resyncAt, true
	case !f.due():
		return time.Time{}, false
	case len(f.queue) > 0:
		return f.queue[0].at, true
	case f.resync:
		return f.resyncAt, true
	}
	return f.end.at, true
}

// over says whether the feed is of a room that ended long ago.
func (f *feed) over(now time.Time) bool { return f.end != nil && now.Sub(f.end.at) > KeepEnded }

// begin takes note that the room is at a version to which no events led: it is new, has
// moved, or was lost from sight. What is due already covers the rest.
func (f *feed) begin(at Cursor, now time.Time) {
	f.head = at
	f.owe(now)
}

// owe makes the whole state due.
func (f *feed) owe(now time.Time) {
	if !f.resync && !f.underWay {
		f.resyncAt = now
	}
	f.resync = true
}

// wants says whether an event is to be queued: a state that is due and not under way
// will cover it.
func (f *feed) wants() bool { return !f.gone && !f.resync }

// add queues the next event. Its size is known to fit.
func (f *feed) add(epoch uint64, q queued) {
	f.epoch = epoch
	f.queue = append(f.queue, q)
	f.bytes += q.size()
}

// drop empties the queue.
func (f *feed) drop() { f.queue, f.bytes = nil, 0 }

// batch returns the next events to send. They are shared, and never changed.
func (f *feed) batch() []queued {
	n, bytes := 0, 0
	for n < len(f.queue) && n < maxBatch {
		bytes += len(f.queue[n].event)
		if n > 0 && bytes > maxBatchBytes {
			break
		}
		n++
	}
	return f.queue[:n:n]
}

// acknowledge drops what the receiver has.
func (f *feed) acknowledge(c Cursor) {
	n := 0
	for n < len(f.queue) && c.compare(Cursor{f.epoch, f.queue[n].seq}) >= 0 {
		f.bytes -= f.queue[n].size()
		n++
	}
	clear(f.queue[:n]) // their memory, before append moves the rest
	f.queue = f.queue[n:]
	if len(f.queue) == 0 {
		f.queue = nil
	}
}

// next is the number of the event that the queue begins with, or would.
func (f *feed) next(epoch, otherwise uint64) uint64 {
	if len(f.queue) > 0 && f.epoch == epoch {
		return f.queue[0].seq
	}
	return otherwise
}

// prepend puts older events before the queue. False: they do not lead up to it, or are
// too many.
func (f *feed) prepend(epoch uint64, older []queued) bool {
	bytes := 0
	for _, q := range older {
		bytes += q.size()
	}
	joins := len(f.queue) == 0 || f.epoch == epoch && older[len(older)-1].seq+1 == f.queue[0].seq
	if !joins || f.bytes+bytes > maxQueueBytes {
		return false
	}
	f.epoch, f.queue = epoch, append(older, f.queue...)
	f.bytes += bytes
	return true
}

// recalled makes queued events of those that a room's source still had after a cursor,
// up to a number.
func recalled(events []room.Event, after Cursor, last uint64, now time.Time) ([]queued, error) {
	older := make([]queued, 0, len(events))
	want := after.Seq
	for _, e := range events {
		want++
		if e.Epoch != after.Epoch || e.Seq != want {
			return nil, errNotHad
		}
		q, err := queue(e, now)
		if err != nil {
			return nil, err
		}
		older = append(older, q)
	}
	if want != last || len(older) == 0 {
		return nil, errNotHad
	}
	return older, nil
}

func queue(e room.Event, now time.Time) (queued, error) {
	event, err := json.Marshal(eventShown(e))
	return queued{seq: e.Seq, at: now, event: event}, err
}
