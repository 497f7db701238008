package transport

import (
	"encoding/binary"
	"errors"
	"time"
)

// MaxNACK is how many packets one RTCP datagram can ask for again; more are ignored.
const MaxNACK = 64

const (
	rtcpHead     = 4
	blockSize    = 24
	maxBlocks    = 2 * MaxSlots
	typeSR       = 200
	typeRR       = 201
	typeSDES     = 202
	typeRTPFB    = 205
	formatNACK   = 1
	senderInfo   = 20
	sdesCNAME    = 1
	cname        = "room"
	ntpEpochDiff = 2_208_988_800 // seconds from 1900 to 1970
)

var errMalformedRTCP = errors.New("malformed RTCP")

// reportBlock is a reception report (RFC 3550, section 6.4.1).
type reportBlock struct {
	ssrc     uint32
	fraction uint8 // lost in the last interval, of 256
	lost     int32 // in all, 24 bits
	highest  uint32
	jitter   uint32 // clock units
	lsr      uint32 // middle 32 bits of the last SR's NTP time
	dlsr     uint32 // since it was received, in 1/65536 s
}

type nack struct {
	ssrc uint32
	seq  uint16
}

// compound is what matters of an RTCP datagram; its slices are bounded by what they can hold.
type compound struct {
	sender     uint32 // of a sender report, if senderNTP is not 0
	senderNTP  uint32 // middle 32 bits
	blocks     [maxBlocks]reportBlock
	blockCount int
	nacks      [MaxNACK]nack
	nackCount  int
}

// parse reads a compound or reduced-size packet (RFC 5506). Packet types of no use here, picture
// loss indications among them, are skipped.
func (c *compound) parse(b []byte) error {
	c.senderNTP, c.blockCount, c.nackCount = 0, 0, 0
	for len(b) > 0 {
		if len(b) < rtcpHead || b[0]>>6 != 2 {
			return errMalformedRTCP
		}
		size := rtcpHead + 4*int(binary.BigEndian.Uint16(b[2:]))
		if size > len(b) {
			return errMalformedRTCP
		}
		count, body := int(b[0]&31), b[rtcpHead:size]
		if b[0]&0x20 != 0 {
			var ok bool
			if body, ok = unpad(body, true); !ok {
				return errMalformedRTCP
			}
		}
		var err error
		switch b[1] {
		case typeSR:
			err = c.parseSR(body, count)
		case typeRR:
			err = c.parseBlocks(body, 4, count)
		case typeRTPFB:
			if count == formatNACK {
				err = c.parseNACK(body)
			}
		}
		if err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

func (c *compound) parseSR(body []byte, count int) error {
	if len(body) < 4+senderInfo {
		return errMalformedRTCP
	}
	c.sender = binary.BigEndian.Uint32(body)
	c.senderNTP = binary.BigEndian.Uint32(body[6:])
	return c.parseBlocks(body, 4+senderInfo, count)
}

func (c *compound) parseBlocks(body []byte, skip, count int) error {
	if len(body) < skip+count*blockSize {
		return errMalformedRTCP
	}
	body = body[skip:]
	for ; count > 0 && c.blockCount < maxBlocks; count-- {
		c.blocks[c.blockCount] = reportBlock{
			ssrc:     binary.BigEndian.Uint32(body),
			fraction: body[4],
			lost:     int32(binary.BigEndian.Uint32(body[4:])<<8) >> 8,
			highest:  binary.BigEndian.Uint32(body[8:]),
			jitter:   binary.BigEndian.Uint32(body[12:]),
			lsr:      binary.BigEndian.Uint32(body[16:]),
			dlsr:     binary.BigEndian.Uint32(body[20:]),
		}
		c.blockCount++
		body = body[blockSize:]
	}
	return nil
}

// parseNACK reads a generic NACK (RFC 4585, section 6.2.1).
func (c *compound) parseNACK(body []byte) error {
	if len(body) < 8 || len(body)%4 != 0 {
		return errMalformedRTCP
	}
	ssrc := binary.BigEndian.Uint32(body[4:])
	for body = body[8:]; len(body) > 0; body = body[4:] {
		first, mask := binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])
		c.addNACK(nack{ssrc, first})
		for i := uint16(1); mask != 0; i, mask = i+1, mask>>1 {
			if mask&1 != 0 {
				c.addNACK(nack{ssrc, first + i})
			}
		}
	}
	return nil
}

func (c *compound) addNACK(n nack) {
	if c.nackCount < MaxNACK {
		c.nacks[c.nackCount] = n
		c.nackCount++
	}
}

// appendSR appends a sender report without report blocks.
func appendSR(b []byte, ssrc uint32, now time.Time, info SenderInfo) []byte {
	b = append(b, 2<<6, typeSR, 0, (4+senderInfo)/4)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = binary.BigEndian.AppendUint64(b, ntpTime(now))
	b = binary.BigEndian.AppendUint32(b, info.RTPTime)
	b = binary.BigEndian.AppendUint32(b, info.Packets)
	return binary.BigEndian.AppendUint32(b, info.Octets)
}

// appendRR appends a receiver report with one block.
func appendRR(b []byte, ssrc uint32, r reportBlock) []byte {
	b = append(b, 2<<6|1, typeRR, 0, (4+blockSize)/4)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = binary.BigEndian.AppendUint32(b, r.ssrc)
	b = binary.BigEndian.AppendUint32(b, uint32(r.fraction)<<24|uint32(r.lost)&0xffffff)
	b = binary.BigEndian.AppendUint32(b, r.highest)
	b = binary.BigEndian.AppendUint32(b, r.jitter)
	b = binary.BigEndian.AppendUint32(b, r.lsr)
	return binary.BigEndian.AppendUint32(b, r.dlsr)
}

// appendSDES appends the CNAME that every compound packet must carry (RFC 3550, section 6.1).
func appendSDES(b []byte, ssrc uint32) []byte {
	const chunk = 4 + 2 + len(cname) + 2 // SSRC, item, and zeroes that end it on a word
	b = append(b, 2<<6|1, typeSDES, 0, byte(chunk/4))
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = append(b, sdesCNAME, byte(len(cname)))
	b = append(b, cname...)
	return append(b, 0, 0)
}

// ntpTime is t as 32.32 fixed-point seconds since 1900.
func ntpTime(t time.Time) uint64 {
	return uint64(t.Unix()+ntpEpochDiff)<<32 | uint64(t.Nanosecond())<<32/1e9
}

// ntpMiddle is the part of ntpTime that reports echo: 16.16 fixed-point seconds.
func ntpMiddle(t time.Time) uint32 { return uint32(ntpTime(t) >> 16) }
