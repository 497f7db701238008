package transport

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"
)

// sealed is a connection that is fed datagrams directly, and the client's side of its keys.
type sealed struct {
	*Conn
	handler *recorder
	rd      *reader
	from    flow
	out     *srtp.Context
}

// newSealed accepts a client with an uplink of payload type 111 and level extension 1; more are further
// lines of its offer.
func newSealed(t testing.TB, s *Server, more ...string) *sealed {
	t.Helper()
	more = append([]string{"a=extmap:1 " + levelURI + "\r\n", "a=rtcp-fb:111 nack\r\n"}, more...)
	offer, err := ParseOffer([]byte(redAudio.Replace(offerOf(audio("0", "sendrecv", more...)))))
	if err != nil {
		t.Fatal(err)
	}
	h := newRecorder()
	c, _, err := s.Accept(offer, h)
	if err != nil {
		t.Fatal(err)
	}
	context := func() *srtp.Context {
		ctx, err := srtp.CreateContext([]byte("0123456789abcdef"), []byte("salt of 12 b"), srtp.ProtectionProfileAeadAes128Gcm,
			srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(replayWindow))
		if err != nil {
			t.Fatal(err)
		}
		return ctx
	}
	c.recv.setContext(context())
	c.recv.start()
	from := flow{addr: netip.MustParseAddrPort("127.0.0.1:9"), udp: s.sockets[0]}
	s.mu.Lock()
	s.flows[from.key()] = c
	c.ice.flows = append(c.ice.flows, from)
	s.mu.Unlock()
	return &sealed{Conn: c, handler: h, rd: s.newReader(), from: from, out: context()}
}

// seal protects a packet as the client would, and is nil for what is no packet.
func (c *sealed) seal(plain []byte) []byte {
	var b []byte
	var err error
	if len(plain) > 1 && plain[1] >= 192 && plain[1] <= 223 {
		b, err = c.out.EncryptRTCP(nil, plain, nil)
	} else {
		b, err = c.out.EncryptRTP(nil, plain, nil)
	}
	if err != nil {
		return nil
	}
	return b
}

func (c *sealed) rtp(t testing.TB, change func(p *rtp.Packet)) []byte {
	t.Helper()
	p := &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 111, SSRC: 5, SequenceNumber: 1}, Payload: []byte("opus")}
	change(p)
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReceive(t *testing.T) {
	s := newServer(t)
	for name, tc := range map[string]struct {
		change func(p *rtp.Packet)
		want   string // payload
		level  int    // -1: none
		count  func() uint64
	}{
		"plain":     {func(*rtp.Packet) {}, "opus", -1, nil},
		"level":     {func(p *rtp.Packet) { _ = p.SetExtension(1, []byte{0x85}) }, "opus", 5, nil},
		"long one":  {func(p *rtp.Packet) { _ = p.SetExtension(1, []byte{5, 5}) }, "opus", -1, nil},
		"other id":  {func(p *rtp.Packet) { _ = p.SetExtension(2, []byte{5}) }, "opus", -1, nil},
		"CSRCs":     {func(p *rtp.Packet) { p.CSRC = []uint32{1, 2, 3} }, "opus", -1, nil},
		"padding":   {func(p *rtp.Packet) { p.Padding, p.PaddingSize = true, 7 }, "opus", -1, nil},
		"all of it": {func(p *rtp.Packet) { p.Padding, p.PaddingSize, p.Payload = true, 255, nil }, "", -1, nil},
		"too much":  {func(p *rtp.Packet) { p.Padding, p.PaddingSize = true, 1 }, "", -1, s.counters.DroppedMalformed.Load},
		"none":      {func(p *rtp.Packet) { p.Payload = nil }, "", -1, nil},
		"not Opus":  {func(p *rtp.Packet) { p.PayloadType = 63 }, "", -1, s.counters.DroppedUnexpected.Load},
	} {
		t.Run(name, func(t *testing.T) {
			c := newSealed(t, s)
			var before uint64
			if tc.count != nil {
				before = tc.count()
			}
			plain := c.rtp(t, tc.change)
			if name == "too much" { // the last byte claims more than there is
				plain = append(plain[:len(plain)-1], 255)
			}
			c.rd.datagram(c.seal(plain), c.from, time.Now())
			select {
			case p := <-c.handler.packets:
				level := -1
				if p.HasLevel {
					level = int(p.Level)
				}
				if string(p.Payload) != tc.want || level != tc.level {
					t.Errorf("payload %q, level %d", p.Payload, level)
				}
			default:
				if tc.want != "" {
					t.Error("no packet")
				}
			}
			if tc.count != nil && tc.count() != before+1 {
				t.Error("the drop is not counted")
			}
		})
	}
}

func TestReplayAndForgery(t *testing.T) {
	s := newServer(t)
	c := newSealed(t, s)
	b := c.seal(c.rtp(t, func(*rtp.Packet) {}))
	forged := append([]byte(nil), b...)
	forged[len(forged)-1] ^= 1
	for _, d := range [][]byte{forged, b, b} {
		c.rd.datagram(d, c.from, time.Now())
	}
	if n := len(c.handler.packets); n != 1 {
		t.Errorf("%d packets", n)
	}
	if n := s.counters.SRTPAuthFailed.Load(); n != 2 {
		t.Errorf("%d failures are counted", n)
	}
	if got := c.Stats().Received; got != 1 {
		t.Errorf("%d packets are in the statistics", got)
	}
}

