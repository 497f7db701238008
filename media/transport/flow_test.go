package transport

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
)

// host is a client reduced to one socket and STUN.
type host struct {
	t    *testing.T
	conn net.Conn
	addr netip.AddrPort
}

func newHost(t *testing.T, s *Server) *host {
	t.Helper()
	return newHostOf(t, s.Addr())
}

// newHostOf is a host that sends to one of a server's addresses.
func newHostOf(t *testing.T, server netip.AddrPort) *host {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &host{t: t, conn: conn, addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
}

// request builds a Binding request.
func request(k *credential, pwd string, more ...stun.Setter) []byte {
	setters := append([]stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(k.ufrag + ":" + k.remote)}, more...)
	m, err := stun.Build(append(setters, stun.NewShortTermIntegrity(pwd), stun.Fingerprint)...)
	if err != nil {
		panic(err)
	}
	return m.Raw
}

func (h *host) send(b []byte) {
	h.t.Helper()
	if _, err := h.conn.Write(b); err != nil {
		h.t.Fatal(err)
	}
}

// response waits for a STUN response.
func (h *host) response() *stun.Message {
	h.t.Helper()
	_ = h.conn.SetReadDeadline(time.Now().Add(transporttest.Patience))
	buf := make([]byte, maxDatagram)
	n, err := h.conn.Read(buf)
	if err != nil {
		h.t.Fatalf("no response: %v", err)
	}
	m := &stun.Message{Raw: buf[:n]}
	if err := m.Decode(); err != nil {
		h.t.Fatal(err)
	}
	return m
}

// check does one authenticated check.
func (h *host) check(k *credential, more ...stun.Setter) *stun.Message {
	h.t.Helper()
	h.send(request(k, k.pwd, more...))
	return h.response()
}

// waitFor waits until the server has counted n: a datagram that is dropped has no other trace.
func waitFor(t testing.TB, what string, count func() uint64, n uint64) {
	t.Helper()
	deadline := time.After(transporttest.Patience)
	for count() < n {
		select {
		case <-deadline:
			t.Fatalf("%s: %d counted, want %d", what, count(), n)
		case <-time.After(time.Millisecond):
		}
	}
}

func useCandidate() stun.Setter { return stun.RawAttribute{Type: stun.AttrUseCandidate} }

func priority(p uint32) stun.Setter {
	return stun.RawAttribute{Type: stun.AttrPriority, Value: binary.BigEndian.AppendUint32(nil, p)}
}

// waiting accepts a client that is played by hosts.
func waiting(t testing.TB, s *Server) (*Conn, *recorder) {
	t.Helper()
	offer, err := ParseOffer([]byte(offerOf(audio("0", "sendonly"))))
	if err != nil {
		t.Fatal(err)
	}
	h := newRecorder()
	c, _, err := s.Accept(offer, h)
	if err != nil {
		t.Fatal(err)
	}
	return c, h
}

func TestChecksThatFail(t *testing.T) {
	s := newServer(t)
	c, _ := waiting(t, s)
	h := newHost(t, s)
	stranger := *c.ice.current
	stranger.ufrag = "nobody"
	other := *c.ice.current
	other.remote = "other"
	for i, bad := range [][]byte{
		request(c.ice.current, "wrong password"),
		request(&stranger, c.ice.current.pwd),
		request(&other, c.ice.current.pwd),
	} {
		h.send(bad)
		waitFor(t, "failed checks", s.counters.STUNAuthFailed.Load, uint64(i+1))
	}
	if c.Remote().IsValid() {
		t.Error("a failed check bound an address")
	}
	// A lite agent is never controlling, and says so to a client that thinks it is.
	response := h.check(c.ice.current, stun.RawAttribute{Type: stun.AttrICEControlled, Value: make([]byte, 8)})
	var code stun.ErrorCodeAttribute
	if err := code.GetFrom(response); err != nil || code.Code != stun.CodeRoleConflict {
		t.Errorf("response %v, %v", response, err)
	}
	if c.Remote().IsValid() {
		t.Error("a role conflict bound an address")
	}
	// The next response is that of the good check: the bad ones got none.
	response = h.check(c.ice.current)
	var mapped stun.XORMappedAddress
	if err := mapped.GetFrom(response); err != nil || response.Type != stun.BindingSuccess || mapped.Port != int(h.addr.Port()) {
		t.Errorf("response %v, %v", response, err)
	}
	if err := stun.NewShortTermIntegrity(c.ice.current.pwd).Check(response); err != nil {
		t.Errorf("integrity of the response: %v", err)
	}
	if c.Remote() != h.addr {
		t.Errorf("the path is %s", c.Remote())
	}
}

// What follows the integrity attribute is not protected by it: anyone on the path could add it.
func TestUnprotectedUseCandidate(t *testing.T) {
	s := newServer(t)
	c, _ := waiting(t, s)
	first, second := newHost(t, s), newHost(t, s)
	first.check(c.ice.current)
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(c.ice.current.ufrag+":"+c.ice.current.remote),
		stun.NewShortTermIntegrity(c.ice.current.pwd), useCandidate())
	if err != nil {
		t.Fatal(err)
	}
	second.send(m.Raw)
	second.response()
	if c.Remote() != first.addr {
		t.Error("an unprotected USE-CANDIDATE moved the path")
	}
}

