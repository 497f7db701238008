package gateway

import (
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

func TestOrigin(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ffff::/48")}
	for _, test := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"direct", "192.0.2.1:555", nil, "192.0.2.1"},
		{"direct, and claims another", "192.0.2.1:555", []string{"203.0.113.9"}, "192.0.2.1"},
		{"one proxy", "10.1.1.1:555", []string{"192.0.2.1"}, "192.0.2.1"},
		{"one proxy, and claims another", "10.1.1.1:555", []string{"203.0.113.9, 192.0.2.1"}, "192.0.2.1"},
		{"two proxies", "10.1.1.1:555", []string{"203.0.113.9, 192.0.2.1, 10.2.2.2"}, "192.0.2.1"},
		{"two headers", "10.1.1.1:555", []string{"203.0.113.9", "192.0.2.1"}, "192.0.2.1"},
		{"a proxy of IPv6", "[2001:db8:ffff::1]:555", []string{"192.0.2.1"}, "192.0.2.1"},
		{"proxies only", "10.1.1.1:555", []string{"10.2.2.2"}, "10.2.2.2"},
		{"a proxy that says nothing", "10.1.1.1:555", nil, "10.1.1.1"},
		{"a proxy that passes on rubbish", "10.1.1.1:555", []string{"192.0.2.1, unknown"}, "10.1.1.1"},
		{"IPv6", "[2001:db8:1:2:3:4:5:6]:555", nil, "2001:db8:1:2::/64"},
		{"IPv6, the same subscriber", "[2001:db8:1:2:ffff::1]:555", nil, "2001:db8:1:2::/64"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.1]:555", nil, "192.0.2.1"},
		{"IPv4 in IPv6 from a proxy", "[::ffff:10.0.0.1]:555", []string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		{"link-local", "[fe80::1%eth0]:555", nil, "fe80::/64"},
		{"no address", "pipe", []string{"192.0.2.1"}, "pipe"},
	} {
		r := &http.Request{RemoteAddr: test.peer, Header: http.Header{"X-Forwarded-For": test.forwarded}}
		if got := origin(r, proxies); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestLimiter(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLimiter(1, 3, 100, func() time.Time { return now })
	took := func(key string) (n int) {
		for l.allow(key) {
			n++
		}
		return n
	}
	if a, b := took("a"), took("b"); a != 3 || b != 3 {
		t.Errorf("at once: %d and %d, want 3 each", a, b)
	}
	now = now.Add(2 * time.Second)
	if n := took("a"); n != 2 {
		t.Errorf("after two seconds: %d, want 2", n)
	}
	now = now.Add(time.Hour)
	if n := took("a"); n != 3 {
		t.Errorf("after an hour: %d, want 3", n)
	}
}

func TestLimiterForgetsTheOldest(t *testing.T) {
	l := newLimiter(0.001, 1, 10, func() time.Time { return time.Unix(0, 0) })
	l.allow("busy")
	for i := range 1000 {
		l.allow(strconv.Itoa(i))
		if l.allow("busy") {
			t.Fatal("a key that is used all the time was forgotten")
		}
	}
	if len(l.byKey) != 10 || l.recent.Len() != 10 {
		t.Errorf("%d keys are kept, want 10", len(l.byKey))
	}
}
