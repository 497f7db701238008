package transport

import (
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// readAudio finds Opus and what goes with it; it is false when the line cannot be used.
func (m *mediaLine) readAudio(from *sdp.MediaDescription) bool {
	if _, mux := from.Attribute("rtcp-mux"); !mux || !strings.Contains(m.proto, "TLS/RTP/SAVP") {
		return false
	}
	opus := payloadTypes(from, "opus/48000/2")
	if len(opus) == 0 {
		return false
	}
	m.pt = opus[0]
	m.red = redType(from, m.pt)
	for _, a := range from.Attributes {
		fields := strings.Fields(a.Value)
		switch {
		case a.Key == "rtcp-rsize":
			m.reducedRTCP = true
		case a.Key == "extmap" && len(fields) >= 2 && fields[1] == levelURI:
			m.levelExt = extensionID(fields[0])
		case a.Key == "rtcp-fb" && len(fields) == 2 && fields[1] == "nack":
			m.nack = m.nack || fields[0] == "*" || fields[0] == strconv.Itoa(int(m.pt))
		}
	}
	return true
}

// extensionID reads the id of an extmap line, and is 0 for one that cannot be used: ids above 14 need
// two-byte headers (RFC 8285, section 4.2).
func extensionID(field string) uint8 {
	id, _, _ := strings.Cut(field, "/") // the rest is a direction
	n, err := strconv.ParseUint(id, 10, 8)
	if err != nil || n > 14 {
		return 0
	}
	return uint8(n)
}

// payloadTypes returns those with which m offers an encoding, in their order.
func payloadTypes(m *sdp.MediaDescription, encoding string) []uint8 {
	var types []uint8
	for _, format := range m.MediaName.Formats {
		pt, err := strconv.ParseUint(format, 10, 7)
		// 64 to 95 cannot be told from RTCP on one port (RFC 5761, section 4).
		if err != nil || pt >= 64 && pt <= 95 {
			continue
		}
		for _, a := range m.Attributes {
			fields := strings.Fields(a.Value)
			if a.Key == "rtpmap" && len(fields) == 2 && fields[0] == format && strings.EqualFold(fields[1], encoding) {
				types = append(types, uint8(pt))
				break
			}
		}
	}
	return types
}

// redType returns the payload type with which m offers redundancy of that payload type of Opus and of
// nothing else (RFC 2198, section 5); 0 if it does not.
func redType(m *sdp.MediaDescription, opus uint8) uint8 {
	for _, pt := range payloadTypes(m, "red/48000/2") {
		for _, a := range m.Attributes {
			format, blocks, _ := strings.Cut(a.Value, " ")
			if a.Key == "fmtp" && format == strconv.Itoa(int(pt)) && onlyOf(blocks, strconv.Itoa(int(opus))) {
				return pt
			}
		}
	}
	return 0
}

// onlyOf reports whether a list of payload types, as in 111/111, names that one only.
func onlyOf(list, pt string) bool {
	for item := range strings.SplitSeq(strings.TrimSpace(list), "/") {
		if item != pt {
			return false
		}
	}
	return true
}
