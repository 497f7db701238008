//go:build linux

package client

import (
	"fmt"
	"time"

	"github.com/pion/rtcp"
)

// cname is in every report; what it says is nobody's concern.
const cname = "bench"

// report sends what a browser sends every second: what it received of each slot, and of a client that
// talks what it sent (RFC 3550, section 6.4).
func (c *Client) report() error {
	now := time.Now()
	blocks := c.blocks(now)
	c.out.Lock()
	defer c.out.Unlock()
	var first rtcp.Packet = &rtcp.ReceiverReport{SSRC: c.uplink.SSRC, Reports: blocks}
	if c.sent > 0 {
		first = &rtcp.SenderReport{SSRC: c.uplink.SSRC, NTPTime: ntp(now), RTPTime: c.uplink.Timestamp, PacketCount: c.sent, OctetCount: c.octets, Reports: blocks}
	}
	plain, err := rtcp.Marshal([]rtcp.Packet{first, rtcp.NewCNAMESourceDescription(c.uplink.SSRC, cname)})
	if err != nil {
		return fmt.Errorf("writing a report: %w", err)
	}
	sealed, err := c.seal.EncryptRTCP(nil, plain, nil)
	if err != nil {
		return fmt.Errorf("sealing a report: %w", err)
	}
	return c.write(sealed)
}

// blocks are the report blocks of the streams that came.
func (c *Client) blocks(now time.Time) []rtcp.ReceptionReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	var blocks []rtcp.ReceptionReport
	for _, s := range c.streams {
		if s.started {
			blocks = append(blocks, s.block(now))
		}
	}
	return blocks
}

// block is the report block of a stream (RFC 3550, appendix A.3).
func (s *stream) block(now time.Time) rtcp.ReceptionReport {
	expected, received := s.expected()-s.reported.expected, s.received-s.reported.received
	s.reported.expected, s.reported.received = s.expected(), s.received
	r := rtcp.ReceptionReport{SSRC: s.ssrc, LastSequenceNumber: s.highest - 1<<16, LastSenderReport: s.senderNTP}
	if expected > received {
		r.FractionLost = uint8(256 * (expected - received) / expected)
	}
	if s.expected() > s.received {
		r.TotalLost = uint32(s.expected() - s.received)
	}
	if s.senderNTP != 0 {
		r.Delay = uint32(now.Sub(s.senderAt) * 65536 / time.Second)
	}
	return r
}

// heedReport keeps what the next report repeats of the server's. It is called with c.mu held.
func (c *Client) heedReport(b []byte, at time.Time) {
	if c.open == nil {
		return
	}
	plain, err := c.open.DecryptRTCP(nil, b, nil)
	if err != nil {
		return
	}
	packets, err := rtcp.Unmarshal(plain)
	if err != nil {
		return
	}
	for _, p := range packets {
		if sr, ok := p.(*rtcp.SenderReport); ok {
			if s := c.streamOf(sr.SSRC); s != nil {
				s.senderNTP, s.senderAt = uint32(sr.NTPTime>>16), at
			}
		}
	}
}

// ntp is a time as reports write it (RFC 3550, section 4).
func ntp(t time.Time) uint64 {
	const since1900 = 2208988800
	return uint64(t.Unix()+since1900)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}
