package transport

import (
	"fmt"
	"net/netip"
	"strings"
)

// maxReceive is the largest data-channel message taken from a client: commands are small.
const maxReceive = 16 << 10

// answer is what varies between two answers.
type answer struct {
	session     uint64 // o= session id
	version     int    // o= session version: 1, and one more for each ICE restart
	ufrag, pwd  string
	fingerprint string
	candidates  []string
	slots       []Slot
}

// candidateLines lists passive host candidates, UDP before TCP, in the order of addrs. Priorities
// follow RFC 8445, section 5.1.2, and RFC 6544, section 4.2.
func candidateLines(addrs []netip.AddrPort) []string {
	lines := make([]string, 0, 2*len(addrs))
	for i, a := range addrs {
		priority := 126<<24 | (65535-i)<<8 | 255
		lines = append(lines, fmt.Sprintf("%d 1 udp %d %s %d typ host", len(lines)+1, priority, a.Addr(), a.Port()))
	}
	for i, a := range addrs {
		priority := 90<<24 | (4<<13|(8191-i))<<8 | 255
		lines = append(lines, fmt.Sprintf("%d 1 tcp %d %s %d typ host tcptype passive", len(lines)+1, priority, a.Addr(), a.Port()))
	}
	return lines
}

// marshal writes the answer to o.
func (a *answer) marshal(o *Offer) []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("v=0")
	line("o=- %d %d IN IP4 127.0.0.1", a.session, a.version)
	line("s=-")
	line("t=0 0")
	if o.bundle {
		mids := ""
		for i := range o.media {
			if o.media[i].accepted() {
				mids += " " + o.media[i].mid
			}
		}
		line("a=group:BUNDLE%s", mids)
	}
	line("a=ice-lite")
	line("a=msid-semantic: WMS *")

	slots := a.slots
	candidates := a.candidates // on the first accepted line only; the others share its transport
	for i := range o.media {
		m := &o.media[i]
		a.mediaHead(line, m, candidates)
		switch {
		case m.data:
			line("a=sctp-port:5000")
			line("a=max-message-size:%d", maxReceive)
		case m.slot:
			m.audio(line, &slots[0])
			slots = slots[1:]
		case m.uplink:
			m.audio(line, nil)
		}
		if m.accepted() {
			candidates = nil
		}
	}
	return []byte(b.String())
}

// mediaHead writes the m-line and the transport part of m, or rejects it.
func (a *answer) mediaHead(line func(string, ...any), m *mediaLine, candidates []string) {
	port, format := 9, m.format
	switch {
	case !m.accepted():
		port = 0
	case !m.data:
		format = m.formats()
	}
	line("m=%s %d %s %s", m.kind, port, m.proto, format)
	line("c=IN IP4 0.0.0.0")
	if m.mid != "" {
		line("a=mid:%s", m.mid)
	}
	if !m.accepted() {
		line("a=inactive")
		return
	}
	line("a=ice-ufrag:%s", a.ufrag)
	line("a=ice-pwd:%s", a.pwd)
	line("a=fingerprint:sha-256 %s", a.fingerprint)
	line("a=setup:passive")
	for _, c := range candidates {
		line("a=candidate:%s", c)
	}
	if len(candidates) > 0 {
		line("a=end-of-candidates")
	}
}

// formats lists the payload types of an audio line, what the client is to prefer first: RED on the way
// up, for it is unwrapped here and costs no listener anything.
func (m *mediaLine) formats() string {
	switch {
	case m.red == 0:
		return fmt.Sprint(m.pt)
	case m.uplink:
		return fmt.Sprint(m.red, m.pt)
	}
	return fmt.Sprint(m.pt, m.red)
}

// audio writes the RTP part of m; slot is nil on a line that is the uplink only.
func (m *mediaLine) audio(line func(string, ...any), slot *Slot) {
	line("a=rtcp-mux")
	if m.reducedRTCP {
		line("a=rtcp-rsize")
	}
	line("a=rtpmap:%d opus/48000/2", m.pt)
	line("a=fmtp:%d minptime=10;useinbandfec=1;usedtx=1", m.pt)
	if m.red != 0 {
		line("a=rtpmap:%d red/48000/2", m.red)
		line("a=fmtp:%d %d/%d", m.red, m.pt, m.pt)
	}
	if m.levelExt != 0 {
		line("a=extmap:%d %s", m.levelExt, levelURI)
	}
	switch {
	case slot == nil:
		line("a=recvonly")
		return
	case m.uplink:
		line("a=sendrecv")
	default:
		line("a=sendonly")
	}
	if m.nack {
		line("a=rtcp-fb:%d nack", m.pt)
	}
	// A stream per slot: receivers synchronise the tracks of one stream, and slots are strangers.
	line("a=msid:slot%d slot%d", slot.Index, slot.Index)
	line("a=ssrc:%d cname:%s", slot.SSRC, cname)
}
