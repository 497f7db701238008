package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/pion/sctp"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
)

// packetOf is an SCTP packet with these chunks (RFC 9260, section 3).
func packetOf(tag uint32, chunks ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{5000 >> 8, 5000 & 255, 5000 >> 8, 5000 & 255}, tag)
	b = append(b, 0, 0, 0, 0)
	for _, chunk := range chunks {
		b = append(b, chunk...)
	}
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// chunkOf is a chunk that says that it has a length, of which value need not be all.
func chunkOf(kind, flags byte, length int, value ...byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{kind, flags}, uint16(length))
	b = append(b, value...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

// initOf is an INIT chunk with these parameters.
func initOf(parameters ...byte) []byte {
	value := binary.BigEndian.AppendUint32(nil, 7)       // tag
	value = binary.BigEndian.AppendUint32(value, 64<<10) // window
	value = append(value, 0, 16, 0, 16, 0, 0, 0, 1)      // streams, first TSN
	value = append(value, parameters...)
	return chunkOf(1, 0, 4+len(value), value...)
}

// What no association can begin with leaves room for one that can.
func TestHostileSCTPBefore(t *testing.T) {
	s := newServer(t)
	a := newAttacker(t, s)
	a.shake(t)
	for _, b := range [][]byte{
		{0}, []byte("GET / HTTP/1.1\r\n\r\n"), bytes.Repeat([]byte{0xff}, 1200), make([]byte, 8000),
		packetOf(0), packetOf(0, initOf())[:14], packetOf(0, chunkOf(1, 0, 4)), packetOf(0, chunkOf(1, 0, 0xffff, 1, 2, 3, 4)),
		packetOf(0, chunkOf(1, 0, 3)), packetOf(0, initOf(0x80, 8, 0, 3)), packetOf(0, initOf(0x80, 8, 0xff, 0xff)), packetOf(9, initOf()),
		packetOf(0, initOf(), initOf()), packetOf(0, chunkOf(0, 3, 17, make([]byte, 13)...)), packetOf(0, chunkOf(10, 0, 4)),
		packetOf(0, chunkOf(11, 0, 4)), packetOf(0, chunkOf(3, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)),
		packetOf(0, chunkOf(130, 0, 8, 0, 13, 0, 0)), packetOf(0, chunkOf(192, 0, 8, 0, 0, 0, 1)), packetOf(0, chunkOf(255, 255, 4)),
	} {
		if _, err := a.dtls.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	a.write(t, a.open(t, DataChannelLabel), "hello")
	a.speak(t, 1)
}

// Whatever a client opens in place of a data channel, its connection is all that can end.
func TestHostileChannels(t *testing.T) {
	s := newServer(t)
	bystander := newAttacker(t, s)
	bystander.shake(t)
	channel := bystander.open(t, DataChannelLabel)
	for name, message := range map[string]struct {
		kind sctp.PayloadProtocolIdentifier
		b    []byte
	}{
		"text first":          {sctp.PayloadTypeWebRTCString, []byte("{}")},
		"nothing":             {sctp.PayloadTypeWebRTCDCEP, []byte{0}},
		"an unknown message":  {sctp.PayloadTypeWebRTCDCEP, []byte{99, 1, 2, 3}},
		"an open, truncated":  {sctp.PayloadTypeWebRTCDCEP, []byte{3, 0, 0}},
		"a label that is not": {sctp.PayloadTypeWebRTCDCEP, []byte{3, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 'r'}},
		"a giant":             {sctp.PayloadTypeWebRTCDCEP, bytes.Repeat([]byte{3}, 60_000)},
		"an acknowledgement":  {sctp.PayloadTypeWebRTCDCEP, []byte{2}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAttacker(t, s)
			a.shake(t)
			stream, err := a.associate(t).OpenStream(1, sctp.PayloadTypeWebRTCBinary)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.WriteSCTP(message.b, message.kind); err != nil {
				t.Fatal(err)
			}
			if err := transporttest.Receive(t, a.handler.closed, "Closed"); !errors.Is(err, ErrPeerClosed) && !errors.Is(err, ErrProtocol) {
				t.Errorf("closed with %v", err)
			}
			bystander.write(t, channel, name)
		})
	}
	bystander.speak(t, 1)
}