func TestUnverifiedIsDropped(t *testing.T) {
	s := newServer(t)
	c, _ := waiting(t, s)
	known, stranger := newHost(t, s), newHost(t, s)
	known.check(c.ice.current)
	for i, b := range [][]byte{{22, 254, 253, 0}, {0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 9}, {0x80, 201, 0, 1, 0, 0, 0, 1}} {
		stranger.send(b)
		waitFor(t, "unverified", s.counters.DroppedUnverified.Load, uint64(i+1))
	}
	for i, b := range [][]byte{{4, 0}, {19}, {64}, {127}, {192}, {255}, {0, 1, 0, 0}} {
		known.send(b)
		waitFor(t, "malformed", s.counters.DroppedMalformed.Load, uint64(i+1))
	}
	known.send([]byte{0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 9})
	waitFor(t, "early", s.counters.DroppedEarly.Load, 1)
	if n := c.dtls.in.Count(); n != 0 {
		t.Errorf("%d DTLS records of a stranger are queued", n)
	}
}

func TestRoaming(t *testing.T) {
	s := newServer(t)
	c, _ := waiting(t, s)
	wifi, cell := newHost(t, s), newHost(t, s)
	wifi.check(c.ice.current, priority(200), useCandidate())
	cell.check(c.ice.current, priority(100))
	if c.Remote() != wifi.addr {
		t.Fatalf("a check without USE-CANDIDATE moved the path to %s", c.Remote())
	}
	cell.check(c.ice.current, priority(100), useCandidate())
	if c.Remote() != wifi.addr {
		t.Error("aggressive nomination of a worse path moved it")
	}
	p := c.ice.path.Load()
	held := *p
	held.nominated = time.Now().Add(-nominationHold)
	c.ice.path.Store(&held)
	cell.check(c.ice.current, priority(100), useCandidate())
	if c.Remote() != cell.addr {
		t.Error("the path did not move when the old one was nominated no more")
	}
	wifi.check(c.ice.current, priority(200), useCandidate())
	if c.Remote() != wifi.addr {
		t.Error("the path did not move to a better one")
	}
}

func TestFlowsAreBounded(t *testing.T) {
	s := newServer(t)
	c, _ := waiting(t, s)
	first := newHost(t, s)
	first.check(c.ice.current, useCandidate())
	for range 2 * maxFlows {
		newHost(t, s).check(c.ice.current)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.flows) != maxFlows || len(c.ice.flows) != maxFlows {
		t.Errorf("%d flows in the map, %d at the connection; %d are allowed", len(s.flows), len(c.ice.flows), maxFlows)
	}
	if s.flows[flowKey{addr: first.addr}] != c {
		t.Error("the path was evicted")
	}
}

func TestAddressOfAnother(t *testing.T) {
	s := newServer(t)
	owner, _ := waiting(t, s)
	thief, _ := waiting(t, s)
	h := newHost(t, s)
	h.check(owner.ice.current)
	h.send(request(thief.ice.current, thief.ice.current.pwd))
	waitFor(t, "refused", s.counters.FlowsRefused.Load, 1)
	if thief.Remote().IsValid() {
		t.Error("an address in use was taken over")
	}
	owner.ice.heard.Store(int64(-flowQuiet)) // as if the owner had been gone for long
	h.check(thief.ice.current)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.flows[flowKey{addr: h.addr}] != thief || len(owner.ice.flows) != 0 {
		t.Error("an address that was left was not taken over")
	}
}

func TestCloseBeforeHandshake(t *testing.T) {
	s := newServer(t)
	c, h := waiting(t, s)
	newHost(t, s).check(c.ice.current) // the handshake waits for a ClientHello
	cause := errors.New("left")
	c.Close(cause)
	c.Close(errors.New("again"))
	if err := transporttest.Receive(t, h.closed, "Closed"); !errors.Is(err, cause) {
		t.Errorf("closed with %v", err)
	}
	assertEmpty(t, s)
	if n := s.counters.DTLSFailed.Load(); n != 0 {
		t.Errorf("%d failed handshakes are counted", n)
	}
	select {
	case err := <-h.closed:
		t.Errorf("Closed was called again, with %v", err)
	default:
	}
}

// Writers race with Close. Loopback keeps the order, so a packet behind a marker that is sent once
// Close has returned is one too many.
func TestNothingAfterClose(t *testing.T) {
	s := newServer(t)
	c, _ := waiting(t, s)
	h := newHost(t, s)
	h.check(c.ice.current)
	writers := make(chan error)
	for range 4 {
		go func() {
			var err error
			for err == nil || errors.Is(err, ErrWouldBlock) {
				err = c.write([]byte("before"))
			}
			writers <- err
		}()
	}
	marked := make(chan struct{})
	late := make(chan int)
	go func() { late <- countAfterMarker(h.conn, marked) }()

	c.Close(ErrPeerClosed)
	for seen := false; !seen; { // the flood may have filled the client's buffer
		if err := s.sockets[0].write(h.addr, []byte("marker")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-marked:
			seen = true
		case <-time.After(time.Millisecond):
		}
	}
	for range 4 {
		if err := transporttest.Receive(t, writers, "the writer's end"); !errors.Is(err, ErrClosed) {
			t.Errorf("the writer ended with %v", err)
		}
	}
	if err := s.sockets[0].write(h.addr, []byte("end")); err != nil {
		t.Fatal(err)
	}
	if n := transporttest.Receive(t, late, "the end marker"); n != 0 {
		t.Errorf("%d packets came after Close", n)
	}
}

// countAfterMarker counts what else comes between the first marker, when it closes marked, and the end.
func countAfterMarker(conn net.Conn, marked chan struct{}) int {
	buf, n, seen := make([]byte, maxDatagram), 0, false
	_ = conn.SetReadDeadline(time.Now().Add(transporttest.Patience))
	for {
		size, err := conn.Read(buf)
		switch {
		case err != nil:
			return -1
		case string(buf[:size]) == "marker":
			if !seen {
				close(marked)
			}
			seen = true
		case string(buf[:size]) == "end":
			return n
		case seen:
			n++
		}
	}
}
