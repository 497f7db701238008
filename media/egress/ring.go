package egress

const (
	// ringSize packets are kept: 640 ms of audio, longer than a resend is worth anything.
	ringSize = 32
	// ringPacket is the largest packet that is kept; Opus speech needs a half of it.
	ringPacket = 320
	// maxResends bounds what one packet can be made to cost.
	maxResends = 3
)

// ring keeps the last sealed packets of a slot, inline, so that keeping one allocates nothing.
type ring struct{ entries [ringSize]entry }

type entry struct {
	seq     uint16
	size    uint16 // 0: empty
	resends uint8
	packet  [ringPacket]byte
}

func (r *ring) put(seq uint16, packet []byte) {
	e := &r.entries[seq%ringSize]
	if e.size > 0 && int16(seq-e.seq) < 0 { // late: who wants the newer one is likelier
		return
	}
	e.seq, e.size, e.resends = seq, 0, 0
	if len(packet) <= ringPacket {
		e.size = uint16(copy(e.packet[:], packet))
	}
}

// take returns the packet to send again, or nil. It is valid until the next put.
func (r *ring) take(seq uint16) []byte {
	e := &r.entries[seq%ringSize]
	if e.seq != seq || e.size == 0 || e.resends == maxResends {
		return nil
	}
	e.resends++
	return e.packet[:e.size]
}

func (r *ring) clear() { *r = ring{} }