// SRTP keeps state for each SSRC: a hostile client must not make it keep many. Forged packets must
// not use up what the client may have.
func TestSourcesAreBounded(t *testing.T) {
	s := newServer(t)
	c := newSealed(t, s)
	for ssrc := range uint32(100) {
		b := c.seal(c.rtp(t, func(p *rtp.Packet) { p.SSRC = 1000 + ssrc }))
		b[len(b)-1] ^= 1
		c.rd.datagram(b, c.from, time.Now())
	}
	for ssrc := range uint32(100) {
		c.rd.datagram(c.seal(c.rtp(t, func(p *rtp.Packet) { p.SSRC = ssrc })), c.from, time.Now())
		c.rd.datagram(c.seal(appendRR(nil, ssrc, reportBlock{})), c.from, time.Now())
	}
	if n := len(c.handler.packets); n != maxSources {
		t.Errorf("%d sources, want %d", n, maxSources)
	}
	if n := len(c.recv.reporters.known); n != maxReporters {
		t.Errorf("%d reporters, want %d", n, maxReporters)
	}
}

func TestReceiveAllocatesNothing(t *testing.T) {
	for _, encoding := range []string{"Opus", "RED"} {
		s := newServer(t)
		c := newSealed(t, s, redLines)
		c.Conn.handler = deaf{}
		const n = 200
		var datagrams [][]byte
		for i := range uint16(n + 1) { // AllocsPerRun runs once more
			datagrams = append(datagrams, c.seal(c.rtp(t, func(p *rtp.Packet) {
				p.SequenceNumber, p.Timestamp, p.Payload = 2*i, 2*uint32(i)*frameSize, bytes.Repeat([]byte{1}, 100)
				if encoding == "RED" {
					redundant(t, p, copies(2*i, 2)...)
				}
				_ = p.SetExtension(1, []byte{5})
			})))
		}
		i := 0
		allocated := testing.AllocsPerRun(n, func() {
			c.rd.datagram(datagrams[i], c.from, time.Now())
			i++
		})
		if allocated > 0 {
			t.Errorf("%s: %v allocations per packet", encoding, allocated)
		}
		if got := c.Stats().Received; got != n+1 {
			t.Errorf("%s: %d packets were received", encoding, got)
		}
		if got := s.counters.Recovered.Load(); encoding == "RED" && got != n+2 { // two before the first
			t.Errorf("%d packets were recovered", got)
		}
	}
}

type deaf struct{}

func (deaf) Connected()         {}
func (deaf) RTP(*Packet)        {}
func (deaf) NACK(int, []uint16) {}
func (deaf) Data([]byte)        {}
func (deaf) Closed(error)       {}

func TestUnpad(t *testing.T) {
	for _, tc := range []struct {
		payload string
		padded  bool
		want    string
		ok      bool
	}{
		{"abc", false, "abc", true},
		{"abc\x01", true, "abc", true},
		{"a\x00\x00\x03", true, "a", true},
		{"\x01", true, "", true},
		{"", true, "", false},
		{"abc\x00", true, "", false},
		{"abc\x05", true, "", false},
	} {
		got, ok := unpad([]byte(tc.payload), tc.padded)
		if diff := cmp.Diff(tc.want, string(got)); ok != tc.ok || diff != "" {
			t.Errorf("%q: %q, %v", tc.payload, got, ok)
		}
	}
}

// Whatever comes in, from a stranger or from a client with keys, is handled or dropped.
func FuzzDatagram(f *testing.F) {
	s := newServer(f)
	seed := newSealed(f, s, redLines)
	check, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername("a:b"), stun.NewShortTermIntegrity("c"), stun.Fingerprint)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(check.Raw, false)
	f.Add([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, false)
	f.Add(seed.rtp(f, func(p *rtp.Packet) { _ = p.SetExtension(1, []byte{5}) }), true)
	f.Add(seed.rtp(f, func(p *rtp.Packet) { p.Padding, p.PaddingSize = true, 3 }), true)
	f.Add(seed.rtp(f, func(p *rtp.Packet) { redundant(f, p, copies(p.SequenceNumber, 2)...) }), true)
	f.Add(seed.rtp(f, func(p *rtp.Packet) { p.PayloadType, p.Payload = 63, []byte{0x80 | 111, 0, 0, 200, 111} }), true)
	f.Add(appendSDES(appendRR(nil, 1, reportBlock{ssrc: 2}), 1), true)
	f.Add([]byte{2<<6 | formatNACK, typeRTPFB, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0xff, 0xff}, true)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if len(b) > maxDatagram-64 {
			return
		}
		c := newSealed(t, s, redLines)
		defer c.Close(ErrPeerClosed)
		if seal {
			b = c.seal(b)
		}
		c.rd.datagram(b, c.from, time.Now())
		c.rd.datagram(b, flow{addr: netip.MustParseAddrPort("192.0.2.1:9"), udp: s.sockets[0]}, time.Now())
	})
}
