package gateway

import (
	"container/list"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// origin is the network that a request is from, as limits count it: an IPv4
// address, or the /64 of an IPv6 address, which is what one subscriber has.
//
// X-Forwarded-For is believed only as far as trusted proxies wrote it: from the
// right, up to the first address that is not one of them.
func origin(r *http.Request, proxies []netip.Prefix) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr // not TCP: one origin
	}
	addr := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && within(addr, proxies); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = hop.Unmap()
	}
	if addr.Is4() {
		return addr.String()
	}
	network, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return addr.String()
	}
	return network.String()
}

func within(addr netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// limiter bounds how often each of many keys does something. It remembers the keys
// that were used last, up to a number.
type limiter struct {
	every rate.Limit
	burst int
	keep  int
	now   func() time.Time

	mu     sync.Mutex
	byKey  map[string]*list.Element
	recent list.List // of *limited, the newest first
}

type limited struct {
	key   string
	allow *rate.Limiter
}

func newLimiter(perSecond float64, burst, keep int, now func() time.Time) *limiter {
	return &limiter{every: rate.Limit(perSecond), burst: burst, keep: keep, now: now, byKey: map[string]*list.Element{}}
}

// allow says whether key may do it once more now.
func (l *limiter) allow(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.byKey[key]
	if !ok {
		e = l.recent.PushFront(&limited{key: key, allow: rate.NewLimiter(l.every, l.burst)})
		l.byKey[key] = e
		if l.recent.Len() > l.keep {
			oldest := l.recent.Remove(l.recent.Back()).(*limited)
			delete(l.byKey, oldest.key)
		}
	}
	l.recent.MoveToFront(e)
	return e.Value.(*limited).allow.AllowN(l.now(), 1)
}

func (l *limiter) refusal() error {
	return refuse(http.StatusTooManyRequests, codeRateLimited, "too many requests; slow down").later()
}
