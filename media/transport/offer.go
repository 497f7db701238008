package transport

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// Limits of an offer.
const (
	// MaxOfferSize is the largest offer that is read, in bytes.
	MaxOfferSize = 64 << 10
	// MaxSlots is how many receiving m-lines a session can have; more are rejected in the answer.
	MaxSlots = 16

	maxMedia              = 128
	maxMIDLength          = 32
	defaultMaxMessageSize = 64 << 10 // RFC 8841, section 6.1
	levelURI              = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
)

// Offer is what this package understands of an SDP offer. It is immutable.
type Offer struct {
	media       []mediaLine
	bundle      bool   // the offer has a BUNDLE group
	ufrag       string // the client's
	fingerprint [sha256.Size]byte
	maxMessage  int // largest data-channel message the client takes, in bytes
}

// mediaLine is one m-line and the part it was given in the session. A line without a part is
// rejected in the answer.
type mediaLine struct {
	kind, proto, format string // as offered; format is the first
	mid                 string
	uplink, slot, data  bool

	// Of audio lines that are accepted.
	pt          uint8 // of Opus
	red         uint8 // of RED, 0: not offered
	levelExt    uint8 // RFC 6464 extension id, 0: not offered
	nack        bool
	reducedRTCP bool
}

func (m *mediaLine) accepted() bool { return m.uplink || m.slot || m.data }

// HasUplink reports whether the client wants to send audio.
func (o *Offer) HasUplink() bool {
	for i := range o.media {
		if o.media[i].uplink {
			return true
		}
	}
	return false
}

// HasData reports whether the client wants a data channel.
func (o *Offer) HasData() bool {
	for i := range o.media {
		if o.media[i].data {
			return true
		}
	}
	return false
}

// NumSlots is the number of receiving m-lines that are accepted, at most MaxSlots.
func (o *Offer) NumSlots() int {
	n := 0
	for i := range o.media {
		if o.media[i].slot {
			n++
		}
	}
	return n
}

// ParseOffer reads an SDP offer. The error is an *OfferError.
//
// Parts are given out in the order of the m-lines: the first audio line that sends is the uplink,
// each that receives is a slot (one that does both is both), the first data channel is the data
// channel. Whatever is left over, video first of all, gets no part.
func ParseOffer(raw []byte) (*Offer, error) {
	switch {
	case len(bytes.TrimSpace(raw)) == 0:
		return nil, badOffer(OfferEmpty, "the offer is empty")
	case len(raw) > MaxOfferSize:
		return nil, badOffer(OfferTooLarge, "the offer has %d bytes; %d are allowed", len(raw), MaxOfferSize)
	}
	var session sdp.SessionDescription
	if err := session.Unmarshal(raw); err != nil {
		return nil, badOffer(OfferMalformed, "the offer is not SDP: %.120v", err) // it may quote all of a line
	}
	if n := len(session.MediaDescriptions); n > maxMedia {
		return nil, badOffer(OfferTooManyMedia, "the offer has %d m-lines; %d are allowed", n, maxMedia)
	}
	o := &Offer{maxMessage: defaultMaxMessageSize}
	if err := o.readMedia(&session); err != nil {
		return nil, err
	}
	if err := o.readCredentials(&session); err != nil {
		return nil, err
	}
	return o, nil
}

// readMedia fills o.media and gives each line its part.
func (o *Offer) readMedia(session *sdp.SessionDescription) error {
	group, bundled := bundleGroup(session)
	o.bundle = bundled
	seen := map[string]bool{}
	var given casting
	for i, m := range session.MediaDescriptions {
		line, err := newMediaLine(m, len(session.MediaDescriptions) > 1)
		if err != nil {
			return err
		}
		if line.mid != "" && seen[line.mid] {
			return badOffer(OfferBadMID, "two m-lines have the mid %q", line.mid)
		}
		seen[line.mid] = true
		// Without a BUNDLE group only one m-line can share our one 5-tuple: the first.
		if usable(m) && (group[line.mid] || !bundled && i == 0) {
			given.cast(&line, m, session)
		}
		if line.data {
			o.maxMessage = maxMessage(m)
		}
		o.media = append(o.media, line)
	}
	return given.check()
}

// casting is which parts were given so far.
type casting struct {
	sawAudio, sawOpus, uplink, data bool
	slots                           int
}

// cast gives a usable line its part, if one is left for it.
func (c *casting) cast(line *mediaLine, m *sdp.MediaDescription, session *sdp.SessionDescription) {
	switch line.kind {
	case "audio":
		c.sawAudio = true
		if !line.readAudio(m) {
			return
		}
		c.sawOpus = true
		sends, receives := direction(m, session)
		line.uplink = sends && !c.uplink
		c.uplink = c.uplink || line.uplink
		if receives && c.slots < MaxSlots {
			line.slot = true
			c.slots++
		}
	case "application":
		line.data = !c.data && line.format == "webrtc-datachannel"
		c.data = c.data || line.data
	}
}

// check says what is missing for a session.
func (c *casting) check() error {
	switch {
	case !c.sawAudio:
		return badOffer(OfferNoAudio, "the offer has no audio m-line that can be used")
	case !c.sawOpus:
		return badOffer(OfferNoOpus, "no audio m-line offers Opus over SRTP with rtcp-mux")
	case !c.uplink && c.slots == 0:
		return badOffer(OfferNoAudio, "no audio m-line of the offer sends or receives")
	}
	return nil
}

