package transport

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/pion/srtp/v3"
)

// senderReportRounds is how many ticks lie between two sender reports of a connection: 5 s, RFC
// 3550's interval. Receiver reports leave with each tick, for encoders adapt to loss by them.
const senderReportRounds = 5

// reporter keeps both directions of RTCP.
type reporter struct {
	ssrc uint32        // ours, in receiver reports
	turn int           // the round of senderReportRounds in which sender reports are due
	out  *srtp.Context // set before the connection is connected, then used by the ticker only

	source       atomic.Pointer[Reporter]
	listenerLoss atomic.Uint32 // of 256
	fractions    [MaxSlots]atomic.Uint32
	roundTrip    atomic.Int64
	nacked       atomic.Uint64
	lastSR       atomic.Uint64 // the uplink's: NTP middle bits << 32, arrival's NTP middle bits
}

func (r *reporter) init() {
	r.ssrc = randomUint32()
	r.turn = int(r.ssrc % senderReportRounds)
}

func (r *reporter) setContext(out *srtp.Context) { r.out = out }

// SetReporter names who knows what was sent on the slots; without one no sender reports leave.
func (c *Conn) SetReporter(r Reporter) { c.rtcp.source.Store(&r) }

// SetListenerLoss sets the share of packets, 0 to 1, that the listeners of this talker lose. Receiver
// reports to the client carry it when it is more than the uplink's own loss, so that its encoder adds
// forward error correction for those behind us.
func (c *Conn) SetListenerLoss(fraction float64) {
	c.rtcp.listenerLoss.Store(uint32(math.Round(min(max(fraction, 0)*256, 255))))
}

// Stats returns a snapshot. It may be called from anywhere, from within a Handler too.
func (c *Conn) Stats() Stats {
	st := Stats{
		Remote:    c.Remote(),
		RoundTrip: time.Duration(c.rtcp.roundTrip.Load()),
		NACKed:    c.rtcp.nacked.Load(),
	}
	for i := range c.slots {
		st.DownlinkFraction = max(st.DownlinkFraction, float64(c.rtcp.fractions[i].Load())/256)
	}
	c.recv.statsMu.Lock()
	defer c.recv.statsMu.Unlock()
	u := &c.recv.stats
	st.Received = u.pastReceived + uint64(u.received)
	st.Lost = u.pastLost + u.lost()
	st.Jitter = time.Duration(u.jitter>>4) * time.Second / clockRate
	st.UplinkFraction = float64(u.fraction) / 256
	return st
}

// receiveRTCP is called with c.recv.mu held.
func (rd *reader) receiveRTCP(c *Conn, b []byte, now time.Time) {
	r, counters := &c.recv, &rd.server.counters
	sender := uint32(b[4])<<24 | uint32(b[5])<<16 | uint32(b[6])<<8 | uint32(b[7])
	if !r.reporters.admits(sender) {
		counters.DroppedUnexpected.Add(1)
		return
	}
	plain, err := r.ctx.DecryptRTCP(rd.plain[:0], b, nil)
	if err != nil {
		counters.SRTPAuthFailed.Add(1)
		return
	}
	r.reporters.add(sender)
	in := &rd.compound
	if in.parse(plain) != nil {
		counters.DroppedMalformed.Add(1)
		return
	}
	if in.senderNTP != 0 && in.sender == r.stats.ssrc {
		c.rtcp.lastSR.Store(uint64(in.senderNTP)<<32 | uint64(ntpMiddle(now)))
	}
	for i := range in.blocks[:in.blockCount] {
		c.noteBlock(&in.blocks[i], now)
	}
	rd.dispatchNACKs(c, in.nacks[:in.nackCount])
}

// noteBlock keeps what the client reports about one slot.
func (c *Conn) noteBlock(b *reportBlock, now time.Time) {
	slot := c.slotOf(b.ssrc)
	if slot < 0 {
		return
	}
	c.rtcp.fractions[slot].Store(uint32(b.fraction))
	if b.lsr == 0 {
		return
	}
	// Negative, or absurd, when the client's arithmetic is off.
	if rtt := int32(ntpMiddle(now) - b.lsr - b.dlsr); rtt >= 0 && rtt < 30<<16 {
		c.rtcp.roundTrip.Store(int64(rtt) * int64(time.Second) >> 16)
	}
}

// dispatchNACKs calls the handler once for each run of one slot.
func (rd *reader) dispatchNACKs(c *Conn, nacks []nack) {
	for len(nacks) > 0 {
		ssrc := nacks[0].ssrc
		rd.nacked = rd.nacked[:0]
		for len(nacks) > 0 && nacks[0].ssrc == ssrc {
			rd.nacked = append(rd.nacked, nacks[0].seq)
			nacks = nacks[1:]
		}
		if slot := c.slotOf(ssrc); slot >= 0 && c.slots[slot].NACK {
			c.rtcp.nacked.Add(uint64(len(rd.nacked)))
			c.handler.NACK(slot, rd.nacked)
		}
	}
}

func (c *Conn) slotOf(ssrc uint32) int {
	for i := range c.slots {
		if c.slots[i].SSRC == ssrc {
			return i
		}
	}
	return -1
}

// report sends what RTCP is due in this round.
func (s *Server) report(now time.Time, round int) {
	for _, c := range s.snapshot() {
		if c.connected.Load() {
			c.sendReports(now, round%senderReportRounds == c.rtcp.turn)
		}
	}
}

// sendReports is called on the ticker's goroutine only.
func (c *Conn) sendReports(now time.Time, senders bool) {
	var packet []byte
	if source := c.rtcp.source.Load(); source != nil && senders {
		for i := range c.slots {
			if info, ok := (*source).SenderInfo(i, now); ok {
				packet = appendSR(packet, c.slots[i].SSRC, now, info)
				packet = appendSDES(packet, c.slots[i].SSRC)
			}
		}
	}
	if block, ok := c.uplinkBlock(now); ok {
		packet = appendRR(packet, c.rtcp.ssrc, block)
		packet = appendSDES(packet, c.rtcp.ssrc)
	}
	if len(packet) == 0 {
		return
	}
	sealed, err := c.rtcp.out.EncryptRTCP(nil, packet, nil)
	if err != nil {
		c.server.log.Error("protect an RTCP report", "error", err)
		return
	}
	_ = c.write(sealed) // counted; the next report says it again
}

// uplinkBlock is the reception report for the uplink, false when nothing came since the last.
func (c *Conn) uplinkBlock(now time.Time) (reportBlock, bool) {
	c.recv.statsMu.Lock()
	block, ok := c.recv.stats.block()
	c.recv.statsMu.Unlock()
	block.fraction = max(block.fraction, uint8(c.rtcp.listenerLoss.Load()))
	if sr := c.rtcp.lastSR.Load(); sr != 0 {
		block.lsr, block.dlsr = uint32(sr>>32), ntpMiddle(now)-uint32(sr)
	}
	return block, ok
}
