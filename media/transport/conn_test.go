package transport

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
)

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// recorder is a Handler that queues what it hears.
type recorder struct {
	connected chan struct{}
	packets   chan Packet
	nacks     chan []uint16
	messages  chan string
	closed    chan error
}

func newRecorder() *recorder {
	return &recorder{
		connected: make(chan struct{}, 1),
		packets:   make(chan Packet, 4096),
		nacks:     make(chan []uint16, 64),
		messages:  make(chan string, 64),
		closed:    make(chan error, 2),
	}
}

func (r *recorder) Connected() { r.connected <- struct{}{} }
func (r *recorder) RTP(p *Packet) {
	q := *p
	q.Payload = append([]byte(nil), p.Payload...)
	r.packets <- q
}
func (r *recorder) NACK(_ int, seqs []uint16) { r.nacks <- append([]uint16(nil), seqs...) }
func (r *recorder) Data(msg []byte)           { r.messages <- string(msg) }
func (r *recorder) Closed(reason error)       { r.closed <- reason }

func newServer(t testing.TB) *Server {
	t.Helper()
	return newServerOn(t, Config{Listen: loopback})
}

// newServerOn completes cfg with what a test does not care for.
func newServerOn(t testing.TB, cfg Config) *Server {
	t.Helper()
	certificate, err := NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Certificate = certificate
	if cfg.Listen.Addr().IsUnspecified() {
		cfg.Advertise = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:40000")}
	}
	s, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// join accepts a client without waiting for it to connect.
func join(t testing.TB, s *Server, client *transporttest.Client) (*Conn, *recorder) {
	t.Helper()
	c, h, answer := accept(t, s, client)
	client.Answer(answer)
	return c, h
}

// accept answers a client's offer but does not tell the client.
func accept(t testing.TB, s *Server, client *transporttest.Client) (*Conn, *recorder, []byte) {
	t.Helper()
	offer, err := ParseOffer(client.Offer())
	if err != nil {
		t.Fatalf("parse the offer: %v", err)
	}
	h := newRecorder()
	c, answer, err := s.Accept(offer, h)
	if err != nil {
		t.Fatalf("accept: %v", err)
	}
	return c, h, answer
}

func TestSession(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options transporttest.Options
		profile srtp.ProtectionProfile
	}{
		{"AES-GCM", transporttest.Options{Uplink: true, Slots: 2, Data: true}, srtp.ProtectionProfileAeadAes128Gcm},
		{"AES-CM", transporttest.Options{Uplink: true, Slots: 2, Data: true, Profile: dtls.SRTP_AES128_CM_HMAC_SHA1_80},
			srtp.ProtectionProfileAes128CmHmacSha1_80},
		{"ICE-TCP", transporttest.Options{Uplink: true, Slots: 2, Data: true, TCP: true}, srtp.ProtectionProfileAeadAes128Gcm},
		{"sendrecv", transporttest.Options{Both: true, Data: true}, srtp.ProtectionProfileAeadAes128Gcm},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newServer(t)
			client := transporttest.New(t, tc.options)
			c, h := join(t, s, client)
			if err := c.Send([]byte("snapshot")); err != nil {
				t.Fatalf("send before the channel is open: %v", err)
			}
			transporttest.Receive(t, h.connected, "the connection")
			transporttest.Receive(t, client.Connected, "the client's connection")
			keys, err := c.SendKeys()
			if err != nil || keys.Profile != tc.profile {
				t.Errorf("keys of profile %v, %v; want %v", keys.Profile, err, tc.profile)
			}

			if got := transporttest.Receive(t, client.Messages, "the first message"); got != "snapshot" {
				t.Errorf("the client got %q", got)
			}
			transporttest.Receive(t, client.Opened, "the open channel")
			if err := client.Channel.SendText(`{"take":1}`); err != nil {
				t.Fatal(err)
			}
			if got := transporttest.Receive(t, h.messages, "the client's message"); got != `{"take":1}` {
				t.Errorf("the server got %q", got)
			}

			client.Send(65535, 4_000_000_000, 23, []byte("opus one"))
			client.Send(0, 4_000_000_960, -1, []byte("opus two"))
			for _, want := range []Packet{
				{Sequence: 65535, Timestamp: 4_000_000_000, HasLevel: true, Level: 23, Voice: true, Payload: []byte("opus one")},
				{Sequence: 0, Timestamp: 4_000_000_960, Payload: []byte("opus two")},
			} {
				got := transporttest.Receive(t, h.packets, "an uplink packet")
				if got.Size <= len(got.Payload) || got.Arrival.IsZero() || got.SSRC == 0 {
					t.Errorf("packet without size, arrival or SSRC: %+v", got)
				}
				got.Size, got.Arrival, got.SSRC = 0, time.Time{}, 0
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("packet (-want +got):\n%s", diff)
				}
			}

			c.Close(errors.New("kicked"))
			if err := transporttest.Receive(t, h.closed, "Closed"); err == nil || err.Error() != "kicked" {
				t.Errorf("closed with %v", err)
			}
			transporttest.Receive(t, client.Ended, "the client's end")
			assertEmpty(t, s)
		})
	}
}

