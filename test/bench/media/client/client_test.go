//go:build linux

package client_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"voiceroom.dev/voiceroom/media/transport"
	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/test/bench/media/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, o client.Options) (c *client.Client, offer []byte) {
	t.Helper()
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	sdp, err := c.Offer()
	if err != nil {
		t.Fatal(err)
	}
	return c, []byte(sdp)
}

// seat is one connection of a media server.
type seat struct {
	packets  chan transport.Packet
	messages chan string
	closed   chan error
}

func (s *seat) Connected()         {}
func (s *seat) NACK(int, []uint16) {}
func (s *seat) Data(msg []byte)    { s.messages <- string(msg) }
func (s *seat) Closed(err error)   { s.closed <- err }

func (s *seat) RTP(p *transport.Packet) {
	q := *p
	q.Payload = append([]byte(nil), p.Payload...)
	s.packets <- q
}

// A client talks to our media server: ICE-lite, one uplink, levels, the data channel.
func TestTalks(t *testing.T) {
	certificate, err := transport.NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	server, err := transport.Listen(transport.Config{Listen: netip.MustParseAddrPort("127.0.0.1:0"), Certificate: certificate})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	c, sdp := newClient(t, client.Options{Uplink: true, Slots: 3, Data: true})
	offer, err := transport.ParseOffer(sdp)
	if err != nil {
		t.Fatal(err)
	}
	s := &seat{make(chan transport.Packet, 8), make(chan string, 8), make(chan error, 1)}
	conn, answer, err := server.Accept(offer, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(t.Context(), string(answer)); err != nil {
		t.Fatal(err)
	}
	if n := len(conn.Slots()); n != 3 {
		t.Errorf("%d slots", n)
	}
	frame := []byte("a frame of twenty bytes")
	for i := range 2 {
		if err := c.Send(frame, 30, i == 0, i == 1); err != nil {
			t.Fatal(err)
		}
	}
	first, second := transporttest.Receive(t, s.packets, "a packet"), transporttest.Receive(t, s.packets, "a packet")
	if first.Level != 30 || !first.Voice || second.Voice || second.Sequence != first.Sequence+1 || second.Timestamp != first.Timestamp+960 {
		t.Errorf("got %+v and %+v", first, second)
	}
	if diff := cmp.Diff(frame, first.Payload); diff != "" {
		t.Error(diff)
	}
	if stamp := second.Payload[1:9]; cmp.Equal(frame[1:9], stamp) || !cmp.Equal(frame[9:], second.Payload[9:]) || second.Payload[0] != frame[0] {
		t.Errorf("a stamped frame is %q", second.Payload)
	}
	if err := conn.Send([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the message", func() bool { return c.Counts().Messages == 1 })
	c.Close()
	if err := transporttest.Receive(t, s.closed, "the end of the connection"); err == nil {
		t.Error("no reason")
	}
}

// A client listens to a PeerConnection, which is no ICE-lite: it counts what comes and what does not, and
// measures how long it took.
func TestListens(t *testing.T) {
	for name, o := range map[string]client.Options{"runs": {Slots: 2}, "single packets": {Slots: 2, NoGRO: true}} {
		t.Run(name, func(t *testing.T) {
			c, offer := newClient(t, o)
			pc, answer := transporttest.Answerer(t, offer, 2)
			connected := make(chan struct{})
			pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
				if s == webrtc.PeerConnectionStateConnected {
					close(connected)
				}
			})
			if err := c.Connect(t.Context(), string(answer)); err != nil {
				t.Fatal(err)
			}
			transporttest.Receive(t, connected, "the connection")
			next := c.Next()
			const packets, lost = 4 * client.SampleEvery, 3
			track := pc.GetSenders()[1].Track().(*webrtc.TrackLocalStaticRTP)
			frame := client.Stamped([]byte(strings.Repeat("x", 60)), time.Now())
			for i := range packets {
				seq := uint16(65500 + i) // it wraps
				if i == packets-1 {
					seq += lost
				}
				if err := track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq}, Payload: frame}); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "all packets", func() bool { return c.Counts().Packets == packets })
			if transporttest.Receive(t, next, "the first packet").IsZero() {
				t.Error("the first packet came at no time")
			}
			got := c.Counts()
			if got.Expected != packets+lost || got.Strange != 0 || got.Bytes < packets*60 {
				t.Errorf("counted %+v", got)
			}
			samples := c.Latencies()
			if len(samples) != packets/client.SampleEvery {
				t.Errorf("%d samples", len(samples))
			}
			for _, d := range samples {
				if d <= 0 || d > transporttest.Patience {
					t.Errorf("a packet took %v", d)
				}
			}
			if got := c.Counts().Since(got); got != (client.Counts{}) {
				t.Errorf("and then came %+v", got)
			}
		})
	}
}

// A client without a connection counts streams that it was told of.
func TestExpects(t *testing.T) {
	c, _ := newClient(t, client.Options{})
	other, _ := newClient(t, client.Options{})
	c.Expect([]uint32{7})
	for _, p := range []rtp.Packet{{Header: rtp.Header{Version: 2, SSRC: 7, SequenceNumber: 1}}, {Header: rtp.Header{Version: 2, SSRC: 8}}} {
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := other.WriteTo(b, c.Addr()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both packets", func() bool { n := c.Counts(); return n.Packets == 1 && n.Strange == 1 })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(transporttest.Patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}
