package egress

import "voiceroom.dev/voiceroom/media/transport"

// arenaSize holds the runs of some dozens of listeners: as many as one system call takes.
const arenaSize = 128 << 10

// Outbox gathers the packets of many listeners and sends them together. It belongs to one goroutine at
// a time. What is in it is sent by Flush: whoever serves listeners under a lock flushes before the lock
// is released, so that nothing that was revoked since can leave.
type Outbox struct {
	batch *transport.Batch
	arena []byte // of len 0 when nothing waits; packets that were queued lie in it
	due   [maxRun]packet
	late  uint64
}

// NewOutbox returns an Outbox that sends through batch. Its memory is taken when it is first used.
func NewOutbox(batch *transport.Batch) *Outbox { return &Outbox{batch: batch} }

// Flush sends what was gathered. It does not wait.
func (o *Outbox) Flush() {
	if len(o.arena) > 0 {
		o.batch.Flush()
		o.arena = o.arena[:0]
	}
}

// Late is how many packets listeners did not get because they had not been served in time.
func (o *Outbox) Late() uint64 { return o.late }

// room makes sure that n bytes can be appended to the arena without moving it.
func (o *Outbox) room(n int) {
	if o.arena == nil {
		o.arena = make([]byte, 0, arenaSize)
	}
	if len(o.arena)+n > cap(o.arena) {
		o.Flush()
	}
}