// assertEmpty fails if the server keeps anything of connections that ended.
func assertEmpty(t *testing.T, s *Server) {
	t.Helper()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.conns)+len(s.ufrags)+len(s.flows) > 0 {
		t.Errorf("left behind: %d connections, %d ufrags, %d flows", len(s.conns), len(s.ufrags), len(s.flows))
	}
}

func TestClientCloses(t *testing.T) {
	for _, data := range []bool{true, false} {
		s := newServer(t)
		client := transporttest.New(t, transporttest.Options{Slots: 1, Data: data})
		_, h := join(t, s, client)
		transporttest.Receive(t, h.connected, "the connection")
		transporttest.Receive(t, client.Connected, "the client's connection")
		if err := client.PC.Close(); err != nil {
			t.Fatal(err)
		}
		if err := transporttest.Receive(t, h.closed, "Closed"); !errors.Is(err, ErrPeerClosed) {
			t.Errorf("data channel %v: closed with %v", data, err)
		}
		assertEmpty(t, s)
	}
}

func TestFingerprintMismatch(t *testing.T) {
	s := newServer(t)
	client := transporttest.New(t, transporttest.Options{Uplink: true, Data: true})
	offer, err := ParseOffer(client.Offer())
	if err != nil {
		t.Fatal(err)
	}
	offer.fingerprint[0] ^= 1
	h := newRecorder()
	c, answer, err := s.Accept(offer, h)
	if err != nil {
		t.Fatal(err)
	}
	client.Answer(answer)
	if err := transporttest.Receive(t, h.closed, "Closed"); !errors.Is(err, ErrFingerprint) {
		t.Errorf("closed with %v", err)
	}
	select {
	case <-h.connected:
		t.Error("Connected was called")
	default:
	}
	if _, err := c.SendKeys(); !errors.Is(err, ErrNotConnected) {
		t.Errorf("keys exist: %v", err)
	}
	if n := s.counters.FingerprintMismatch.Load(); n != 1 {
		t.Errorf("%d mismatches counted", n)
	}
	assertEmpty(t, s)
}

