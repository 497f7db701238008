package egress

import "voiceroom.dev/voiceroom/media/red"

const (
	// maxRun is how many packets of one listener leave together at most.
	maxRun = 64
	// maxPadding is how many bytes a packet is padded by at most to be as long as the others of its
	// run. What differs by more leaves in a run of its own: the bytes would cost more than the call.
	maxPadding = 96
	// maxRedundancy is how many earlier frames a packet can carry.
	maxRedundancy = 2
)

// packet is one that is due to a listener: it has its place in the slot's stream, and is not built yet.
type packet struct {
	slot    *slot
	at      position
	header  header
	payload []byte                   // Opus
	earlier [maxRedundancy]red.Block // the last copies of them are carried too, the oldest first
	copies  int
	size    int // of header and payload, in bytes, without padding and tag
}

// silence makes p a frame of silence.
func (p *packet) silence(s *slot, at position) {
	p.slot, p.at, p.payload, p.copies = s, at, opusSilence[:], 0
	p.header = header{payloadType: s.PayloadType, hasLevel: true, level: levelByte(silent, false)}
	p.size = p.header.size(&s.Slot) + len(p.payload)
}

// sound makes p the packet with that number of the slot's log, with up to redundancy earlier frames: none from
// before the slot was the talker's, when the places of these in its stream were others'.
func (p *packet) sound(s *slot, n uint32, at position, marker bool, redundancy int) {
	k := s.log.at(n)
	p.slot, p.at, p.payload, p.copies = s, at, k.Payload, 0
	p.header = header{payloadType: s.PayloadType, marker: marker, members: k.members[:k.count],
		hasLevel: k.HasLevel, level: levelByte(k.Level, k.Voice)}
	p.size = p.header.size(&s.Slot) + len(p.payload)
	if s.RED != 0 {
		p.addEarlier(s.log, n, min(redundancy, int(at.index-s.floor)))
	}
}

// addEarlier makes p carry earlier frames, as far as they are there, RED can tell how old they are
// and the packet does not become too long.
func (p *packet) addEarlier(l *Log, n uint32, redundancy int) {
	now := l.at(n)
	for i := range redundancy {
		k := l.before(n, uint32(i+1))
		if k == nil || now.Timestamp-k.Timestamp > red.MaxOffset || len(k.Payload) > red.MaxLength {
			return
		}
		more := red.HeadSize + len(k.Payload)
		if i == 0 {
			more += red.PrimaryHeadSize
		}
		if p.size+more > maxPayload {
			return
		}
		p.size += more
		p.copies++
		p.header.payloadType = p.slot.RED
		p.earlier[maxRedundancy-p.copies] = red.Block{PayloadType: p.slot.PayloadType, Offset: now.Timestamp - k.Timestamp, Data: k.Payload}
	}
}

// append appends the packet as it is before it is sealed, with padding bytes of padding (RFC 3550,
// section 5.1). head is the length of its header.
func (p *packet) append(b []byte, padding int) (packet []byte, head int) {
	from := len(b)
	p.header.padded = padding > 0
	b = p.header.append(b, &p.slot.Slot, p.at)
	head = len(b) - from
	if p.copies == 0 {
		b = append(b, p.payload...)
	} else {
		// It refuses what addEarlier has left out.
		b, _ = red.Append(b, p.earlier[maxRedundancy-p.copies:], red.Block{PayloadType: p.slot.PayloadType, Data: p.payload})
	}
	if padding > 0 {
		b = append(b, zeros[:padding-1]...)
		b = append(b, byte(padding))
	}
	return b, head
}

var zeros [maxPadding]byte

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
