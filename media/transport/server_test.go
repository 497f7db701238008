package transport

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/pion/stun/v4"
)

func TestListenRefuses(t *testing.T) {
	certificate, err := NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	taken := newServer(t)
	for name, cfg := range map[string]Config{
		"no certificate":           {Listen: loopback},
		"nothing to advertise":     {Listen: netip.MustParseAddrPort("0.0.0.0:0"), Certificate: certificate},
		"unspecified advertised":   {Listen: loopback, Certificate: certificate, Advertise: []netip.AddrPort{netip.MustParseAddrPort("[::]:1")}},
		"port that is taken":       {Listen: taken.Addr(), Certificate: certificate},
		"address that is not ours": {Listen: netip.MustParseAddrPort("192.0.2.254:0"), Certificate: certificate},
	} {
		if s, err := Listen(cfg); err == nil {
			s.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAdvertise(t *testing.T) {
	s := newServer(t)
	c, _ := waiting(t, s)
	for _, bad := range [][]netip.AddrPort{nil, {netip.MustParseAddrPort("0.0.0.0:1")}, {netip.MustParseAddrPort("192.0.2.1:0")}, {{}}} {
		if err := s.Advertise(bad); err == nil {
			t.Errorf("%v can be advertised", bad)
		}
	}
	if err := s.Advertise([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:40000")}); err != nil {
		t.Fatal(err)
	}
	answer, err := c.Restart(c.offer)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(answer), " 192.0.2.1 40000 typ host"); n != 2 || strings.Contains(string(answer), "127.0.0.1 "+strconv.Itoa(int(s.Addr().Port()))) {
		t.Errorf("the answer does not advertise the new address only:\n%s", answer)
	}
}

func needIPv6(t *testing.T) {
	t.Helper()
	l, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	_ = l.Close()
}

// An unspecified IPv6 address serves both families on one socket.
func TestBothFamilies(t *testing.T) {
	needIPv6(t)
	certificate, err := NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	advertise := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:40000"), netip.MustParseAddrPort("[2001:db8::1]:40000")}
	s, err := Listen(Config{Listen: netip.MustParseAddrPort("[::]:0"), Advertise: advertise, Certificate: certificate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	c, _ := waiting(t, s)
	for _, address := range []string{"127.0.0.1", "::1"} {
		h := newHostOf(t, netip.AddrPortFrom(netip.MustParseAddr(address), s.Addr().Port()))
		response := h.check(c.ice.current, useCandidate())
		var mapped stun.XORMappedAddress
		if err := mapped.GetFrom(response); err != nil || !mapped.IP.Equal(net.ParseIP(address)) {
			t.Errorf("%s: mapped to %v, %v", address, mapped, err)
		}
		if c.Remote() != h.addr {
			t.Errorf("%s: the path is %s, want %s", address, c.Remote(), h.addr)
		}
	}
	s.mu.Lock()
	drawn := c.answer(c.offer)
	s.mu.Unlock()
	answer := string(drawn.marshal(c.offer))
	for _, want := range []string{
		"a=candidate:1 1 udp 2130706431 192.0.2.1 40000 typ host\r\n",
		"a=candidate:2 1 udp 2130706175 2001:db8::1 40000 typ host\r\n",
		"a=candidate:3 1 tcp 1520435199 192.0.2.1 40000 typ host tcptype passive\r\n",
		"a=candidate:4 1 tcp 1520434943 2001:db8::1 40000 typ host tcptype passive\r\n",
	} {
		if !strings.Contains(answer, want) {
			t.Errorf("the answer lacks %q:\n%s", want, answer)
		}
	}
}

func TestCountersHaveDistinctNames(t *testing.T) {
	s := newServer(t)
	s.counters.SendDropped.Add(3)
	seen := map[string]uint64{}
	n := 0
	s.Counters().Each(func(name string, value uint64) { seen[name] = value; n++ })
	if len(seen) != n || seen["send_dropped"] != 3 {
		t.Errorf("%d names for %d counters: %v", len(seen), n, seen)
	}
}
