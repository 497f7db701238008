package transport

import (
	"net/netip"
	"time"

	"github.com/pion/srtp/v3"
)

// Handler is told what happens on one connection.
//
// Connected, Data and Closed are called one after the other, never two at once. RTP and NACK are
// called one at a time too, but on the goroutine that reads the socket: they must not block. Connected
// returns before the first RTP, NACK and Data; nothing is called after
// Closed begins.
type Handler interface {
	// Connected is called once, when media can flow in both directions. What the client sends before
	// it returns is dropped, and counted; the data channel opens after it.
	Connected()
	// RTP is called for each packet of the uplink. A frame whose packet was lost, and came as a copy in
	// a later one, has a call of its own, before that of the later one; should the lost packet still
	// come, it is dropped. The packet and its payload are valid until RTP returns.
	RTP(p *Packet)
	// NACK is called when the client asks for packets of a slot again. seqs, at most MaxNACK of
	// them, is valid until NACK returns.
	NACK(slot int, seqs []uint16)
	// Data is called for each message of the data channel, and by taking its time makes the client wait
	// with the next. What waits when the connection is closed here is dropped. msg is valid until Data
	// returns.
	Data(msg []byte)
	// Closed is called exactly once for every accepted connection, connected or not, with the
	// reason given to Close or the error that ended it. It must not call Server.Close.
	Closed(reason error)
}

// Packet is one RTP packet of an uplink, unprotected, and out of RED if it came in that.
type Packet struct {
	SSRC      uint32
	Sequence  uint16
	Timestamp uint32 // 48 kHz
	Marker    bool   // first packet after a pause (RFC 7587, section 4.2)

	// HasLevel says whether the client asserted a level (RFC 6464). Level is 0 (loudest) to 127
	// (silence) in -dBov, Voice whether the client believes it is speech. A copy has the level of the packet
	// that brought it, one frame away: without one it would look like that of a client that asserts none.
	HasLevel bool
	Level    uint8
	Voice    bool

	Payload []byte    // Opus; padding is removed. Never empty
	Size    int       // bytes of the datagram it came in; 0 for a copy, whose bytes count with the packet that brought it
	Arrival time.Time // when it was read
}

// Slot is one receiving m-line of a client: a virtual microphone it can hear.
type Slot struct {
	Index       int    // 0 to MaxSlots-1, in the order of the m-lines
	MID         string // of the m-line
	SSRC        uint32 // ours, for as long as the connection lives
	PayloadType uint8  // of Opus, as the client numbers it
	LevelExt    uint8  // header extension id of RFC 6464 levels; 0: not negotiated
	RED         uint8  // payload type of RED (RFC 2198), as the client numbers it; 0: not negotiated
	NACK        bool   // the client may ask for packets again
}

// Keys protect RTP to a client. They are secret: they belong into no log.
type Keys struct {
	Profile srtp.ProtectionProfile
	Master  []byte
	Salt    []byte
}

// SenderInfo is what a sender report says of one slot (RFC 3550, section 6.4.1).
type SenderInfo struct {
	Packets, Octets uint32 // sent so far; payload octets only
	RTPTime         uint32 // the media clock at the time of the report
}

// Reporter knows what was sent on each slot. SenderInfo is called on a goroutine of the Server;
// false leaves the slot out of the report, as it must while nothing was sent.
type Reporter interface {
	SenderInfo(slot int, now time.Time) (SenderInfo, bool)
}

// Stats is a snapshot of one connection.
type Stats struct {
	Remote netip.AddrPort // invalid until the first authenticated check

	// Of the uplink (RFC 3550, appendix A).
	Received       uint64 // packets
	Lost           int64  // packets; negative when duplicates outnumber losses
	Jitter         time.Duration
	UplinkFraction float64 // lost in the last report interval, 0 to 1

	// Of the slots, as the client last reported.
	DownlinkFraction float64 // lost, the worst slot, 0 to 1
	RoundTrip        time.Duration
	NACKed           uint64 // packets asked for again
}
