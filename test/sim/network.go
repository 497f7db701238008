package sim

import (
	"errors"
	"fmt"
	"time"
)

// errTimeout and errRefused are what a caller sees of a network that fails.
var (
	errTimeout = errors.New("no answer in time")
	errRefused = errors.New("connection refused")
)

// host is something that runs, may crash, may stop for a while without noticing it, and has
// a clock of its own.
type host struct {
	name      string
	up        bool
	life      int // how often it has started
	frozen    bool
	backlog   []func() // what came while it was frozen
	skew      time.Duration
	processes []*process
}

// incarnation names one life of the host.
func (h *host) incarnation() string { return fmt.Sprint(h.name, "#", h.life) }

// do runs f on the host: never if it is down, later if it is frozen.
func (h *host) do(f func()) {
	switch {
	case !h.up:
	case h.frozen:
		h.backlog = append(h.backlog, f)
	default:
		f()
	}
}

func (h *host) crash() {
	h.up, h.frozen, h.backlog = false, false, nil
	for _, p := range h.processes {
		p.kill()
	}
	h.processes = nil
}

func (h *host) start() {
	h.up = true
	h.life++
}

// freeze stops a host as a debugger does: the world goes on, and what is sent to it waits.
func (h *host) freeze() { h.frozen = h.up }

func (h *host) thaw() {
	h.frozen = false
	waiting := h.backlog
	h.backlog = nil
	for _, f := range waiting {
		h.do(f)
	}
}

// network carries messages between hosts: late, twice, out of order or not at all.
type network struct {
	*engine
	cuts  map[link]bool
	usual time.Duration // most messages take no longer
	late  float64       // how many do, by up to latest
	lost  float64
	twice float64
}

const latest = 6 * time.Second

// link is a pair of hosts, in any order.
type link struct{ a, b *host }

func (n *network) cut(a, b *host)  { n.cuts[link{a, b}], n.cuts[link{b, a}] = true, true }
func (n *network) heal(a, b *host) { delete(n.cuts, link{a, b}); delete(n.cuts, link{b, a}) }
func (n *network) joined(a, b *host) bool {
	return !n.cuts[link{a, b}]
}

func (n *network) latency() time.Duration {
	if n.chance(n.late) {
		return n.between(n.usual, latest)
	}
	return n.between(time.Millisecond, n.usual)
}

// send delivers a message to a host, unless it is lost. What was sent to a host that has
// restarted since does not arrive.
func (n *network) send(from, to *host, deliver func()) {
	if n.chance(n.lost) {
		return
	}
	life := to.life
	n.after(n.latency(), func() {
		if n.joined(from, to) && to.life == life {
			to.do(deliver)
		}
	})
}

// answer gives a call its answer. Only the first one counts.
type answer[T any] func(T, error)

// call asks something of another host and waits for the answer: a T, what the callee
// refuses, or errTimeout or errRefused. serve runs at the callee, twice if the request
// was duplicated.
func call[T any](p *process, n *network, to *host, timeout time.Duration, serve func(answer[T])) (T, error) {
	var out T
	err, done, wake := errTimeout, false, p.waker()
	settle := func(v T, failed error) {
		if !done {
			out, err, done = v, failed, true
			wake()
		}
	}
	from := p.host
	if !to.up {
		n.send(to, from, func() { settle(out, errRefused) })
	}
	n.send(from, to, func() {
		serve(func(v T, failed error) { n.send(to, from, func() { settle(v, failed) }) })
	})
	if n.chance(n.twice) {
		n.send(from, to, func() { serve(func(T, error) {}) })
	}
	n.after(timeout, func() {
		var none T
		settle(none, errTimeout)
	})
	p.wait()
	return out, err
}

// stream carries messages in order until it breaks, which each end notices by itself.
type stream struct {
	*network
	from, to *host
	life     int
	last     time.Time
	broken   bool
}

func (n *network) stream(from, to *host) *stream {
	return &stream{network: n, from: from, to: to, life: to.life, last: n.now}
}

func (s *stream) send(deliver func()) {
	arrives := s.now.Add(s.latency())
	if arrives.Before(s.last) {
		arrives = s.last
	}
	s.last = arrives
	s.after(arrives.Sub(s.now), func() {
		lost := !s.from.up && s.chance(0.5) // with its machine
		if lost || !s.joined(s.from, s.to) || s.to.life != s.life {
			s.broken = true
		}
		s.to.do(func() {
			if !s.broken {
				deliver()
			}
		})
	})
}
