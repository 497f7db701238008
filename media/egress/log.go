package egress

import "voiceroom.dev/voiceroom/media/transport"

const (
	// logSize is how many packets of a stream are kept for those who have not been served: more than
	// come in between two ticks, even after a network was away for a moment.
	logSize = 32
	// maxPayload is the largest Opus payload that is forwarded, in bytes. It leaves room for our headers
	// and tag on a path of 1280 bytes, the least that IPv6 allows.
	maxPayload = 1200 - 4*(MaxMembers-1)
	// MaxMembers is how many members one packet can carry the sound of (RFC 3550, section 5.1).
	MaxMembers = 15
)

// Log keeps the last packets of one stream of sound, once for all who hear it: of a talker, or of what
// was mixed of several. Each slot that plays it reads at its own pace. It is written and read under the
// forwarding context. The zero value is empty and ready.
type Log struct {
	head    uint32 // packets ever written
	first   uint32 // of them that later ones may carry once more
	packets [logSize]logged
}

// logged is a packet whose payload lies in buf.
type logged struct {
	transport.Packet
	buf     [maxPayload]byte
	count   int // of members
	members [MaxMembers]uint32
}

// Append takes a copy of p, in which the members are heard; of more than MaxMembers, the first. It is
// false, and nothing was taken, when the payload is too large to be forwarded.
func (l *Log) Append(p *transport.Packet, members ...uint32) bool {
	if len(p.Payload) > maxPayload {
		return false
	}
	k := l.at(l.head)
	k.Packet = *p
	k.Payload = k.buf[:copy(k.buf[:], p.Payload)]
	k.count = copy(k.members[:], members)
	l.head++
	return true
}

// Forget keeps what was written so far from being carried once more by what is written from here on. What was not sent
// of it yet is the listeners' to skip.
func (l *Log) Forget() { l.first = l.head }

// at is the packet with that number, from the first one on, if it is not older than logSize.
func (l *Log) at(n uint32) *logged { return &l.packets[n%logSize] }

// before returns the packet that the talker sent back packets before the one with that number, nil if
// it is not there.
func (l *Log) before(n, back uint32) *logged {
	if back >= logSize || l.head-n+back > logSize || n < l.first+back {
		return nil
	}
	k, earlier := l.at(n), l.at(n-back)
	if earlier.SSRC != k.SSRC || k.Sequence-earlier.Sequence != uint16(back) {
		return nil
	}
	return earlier
}
