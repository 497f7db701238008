package egress

import (
	"encoding/binary"

	"voiceroom.dev/voiceroom/media/transport"
)

// headerSize is the longest header that is written: 12 fixed, a CSRC, one word of extensions.
const headerSize = 12 + 4 + 8

// opusSilence is one 20 ms frame of digital silence, as libopus encodes it.
var opusSilence = [...]byte{0xf8, 0xff, 0xfe}

// header is what of an RTP header does not come from the slot.
type header struct {
	marker   bool
	csrc     uint32
	hasCSRC  bool
	level    byte // as RFC 6464 writes it
	hasLevel bool
}

func levelByte(level uint8, voice bool) byte {
	if voice {
		return level&0x7f | 0x80
	}
	return level & 0x7f
}

// append appends the RTP header (RFC 3550, section 5.1) of a packet at a position of a slot.
func (h *header) append(b []byte, s *transport.Slot, at position) []byte {
	extend := h.hasLevel && s.LevelExt != 0
	first, second := byte(2<<6), s.PayloadType
	if extend {
		first |= 1 << 4
	}
	if h.hasCSRC {
		first |= 1
	}
	if h.marker {
		second |= 1 << 7
	}
	b = append(b, first, second)
	b = binary.BigEndian.AppendUint16(b, uint16(at.index))
	b = binary.BigEndian.AppendUint32(b, at.timestamp)
	b = binary.BigEndian.AppendUint32(b, s.SSRC)
	if h.hasCSRC {
		b = binary.BigEndian.AppendUint32(b, h.csrc)
	}
	if extend { // one-byte header, one word (RFC 8285, section 4.2)
		b = append(b, 0xbe, 0xde, 0, 1, s.LevelExt<<4, h.level, 0, 0)
	}
	return b
}
