package egress

const (
	// ringSize packets are kept at most: 640 ms of audio, longer than a resend is worth anything.
	ringSize = 32
	// ringBytes is what they may take: 640 ms of speech at 32 kbit/s, sealed; less time of what is larger.
	ringBytes = 4096
	// maxResends bounds what one packet can be made to cost.
	maxResends = 3
)

// ring keeps the last sealed packets of a slot, inline, so that keeping one allocates nothing.
type ring struct {
	entries [ringSize]entry
	written uint32 // bytes ever; where the next packet goes, modulo ringBytes
	packets [ringBytes]byte
}

type entry struct {
	seq     uint16
	size    uint16 // 0: empty
	resends uint8
	at      uint32 // what written was before it
}

func (r *ring) put(seq uint16, packet []byte) {
	e := &r.entries[seq%ringSize]
	if e.size > 0 && int16(seq-e.seq) < 0 { // late: who wants the newer one is likelier
		return
	}
	*e = entry{seq: seq}
	if len(packet) > ringBytes {
		return
	}
	if left := ringBytes - r.written%ringBytes; int(left) < len(packet) { // packets lie in one piece
		r.written += left
	}
	e.at, e.size = r.written, uint16(copy(r.packets[r.written%ringBytes:], packet))
	r.written += uint32(e.size)
}

// take returns the packet to send again, or nil. It is valid until the next put.
func (r *ring) take(seq uint16) []byte {
	e := &r.entries[seq%ringSize]
	if e.seq != seq || e.size == 0 || e.resends == maxResends || r.written-e.at > ringBytes {
		return nil
	}
	e.resends++
	at := e.at % ringBytes
	return r.packets[at : at+uint32(e.size)]
}

// clear forgets all packets.
func (r *ring) clear() { r.entries = [ringSize]entry{} }
