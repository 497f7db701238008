package egress

import (
	"encoding/binary"

	"voiceroom.dev/voiceroom/media/transport"
)

const (
	// fixedSize is what every header has, before the CSRCs.
	fixedSize = 12
	// extensionSize is what a level takes: the extension's header and one word.
	extensionSize = 8
	// silent is the level of silence (RFC 6464, section 3).
	silent = 127
)

// opusSilence is one 20 ms frame of digital silence, as libopus encodes it.
var opusSilence = [...]byte{0xf8, 0xff, 0xfe}

// header is what of an RTP header does not come from the slot.
type header struct {
	payloadType uint8
	marker      bool
	padded      bool
	members     []uint32 // at most MaxMembers
	hasLevel    bool
	level       byte // as RFC 6464 writes it
}

func levelByte(level uint8, voice bool) byte {
	if voice {
		return level&0x7f | 0x80
	}
	return level & 0x7f
}

func (h *header) size(s *transport.Slot) int {
	size := fixedSize + 4*len(h.members)
	if h.hasLevel && s.LevelExt != 0 {
		size += extensionSize
	}
	return size
}

// append appends the RTP header (RFC 3550, section 5.1) of a packet at a position of a slot.
func (h *header) append(b []byte, s *transport.Slot, at position) []byte {
	extend := h.hasLevel && s.LevelExt != 0
	first, second := byte(2<<6|len(h.members)), h.payloadType
	if h.padded {
		first |= 1 << 5
	}
	if extend {
		first |= 1 << 4
	}
	if h.marker {
		second |= 1 << 7
	}
	b = append(b, first, second)
	b = binary.BigEndian.AppendUint16(b, uint16(at.index))
	b = binary.BigEndian.AppendUint32(b, at.timestamp)
	b = binary.BigEndian.AppendUint32(b, s.SSRC)
	for _, member := range h.members {
		b = binary.BigEndian.AppendUint32(b, member)
	}
	if extend { // one-byte header, one word (RFC 8285, section 4.2)
		b = append(b, 0xbe, 0xde, 0, 1, s.LevelExt<<4, h.level, 0, 0)
	}
	return b
}