func newMediaLine(m *sdp.MediaDescription, several bool) (mediaLine, error) {
	line := mediaLine{kind: m.MediaName.Media, proto: strings.Join(m.MediaName.Protos, "/"), format: "0"}
	if len(m.MediaName.Formats) > 0 {
		line.format = m.MediaName.Formats[0]
	}
	line.mid, _ = m.Attribute("mid")
	if line.mid == "" && several {
		return line, badOffer(OfferBadMID, "an m-line has no mid")
	}
	if len(line.mid) > maxMIDLength || strings.ContainsFunc(line.mid, notToken) {
		return line, badOffer(OfferBadMID, "a mid is not a token of at most %d characters", maxMIDLength)
	}
	return line, nil
}

// notToken reports whether r may not appear in an SDP token (RFC 8866, section 9).
func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]`, r)
}

// usable is false for a rejected m-line. A port of 0 with bundle-only is none (RFC 9143, section 6).
func usable(m *sdp.MediaDescription) bool {
	_, bundleOnly := m.Attribute("bundle-only")
	return m.MediaName.Port.Value != 0 || bundleOnly
}

// bundleGroup returns the mids of the first BUNDLE group.
func bundleGroup(session *sdp.SessionDescription) (map[string]bool, bool) {
	for _, a := range session.Attributes {
		if fields := strings.Fields(a.Value); a.Key == "group" && len(fields) > 1 && fields[0] == "BUNDLE" {
			mids := make(map[string]bool, len(fields))
			for _, mid := range fields[1:] {
				mids[mid] = true
			}
			return mids, true
		}
	}
	return nil, false
}

// direction reports what the client does on m; sendrecv is the default (RFC 8866, section 6.7).
func direction(m *sdp.MediaDescription, session *sdp.SessionDescription) (sends, receives bool) {
	for _, attributes := range [][]sdp.Attribute{m.Attributes, session.Attributes} {
		for _, a := range attributes {
			switch a.Key {
			case "sendrecv":
				return true, true
			case "sendonly":
				return true, false
			case "recvonly":
				return false, true
			case "inactive":
				return false, false
			}
		}
	}
	return true, true
}

// maxMessage reads how large a message the client takes (RFC 8841, section 6).
func maxMessage(m *sdp.MediaDescription) int {
	value, _ := m.Attribute("max-message-size")
	n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32)
	switch {
	case err != nil:
		return defaultMaxMessageSize
	case n == 0 || n > maxBacklog: // 0 is any size
		return maxBacklog
	}
	return int(n)
}

// readCredentials reads what is common to the bundle from its first m-line that says it, or from
// the session level.
func (o *Offer) readCredentials(session *sdp.SessionDescription) error {
	if _, lite := session.Attribute("ice-lite"); lite {
		return badOffer(OfferNoICE, "the client is ICE-lite, and so are we: nobody would send checks")
	}
	ufrag, pwd := o.lookup(session, "ice-ufrag"), o.lookup(session, "ice-pwd")
	if !oneOf(ufrag, 4) || !oneOf(pwd, 22) {
		return badOffer(OfferNoICE, "the offer has no ICE credentials (a=ice-ufrag, a=ice-pwd)")
	}
	o.ufrag = ufrag[0]
	if err := o.readFingerprint(o.lookup(session, "fingerprint")); err != nil {
		return err
	}
	for _, setup := range o.lookup(session, "setup") {
		if setup != "actpass" && setup != "active" {
			return badOffer(OfferBadSetup, "the offer must leave the active DTLS role to the client (a=setup:actpass)")
		}
	}
	return nil
}

// oneOf reports whether values is one ICE credential of a legal length (RFC 8839, section 5.4).
func oneOf(values []string, least int) bool {
	return len(values) == 1 && len(values[0]) >= least && len(values[0]) <= 256
}

// readFingerprint takes the first sha-256 digest of several fingerprints.
func (o *Offer) readFingerprint(values []string) error {
	for _, value := range values {
		algorithm, digits, _ := strings.Cut(value, " ")
		if !strings.EqualFold(algorithm, "sha-256") {
			continue
		}
		sum, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(digits), ":", ""))
		if err != nil || len(sum) != sha256.Size {
			return badOffer(OfferNoFingerprint, "the offer's sha-256 fingerprint is malformed")
		}
		copy(o.fingerprint[:], sum)
		return nil
	}
	return badOffer(OfferNoFingerprint, "the offer has no sha-256 fingerprint")
}

// lookup returns the values of an attribute in the first accepted m-line that has it, else of the
// session. The sdp package's Attribute returns the first value only; fingerprints may be several.
func (o *Offer) lookup(session *sdp.SessionDescription, key string) []string {
	for i, m := range session.MediaDescriptions {
		if values := attributes(m.Attributes, key); o.media[i].accepted() && len(values) > 0 {
			return values
		}
	}
	return attributes(session.Attributes, key)
}

func attributes(all []sdp.Attribute, key string) []string {
	values := make([]string, 0, 1)
	for _, a := range all {
		if a.Key == key {
			values = append(values, strings.TrimSpace(a.Value))
		}
	}
	return values
}

// sameSession reports whether p offers the same session as o but for ICE credentials. Feedback may
// differ: clients that add it by hand may not do so again, and nothing depends on their agreement.
func (o *Offer) sameSession(p *Offer) bool {
	if len(o.media) != len(p.media) || o.fingerprint != p.fingerprint {
		return false
	}
	for i := range o.media {
		before, after := o.media[i], p.media[i]
		after.proto, after.format = before.proto, before.format
		after.nack, after.reducedRTCP = before.nack, before.reducedRTCP
		if before != after {
			return false
		}
	}
	return true
}
