package transport

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/sctp"
	"github.com/pion/stun/v4"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
)

// Seeds are in testdata/fuzz too, by the name of what they are of.

// Checks with any attributes: none gets in without the password, and with it only a Binding request does.
func FuzzBinding(f *testing.F) {
	s := newServer(f)
	f.Add([]byte{0, 0x25, 0, 0}, true)
	f.Fuzz(func(t *testing.T, attributes []byte, signed bool) {
		if len(attributes) > 1000 {
			return
		}
		c := newSealed(t, s)
		defer c.Close(ErrPeerClosed)
		m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(c.ice.current.ufrag+":"+c.ice.current.remote))
		if err != nil {
			t.Fatal(err)
		}
		b := append(bytes.Clone(m.Raw), attributes...)
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20))
		if signed {
			m = &stun.Message{Raw: b}
			if m.Decode() != nil {
				return
			}
			if err := stun.NewShortTermIntegrity(c.ice.current.pwd).AddTo(m); err != nil {
				return
			}
			b = m.Raw
		}
		stranger := flow{addr: netip.MustParseAddrPort("127.0.0.1:8"), udp: s.sockets[0]}
		c.rd.datagram(b, stranger, time.Now())
		if c.Remote().IsValid() && !signed {
			t.Error("a check without the password passed")
		}
	})
}

// A stream is frames, however it is cut into segments, up to the first one that is too large.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 3, 'a', 'b', 'c', 0, 0, 0, 1, 'd'})
	f.Fuzz(func(t *testing.T, stream []byte) {
		whole, bytewise := bufio.NewReader(bytes.NewReader(stream)), bufio.NewReader(iotest.OneByteReader(bytes.NewReader(stream)))
		buf, other := make([]byte, maxDatagram), make([]byte, maxDatagram)
		for rest := stream; ; {
			frame, err := readFrame(whole, buf)
			again, failed := readFrame(bytewise, other)
			if (err == nil) != (failed == nil) {
				t.Fatalf("in segments: %v, whole: %v", failed, err)
			}
			if err != nil {
				return
			}
			size := int(binary.BigEndian.Uint16(rest))
			if !bytes.Equal(frame, again) || !bytes.Equal(frame, rest[frameHead:frameHead+size]) {
				t.Fatalf("frames %x and %x of %x", frame, again, rest)
			}
			rest = rest[frameHead+size:]
		}
	})
}

// What is handed on of an RTP packet of Opus is what pion's parser says is in it.
func FuzzRTP(f *testing.F) {
	s := newServer(f)
	rd := s.newReader() // keeps what it has read, as that of a socket does
	f.Add(rtpOf(0x80, 111, 1, voice, 'o', 'p', 'u', 's'))
	f.Fuzz(func(t *testing.T, plain []byte) {
		if len(plain) < 2 || len(plain) > maxDatagram-64 || plain[0]>>6 != 2 || plain[1]&0x7f != 111 {
			return
		}
		c := newSealed(t, s)
		defer c.Close(ErrPeerClosed)
		b := c.seal(plain)
		if b == nil {
			return
		}
		rd.datagram(b, c.from, time.Now())
		var want rtp.Packet
		valid := want.Unmarshal(plain) == nil && len(want.Payload) > 0
		select {
		case got := <-c.handler.packets:
			level := want.GetExtension(1)
			if !valid || !bytes.Equal(got.Payload, want.Payload) || got.SSRC != want.SSRC || got.Sequence != want.SequenceNumber ||
				got.HasLevel != (len(level) == 1) {
				t.Errorf("handed on: %+v, want %v", got, want)
			}
		default:
			encrypted := want.ExtensionProfile == rtp.CryptexProfileOneByte || want.ExtensionProfile == rtp.CryptexProfileTwoByte // RFC 9335: not here
			if valid && !encrypted {
				t.Errorf("nothing was handed on of %v", want)
			}
		}
	})
}

// Whatever records come in place of those of a handshake, or after them, the connection ends when it is closed.
func FuzzHandshake(f *testing.F) {
	s := newServer(f)
	first, err := os.ReadFile("testdata/hello.dtls") // of pion's client
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record(22, 0, 0, clientHello()), false)
	f.Fuzz(func(t *testing.T, b []byte, hello bool) {
		c := newSealed(t, s)
		c.recv.stop()
		check := request(c.ice.current, c.ice.current.pwd, useCandidate())
		c.rd.datagram(check, c.from, time.Now())
		if hello {
			c.rd.datagram(first, c.from, time.Now())
		}
		for _, datagram := range bytes.SplitAfter(b, []byte("\xff\x00\xff")) { // never in a header
			c.rd.datagram(datagram, c.from, time.Now())
		}
		for c.dtls.in.Count() > 0 && !c.closed.Load() {
			runtime.Gosched()
		}
		c.Close(ErrPeerClosed)
		transporttest.Receive(t, c.handler.closed, "Closed")
	})
}

// tagged is a DTLS connection that knows the tag which the server wants in SCTP packets.
type tagged struct {
	net.Conn
	tag atomic.Uint32
}

func (c *tagged) Write(b []byte) (int, error) {
	if len(b) >= 12 {
		c.tag.Store(binary.BigEndian.Uint32(b[4:]))
	}
	return c.Conn.Write(b)
}

// The stages of a data channel at which a client may go astray.
const (
	notAssociated = iota // a packet as it is
	initiates            // chunks in the first packet
	associated           // chunks, then
	opens                // a message on a stream, as of a channel that is opened
	sends                // a message on the channel
	stages
)

// A client shakes hands, and then sends SCTP that is none, or a data channel that is none: its connection is all
// that can end.
func FuzzSCTP(f *testing.F) {
	s := newServer(f)
	f.Add(byte(notAssociated), packetOf(0, initOf()))
	f.Fuzz(func(t *testing.T, stage byte, b []byte) {
		if len(b) > 1100 {
			return
		}
		a := newAttacker(t, s)
		a.shake(t)
		switch stage % stages {
		case notAssociated:
			_, _ = a.dtls.Write(b)
		case initiates:
			_, _ = a.dtls.Write(packetOf(0, b))
		case associated:
			conn := &tagged{Conn: a.dtls}
			association, err := sctp.ClientWithOptions(sctp.WithNetConn(conn), sctp.WithLoggerFactory(quiet))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = association.Close() }()
			_, _ = a.dtls.Write(packetOf(conn.tag.Load(), b))
		case opens:
			stream, err := a.associate(t).OpenStream(1, sctp.PayloadTypeWebRTCDCEP)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = stream.Write(b)
		case sends:
			a.write(t, a.open(t, DataChannelLabel), string(b))
		}
		_ = a.dtls.Close() // says close_notify, after all that
		transporttest.Receive(t, a.handler.closed, "Closed")
	})
}