func TestRestart(t *testing.T) {
	s := newServer(t)
	client := transporttest.New(t, transporttest.Options{Uplink: true, Slots: 1, Data: true})
	c, h := join(t, s, client)
	transporttest.Receive(t, h.connected, "the connection")
	transporttest.Receive(t, client.Opened, "the open channel")

	offer, err := ParseOffer(client.RestartOffer())
	if err != nil {
		t.Fatal(err)
	}
	other := *offer
	other.fingerprint[0] ^= 1
	if _, err := c.Restart(&other); !errors.Is(err, ErrRestartChanged) {
		t.Errorf("restart with another certificate: %v", err)
	}
	before := c.ice.current
	answer, err := c.Restart(offer)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(answer), " 2 IN IP4") {
		t.Errorf("the session version did not grow:\n%s", answer)
	}
	client.Answer(answer)
	if err := c.Send([]byte("after")); err != nil {
		t.Fatal(err)
	}
	if got := transporttest.Receive(t, client.Messages, "a message after the restart"); got != "after" {
		t.Errorf("got %q", got)
	}
	// The client has no pair to send on before a check with the new credentials has passed, and with
	// that the old ones go.
	if err := client.Channel.SendText("back"); err != nil {
		t.Fatal(err)
	}
	if got := transporttest.Receive(t, h.messages, "the client's message after the restart"); got != "back" {
		t.Errorf("got %q", got)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.ufrags[before.ufrag] != nil || s.ufrags[c.ice.current.ufrag] == nil {
		t.Error("the credentials from before the restart are still good")
	}
}

func TestExpiry(t *testing.T) {
	s := newServer(t)
	c, h, _ := accept(t, s, transporttest.New(t, transporttest.Options{Uplink: true}))
	s.expire(c.created.Add(defaultAssociateTimeout - 1))
	if err := c.Err(); err != nil {
		t.Fatalf("ended early: %v", err)
	}
	s.expire(c.created.Add(defaultAssociateTimeout))
	if err := transporttest.Receive(t, h.closed, "Closed"); !errors.Is(err, ErrTimeout) {
		t.Errorf("closed with %v", err)
	}
	assertEmpty(t, s)

	client := transporttest.New(t, transporttest.Options{Uplink: true})
	c, h = join(t, s, client)
	transporttest.Receive(t, h.connected, "the connection")
	s.expire(time.Now().Add(defaultConsentTimeout + time.Minute))
	if err := transporttest.Receive(t, h.closed, "Closed"); !errors.Is(err, ErrLost) {
		t.Errorf("closed with %v", err)
	}
	if s.counters.TimedOut.Load() != 1 || s.counters.Lost.Load() != 1 {
		t.Error("time-outs are not counted")
	}
	assertEmpty(t, s)
	if err := c.write([]byte("late")); !errors.Is(err, ErrClosed) {
		t.Errorf("write after the end: %v", err)
	}
}

func TestServerClose(t *testing.T) {
	s := newServer(t)
	client := transporttest.New(t, transporttest.Options{Uplink: true, Data: true})
	_, h := join(t, s, client)
	waiting, h2, _ := accept(t, s, transporttest.New(t, transporttest.Options{Uplink: true}))
	transporttest.Receive(t, h.connected, "the connection")
	s.Close()
	for _, r := range []*recorder{h, h2} {
		select {
		case err := <-r.closed:
			if !errors.Is(err, ErrServerClosed) {
				t.Errorf("closed with %v", err)
			}
		default:
			t.Error("Server.Close returned before Handler.Closed")
		}
	}
	if _, _, err := s.Accept(waiting.offer, h2); !errors.Is(err, ErrServerClosed) {
		t.Errorf("accept after Close: %v", err)
	}
}

func TestBacklog(t *testing.T) {
	s := newServer(t)
	c, _, _ := accept(t, s, transporttest.New(t, transporttest.Options{Uplink: true, Data: true}))
	msg := make([]byte, 32<<10)
	var err error
	sent := 0
	for ; err == nil && sent < 1000; sent++ {
		err = c.Send(msg)
	}
	if !errors.Is(err, ErrBacklog) {
		t.Fatalf("after %d messages: %v", sent, err)
	}
	if n := c.Buffered(); n > maxBacklog {
		t.Errorf("%d bytes are buffered", n)
	}
	if err := c.Send(make([]byte, maxBacklog+1)); !errors.Is(err, ErrMessageTooLarge) {
		t.Errorf("an oversized message: %v", err)
	}

	c, _, _ = accept(t, s, transporttest.New(t, transporttest.Options{Uplink: true}))
	if err := c.Send(msg); !errors.Is(err, ErrNoDataChannel) {
		t.Errorf("send without a channel: %v", err)
	}
}
