package transporttest

import (
	"fmt"
	"net"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// tapped is a socket that shows what it reads.
type tapped struct {
	net.PacketConn
	tap func(datagram []byte)
}

func (t tapped) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := t.PacketConn.ReadFrom(b)
	if err == nil {
		t.tap(b[:n])
	}
	return n, from, err
}

// tap makes a client use one socket, and show what arrives there.
func tap(t testing.TB, settings *webrtc.SettingEngine, f func(datagram []byte)) {
	t.Helper()
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatalf("open a socket: %v", err)
	}
	mux := webrtc.NewICEUDPMux(nil, tapped{socket, f})
	t.Cleanup(func() { _, _ = mux.Close(), socket.Close() })
	settings.SetICEUDPMux(mux)
}

// Forger sends on a client's uplink whatever it likes.
type Forger struct {
	out  webrtc.TrackLocalWriter
	ssrc webrtc.SSRC
	pt   webrtc.PayloadType
	ext  uint8
}

// Forge takes the uplink over from the client's track. The client must be connected.
func (c *Client) Forge() *Forger {
	c.t.Helper()
	f := &Forger{}
	if err := c.sender.ReplaceTrack(forgery{f}); err != nil {
		c.t.Fatalf("replace the track: %v", err)
	}
	return f
}

// Send seals and sends one packet with the uplink's SSRC or, with another other than 0, one
// at that distance. Safe for one goroutine. An error says that the client itself is closed.
func (f *Forger) Send(other uint32, seq uint16, timestamp uint32, level uint8, payload []byte) error {
	h := rtp.Header{Version: 2, PayloadType: uint8(f.pt), SSRC: uint32(f.ssrc) + other, SequenceNumber: seq, Timestamp: timestamp}
	if err := h.SetExtension(f.ext, []byte{level&0x7f | 0x80}); err != nil {
		return fmt.Errorf("set the level: %w", err)
	}
	_, err := f.out.WriteRTP(&h, payload)
	return err
}

// forgery is the track of a Forger.
type forgery struct{ *Forger }

func (f forgery) Bind(ctx webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	codec := ctx.CodecParameters()[0]
	f.out, f.ssrc, f.pt = ctx.WriteStream(), ctx.SSRC(), codec.PayloadType
	for _, e := range ctx.HeaderExtensions() {
		if e.URI == LevelURI {
			f.ext = uint8(e.ID)
		}
	}
	return codec, nil
}

func (forgery) Unbind(webrtc.TrackLocalContext) error { return nil }
func (forgery) ID() string                            { return "forged" }
func (forgery) RID() string                           { return "" }
func (forgery) StreamID() string                      { return "forged" }
func (forgery) Kind() webrtc.RTPCodecType             { return webrtc.RTPCodecTypeAudio }

// Ask asks for packets of a received stream again.
func (c *Client) Ask(ssrc uint32, seqs ...uint16) {
	c.t.Helper()
	nack := &rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(seqs)}
	if err := c.PC.WriteRTCP([]rtcp.Packet{nack}); err != nil {
		c.t.Fatalf("ask for packets again: %v", err)
	}
}
