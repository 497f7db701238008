package media

import (
	"slices"
	"time"

	"voiceroom.dev/voiceroom/media/egress"
)

// Shares of packets that a listener loses, from which on each packet carries one earlier frame, or two.
// What was begun goes on until the loss is below the half: reports are of a few packets, and vary.
const (
	someLoss = 0.02
	muchLoss = 0.10
)

// downlink is what becomes of the packets to one listener. It is the keeper's.
type downlink struct {
	sent, asked uint64 // packets, and how many were asked for again, at the last look
	redundancy  int    // earlier frames in each packet to it
}

// loss is the share of packets, 0 to 1, that was lost on the way since the last look. A client that has
// its losses sent again reports those that came after all as received (RFC 3550, appendix A.3), so that what
// it asks for tells more: else nothing would be done for it but to send again what it then hears late.
func (d *downlink) loss(reported float64, sent, asked uint64) float64 {
	newlySent, newlyAsked := sent-d.sent, asked-d.asked
	d.sent, d.asked = sent, asked
	if newlySent == 0 {
		return reported
	}
	return max(reported, min(float64(newlyAsked)/float64(newlySent), 1))
}

// shareLoss makes up for what listeners lose. The talkers are told of it, so that their encoders
// protect what they send: of the 75th percentile, so that a few with bad networks do not cost
// everybody bandwidth. Those few are sent earlier frames too.
func (k *keeper) shareLoss() {
	var losses []float64
	for _, s := range k.sessions {
		if !s.entered || s.out.Len() == 0 {
			continue
		}
		stats := s.conn.Stats()
		loss := s.down.loss(stats.DownlinkFraction, packetsTo(s.out), stats.NACKed)
		losses = append(losses, loss)
		if frames := redundancyFor(loss, s.down.redundancy); frames != s.down.redundancy {
			s.down.redundancy = frames
			k.forwarder.protect(s, frames)
		}
	}
	if len(losses) == 0 {
		return
	}
	p75 := percentile75(losses)
	for _, m := range k.room.View().Mics {
		if s := k.members[m.Member]; s != nil {
			s.conn.SetListenerLoss(p75)
		}
	}
}

// packetsTo is how many packets a listener was sent, on all slots.
func packetsTo(l *egress.Listener) (sent uint64) {
	for i := range l.Len() {
		info, _ := l.SenderInfo(i, time.Time{}) // its clock does not matter here
		sent += uint64(info.Packets)
	}
	return sent
}

// redundancyFor is how many earlier frames packets to a listener are to carry, who has been sent that
// many so far.
func redundancyFor(loss float64, now int) int {
	frames := 0
	for i, from := range []float64{someLoss, muchLoss} {
		if loss >= from || now > i && loss >= from/2 {
			frames = i + 1
		}
	}
	return frames
}

// percentile75 is the nearest rank; it sorts values, of which there is at least one.
func percentile75(values []float64) float64 {
	slices.Sort(values)
	return values[(3*len(values)+3)/4-1]
}
