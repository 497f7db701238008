//go:build linux

package client

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const (
	opusType       = 111
	levelExtension = 1
	levelURI       = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
)

// Offer is the client's offer (SDP): the uplink, the slots, the data channel, in this order.
func (c *Client) Offer() (string, error) {
	identity, err := certificate()
	if err != nil {
		return "", err
	}
	kinds := make([]string, 0, c.opts.Slots+2)
	if c.opts.Uplink {
		kinds = append(kinds, "sendonly")
	}
	for range c.opts.Slots {
		kinds = append(kinds, "recvonly")
	}
	if c.opts.Data {
		kinds = append(kinds, "data")
	}
	var b strings.Builder
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format+"\r\n", args...) }
	line("v=0\r\no=- %d 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0", c.uplink.SSRC)
	mids := ""
	for i := range kinds {
		mids += " " + strconv.Itoa(i)
	}
	line("a=group:BUNDLE%s\r\na=msid-semantic: WMS *", mids)
	for i, kind := range kinds {
		if kind == "data" {
			line("m=application 9 UDP/DTLS/SCTP webrtc-datachannel")
		} else {
			line("m=audio 9 UDP/TLS/RTP/SAVPF %d", opusType)
		}
		line("c=IN IP4 0.0.0.0\r\na=mid:%d\r\na=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=setup:active\r\na=fingerprint:sha-256 %s",
			i, c.ice.ufrag, c.ice.pwd, identity.fingerprint)
		line("a=candidate:1 1 udp %d %v %d typ host", priority, c.local.Addr(), c.local.Port())
		if kind == "data" {
			line("a=sctp-port:5000\r\na=max-message-size:262144")
			continue
		}
		line("a=%s\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:%d opus/48000/2\r\na=fmtp:%d minptime=10;useinbandfec=1", kind, opusType, opusType)
		line("a=extmap:%d %s", levelExtension, levelURI)
		if kind == "sendonly" {
			line("a=msid:mic mic\r\na=ssrc:%d cname:mic\r\na=ssrc:%d msid:mic mic", c.uplink.SSRC, c.uplink.SSRC)
		}
	}
	return b.String(), nil
}

// answer is what of the server's answer a client needs.
type answer struct {
	server      netip.AddrPort
	ufrag, pwd  string
	fingerprint string   // SHA-256, in the form of RFC 8122
	ssrcs       []uint32 // of the slots, in the order of the m-lines
}

func parseAnswer(sdp string) (answer, error) {
	var a answer
	for l := range strings.Lines(sdp) {
		name, value, _ := strings.Cut(strings.TrimSpace(l), ":")
		if fields := strings.Fields(value); len(fields) > 0 {
			a.note(name, fields)
		}
	}
	if !a.server.IsValid() || a.ufrag == "" || a.pwd == "" || a.fingerprint == "" {
		return a, errors.New("the answer lacks a candidate on loopback, ICE credentials or a fingerprint")
	}
	return a, nil
}

// note takes one attribute.
func (a *answer) note(name string, fields []string) {
	switch name {
	case "a=ice-ufrag":
		a.ufrag = fields[0]
	case "a=ice-pwd":
		a.pwd = fields[0]
	case "a=fingerprint":
		if len(fields) == 2 && strings.EqualFold(fields[0], "sha-256") {
			a.fingerprint = strings.ToUpper(fields[1])
		}
	case "a=candidate":
		if len(fields) >= 6 && strings.EqualFold(fields[2], "udp") && !a.server.IsValid() {
			a.server = onLoopback(fields[4], fields[5])
		}
	case "a=ssrc": // several lines say more of the same
		ssrc, err := strconv.ParseUint(fields[0], 10, 32)
		if n := len(a.ssrcs); err == nil && (n == 0 || a.ssrcs[n-1] != uint32(ssrc)) {
			a.ssrcs = append(a.ssrcs, uint32(ssrc))
		}
	}
}

// onLoopback is a candidate's address; invalid: it is elsewhere.
func onLoopback(ip, port string) netip.AddrPort {
	at, err := netip.ParseAddrPort(ip + ":" + port)
	if err != nil || !at.Addr().IsLoopback() {
		return netip.AddrPort{}
	}
	return at
}
