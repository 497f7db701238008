package transport

import "time"

const (
	clockRate     = 48_000 // of Opus, always (RFC 7587, section 4.1)
	maxSeqDropout = 3000   // RFC 3550, appendix A.1
)

// uplinkStats counts one RTP source as RFC 3550, appendices A.1, A.3 and A.8, do. A new SSRC or a
// jump of the sequence starts it afresh.
type uplinkStats struct {
	ssrc     uint32
	started  bool
	base     uint32 // first extended sequence number
	highest  uint32 // highest extended sequence number
	received uint32 // since base

	// Of the source before a fresh start.
	pastReceived uint64
	pastLost     int64

	transit int64 // of the last packet, in clock units
	jitter  int64 // in clock units, times 16
	epoch   time.Time

	// As of the last report.
	reportedExpected, reportedReceived uint32
	fraction                           uint8 // lost in the interval before it, of 256
}

func (u *uplinkStats) add(ssrc uint32, seq uint16, timestamp uint32, now time.Time) {
	delta := int16(seq - uint16(u.highest))
	if !u.started || ssrc != u.ssrc || delta > maxSeqDropout || delta < -maxSeqDropout {
		u.restart(ssrc, seq, now)
		delta = 0
	}
	if delta > 0 {
		u.highest += uint32(delta)
	}
	u.received++

	transit := now.Sub(u.epoch).Microseconds()*clockRate/1e6 - int64(timestamp)
	if u.received > 1 {
		d := int64(int32(transit - u.transit)) // timestamps wrap at 32 bits
		if d < 0 {
			d = -d
		}
		u.jitter += d - (u.jitter+8)>>4
	}
	u.transit = transit
}

func (u *uplinkStats) restart(ssrc uint32, seq uint16, now time.Time) {
	*u = uplinkStats{
		ssrc:         ssrc,
		started:      true,
		base:         uint32(seq) + 1<<16, // so that packets before the first do not wrap below 0
		highest:      uint32(seq) + 1<<16,
		pastReceived: u.pastReceived + uint64(u.received),
		pastLost:     u.pastLost + u.lost(),
		epoch:        now,
	}
}

func (u *uplinkStats) expected() uint32 {
	if !u.started {
		return 0
	}
	return u.highest - u.base + 1
}

func (u *uplinkStats) lost() int64 { return int64(u.expected()) - int64(u.received) }

// block ends a report interval. It is false when nothing came in it.
func (u *uplinkStats) block() (reportBlock, bool) {
	expected := u.expected()
	interval, got := expected-u.reportedExpected, u.received-u.reportedReceived
	u.reportedExpected, u.reportedReceived = expected, u.received
	if got == 0 {
		return reportBlock{}, false
	}
	u.fraction = 0
	if interval > got {
		u.fraction = uint8((uint64(interval-got) << 8) / uint64(interval))
	}
	return reportBlock{
		ssrc:     u.ssrc,
		fraction: u.fraction,
		lost:     int32(min(max(u.lost(), -1<<23), 1<<23-1)),
		highest:  u.highest - 1<<16,
		jitter:   uint32(u.jitter >> 4),
	}, true
}
