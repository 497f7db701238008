package egress

const (
	// maxRun is how many packets of one listener leave together at most.
	maxRun = 64
	// maxPadding is how many bytes a packet is padded by at most to be as long as the others of its
	// run. What differs by more leaves in a run of its own: the bytes would cost more than the call.
	maxPadding = 96
	// maxRedundancy is how many earlier frames a packet can carry.
	maxRedundancy = 2

	// Of RFC 2198, section 3: what the headers take, how old an earlier frame may be, in ticks of the
	// media clock, and how long.
	redBlockHeader   = 4
	redPrimaryHeader = 1
	maxREDOffset     = 1<<14 - 1
	maxREDBlock      = 1<<10 - 1
)

// packet is one that is due to a listener: it has its place in the slot's stream, and is not built yet.
type packet struct {
	slot    *slot
	at      position
	header  header
	payload []byte                 // Opus
	logged  *logged                // whose payload it is; nil: silence
	earlier [maxRedundancy]*logged // whose payloads it carries too, the latest first
	size    int                    // of header and payload, in bytes, without padding and tag
}

// silence makes p a frame of silence.
func (p *packet) silence(s *slot, at position) {
	*p = packet{slot: s, at: at, payload: opusSilence[:],
		header: header{payloadType: s.PayloadType, hasLevel: true, level: levelByte(silent, false)}}
	p.size = p.header.size(&s.Slot) + len(p.payload)
}

// sound makes p the packet with that number of the slot's log, with up to redundancy earlier frames.
func (p *packet) sound(s *slot, n uint32, at position, marker bool, redundancy int) {
	k := s.log.at(n)
	*p = packet{slot: s, at: at, payload: k.Payload, logged: k, header: header{payloadType: s.PayloadType, marker: marker,
		members: k.members[:k.count], hasLevel: k.HasLevel, level: levelByte(k.Level, k.Voice)}}
	p.size = p.header.size(&s.Slot) + len(p.payload)
	if s.RED != 0 {
		p.addEarlier(s.log, n, redundancy)
	}
}

// addEarlier makes p carry earlier frames, as far as they are there, RFC 2198 can tell how old they are
// and the packet does not become too long.
func (p *packet) addEarlier(l *Log, n uint32, redundancy int) {
	for i := range redundancy {
		k := l.before(n, uint32(i+1))
		if k == nil || p.logged.Timestamp-k.Timestamp > maxREDOffset || len(k.Payload) > maxREDBlock {
			return
		}
		more := redBlockHeader + len(k.Payload)
		if i == 0 {
			more += redPrimaryHeader
		}
		if p.size+more > maxPayload {
			return
		}
		p.earlier[i], p.size, p.header.payloadType = k, p.size+more, p.slot.RED
	}
}

// append appends the packet as it is before it is sealed, with padding bytes of padding (RFC 3550,
// section 5.1). head is the length of its header.
func (p *packet) append(b []byte, padding int) (packet []byte, head int) {
	from := len(b)
	p.header.padded = padding > 0
	b = p.header.append(b, &p.slot.Slot, p.at)
	head = len(b) - from
	if p.earlier[0] != nil {
		b = p.appendRED(b)
	}
	b = append(b, p.payload...)
	if padding > 0 {
		b = append(b, zeros[:padding-1]...)
		b = append(b, byte(padding))
	}
	return b, head
}

var zeros [maxPadding]byte

// appendRED appends what stands before the payload in RED: headers, and the earlier frames.
func (p *packet) appendRED(b []byte) []byte {
	for i := maxRedundancy - 1; i >= 0; i-- { // the oldest first
		if k := p.earlier[i]; k != nil {
			offset, length := p.logged.Timestamp-k.Timestamp, len(k.Payload)
			b = append(b, 1<<7|p.slot.PayloadType, byte(offset>>6), byte(offset<<2)|byte(length>>8), byte(length))
		}
	}
	b = append(b, p.slot.PayloadType)
	for i := maxRedundancy - 1; i >= 0; i-- {
		if k := p.earlier[i]; k != nil {
			b = append(b, k.Payload...)
		}
	}
	return b
}

// run is how many of the packets, from the first on, are to be made equally long and leave together.
func run(due []packet) int {
	least, most := due[0].size, due[0].size
	for i := range due[1:] {
		size := due[i+1].size
		least, most = min(least, size), max(most, size)
		if most-least > maxPadding {
			return i + 1
		}
	}
	return len(due)
}
