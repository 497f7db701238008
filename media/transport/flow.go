package transport

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// maxFlows bounds the addresses one client can be heard from.
	maxFlows = 8
	// flowQuiet is how long a client must not have been heard from before another may use its address.
	flowQuiet = 5 * time.Second
	// nominationHold is how long a nominated path resists one of lower priority. Clients that
	// nominate aggressively (RFC 5245, section 8.1.1.2) send USE-CANDIDATE on every path at first.
	nominationHold = 3 * time.Second
)

// flow is one 5-tuple: the client's address, and the socket or connection it is reached by.
type flow struct {
	addr netip.AddrPort
	udp  *udpSocket // nil when tcp is set
	tcp  *tcpConn
}

type flowKey struct {
	addr netip.AddrPort
	tcp  bool
}

func (f *flow) key() flowKey { return flowKey{addr: f.addr, tcp: f.tcp != nil} }

// write sends one packet or drops it; it never waits.
func (f *flow) write(packet []byte) error {
	if f.tcp != nil {
		return f.tcp.write(packet)
	}
	return f.udp.write(f.addr, packet)
}

// path is the flow that is sent to, and what made it so.
type path struct {
	flow
	priority  uint32
	nominated time.Time // zero while only a first check came
}

// credential is one ICE username fragment of a connection. A connection has two while it restarts.
type credential struct {
	conn       *Conn
	ufrag, pwd string
	remote     string // the client's ufrag
}

// agent is the ICE-lite side of a connection. What is not atomic is guarded by Server.mu.
type agent struct {
	current, previous *credential // previous: until a restart is used
	flows             []flow
	path              atomic.Pointer[path] // nil until the first check
	heard             atomic.Int64         // last authenticated check, nanoseconds since Conn.created
}

// check is an authenticated Binding request.
type check struct {
	credential *credential
	from       flow
	nominate   bool
	priority   uint32
	now        time.Time
}

// bind takes note that a check passed: its address now belongs to the connection. It is false when
// the connection has ended or another, live connection uses the address.
func (s *Server) bind(k check) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := k.credential.conn
	if c.closed.Load() || s.ufrags[k.credential.ufrag] != k.credential {
		return false
	}
	owner := s.flows[k.from.key()]
	if owner != nil && owner != c {
		if owner.silence(k.now) < flowQuiet {
			s.counters.FlowsRefused.Add(1)
			return false
		}
		s.unbind(owner, k.from.key())
		owner = nil
	}
	c.ice.heard.Store(int64(k.now.Sub(c.created)))
	if owner == nil {
		s.evict(c)
		s.flows[k.from.key()] = c
		c.ice.flows = append(c.ice.flows, k.from)
	}
	if k.from.tcp != nil {
		k.from.tcp.bound.Store(true)
	}
	c.settle(k.credential)
	c.move(k)
	return true
}

// silence is how long ago the client was last heard from.
func (c *Conn) silence(now time.Time) time.Duration {
	return now.Sub(c.created) - time.Duration(c.ice.heard.Load())
}

// evict makes room for one more flow: the oldest that is not the path goes.
func (s *Server) evict(c *Conn) {
	if len(c.ice.flows) < maxFlows {
		return
	}
	current := c.ice.path.Load()
	for i := range c.ice.flows {
		if f := c.ice.flows[i]; current == nil || f.key() != current.key() {
			s.unbind(c, f.key())
			f.tcp.close()
			return
		}
	}
}

// unbind forgets a flow of c. s.mu is held.
func (s *Server) unbind(c *Conn, key flowKey) {
	if s.flows[key] != c {
		return
	}
	delete(s.flows, key)
	for i := range c.ice.flows {
		if c.ice.flows[i].key() == key {
			c.ice.flows = append(c.ice.flows[:i], c.ice.flows[i+1:]...)
			return
		}
	}
}

// settle drops the credentials from before an ICE restart once the new ones are used. s.mu is held.
func (c *Conn) settle(used *credential) {
	if c.ice.previous != nil && used == c.ice.current {
		delete(c.server.ufrags, c.ice.previous.ufrag)
		c.ice.previous = nil
	}
}

// move makes the check's flow the path if it is the first, is nominated, or is the path already.
// s.mu is held.
func (c *Conn) move(k check) {
	now := c.ice.path.Load()
	next := &path{flow: k.from, priority: k.priority}
	switch {
	case now == nil:
		if k.nominate {
			next.nominated = k.now
		}
		c.checked = k.now
		c.ice.path.Store(next)
		ctx, cancel := context.WithCancel(context.Background())
		c.cancel = cancel
		c.server.wg.Go(func() { c.associate(ctx) })
	case !k.nominate:
	case now.key() != k.from.key() && k.priority < now.priority && k.now.Sub(now.nominated) < nominationHold:
	default:
		next.nominated = k.now
		c.ice.path.Store(next)
	}
}
