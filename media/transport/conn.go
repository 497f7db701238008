package transport

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is one client's connection. Its methods are safe for concurrent use.
type Conn struct {
	server  *Server
	handler Handler
	offer   *Offer
	slots   []Slot
	created time.Time
	checked time.Time // the first authenticated check; written before associate starts

	session uint64 // of the answers' o= lines

	// Guarded by server.mu; cancel is final once the connection is detached.
	version int
	cancel  context.CancelFunc // of associate; nil until the first check

	connected atomic.Bool
	closed    atomic.Bool
	ending    sync.Once
	reason    error // set before closed

	gate sync.RWMutex // held for reading while a packet is written; see Close
	shut bool

	ice  agent
	dtls dtlsLayer
	keys atomic.Pointer[Keys]
	recv receiver
	rtcp reporter
	data data
}

// Accept registers a client for the offer and returns the answer. The connection waits for the
// client's first STUN check; whatever becomes of it, h.Closed tells.
func (s *Server) Accept(offer *Offer, h Handler) (*Conn, []byte, error) {
	c := &Conn{
		server:  s,
		handler: h,
		offer:   offer,
		slots:   newSlots(offer),
		created: time.Now(),
		session: randomSession(),
	}
	c.dtls.init()
	c.data.init(offer)
	c.recv.init(offer)
	c.rtcp.init()

	a, err := c.register(offer)
	if err != nil {
		return nil, nil, err
	}
	return c, a.marshal(offer), nil // without the lock, which whoever reads a socket needs
}

func (c *Conn) register(offer *Offer) (answer, error) {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return answer{}, ErrServerClosed
	}
	s.conns[c] = struct{}{}
	s.counters.Accepted.Add(1)
	return c.answer(offer), nil
}

// newSlots numbers the slots of an offer and draws their SSRCs.
func newSlots(offer *Offer) []Slot {
	var slots []Slot
	seen := map[uint32]bool{0: true}
	for i := range offer.media {
		m := &offer.media[i]
		if !m.slot {
			continue
		}
		ssrc := uint32(0)
		for seen[ssrc] {
			ssrc = randomUint32()
		}
		seen[ssrc] = true
		slots = append(slots, Slot{
			Index: len(slots), MID: m.mid, SSRC: ssrc, PayloadType: m.pt, RED: m.red, LevelExt: m.levelExt, NACK: m.nack,
		})
	}
	return slots
}

// answer draws new ICE credentials for the answer. server.mu is held.
func (c *Conn) answer(offer *Offer) answer {
	c.ice.current = &credential{conn: c, ufrag: rand.Text()[:16], pwd: rand.Text(), remote: offer.ufrag}
	c.server.ufrags[c.ice.current.ufrag] = c.ice.current
	c.version++
	return answer{
		session:     c.session,
		version:     c.version,
		ufrag:       c.ice.current.ufrag,
		pwd:         c.ice.current.pwd,
		fingerprint: c.server.cfg.Certificate.fingerprint,
		candidates:  c.server.candidates,
		slots:       c.slots,
	}
}

// Restart answers an offer that restarts ICE (RFC 8445, section 9): new credentials for the same
// session. Media goes on over the old path until the client has checked with the new ones.
func (c *Conn) Restart(offer *Offer) ([]byte, error) {
	if !c.offer.sameSession(offer) {
		return nil, ErrRestartChanged
	}
	a, err := c.restart(offer)
	if err != nil {
		return nil, err
	}
	return a.marshal(offer), nil
}

func (c *Conn) restart(offer *Offer) (answer, error) {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closed.Load() {
		return answer{}, ErrClosed
	}
	if c.ice.previous != nil { // a restart that no check used: the client has forgotten it
		delete(s.ufrags, c.ice.current.ufrag)
	} else {
		c.ice.previous = c.ice.current
	}
	return c.answer(offer), nil
}

// Slots returns the receiving m-lines in their order. The caller must not change them.
func (c *Conn) Slots() []Slot { return c.slots }

// HasUplink reports whether the client can send audio.
func (c *Conn) HasUplink() bool { return c.offer.HasUplink() }

// Remote is the address that is sent to; invalid until the first authenticated check.
func (c *Conn) Remote() netip.AddrPort {
	if p := c.ice.path.Load(); p != nil {
		return p.addr
	}
	return netip.AddrPort{}
}

// Checked is when the client's first authenticated check came; zero if none has. It is meant for
// Handler.Connected and Handler.Closed, and to be called there only.
func (c *Conn) Checked() time.Time { return c.checked }

// SendKeys are the keys that protect RTP to the client. They exist once Handler.Connected is called.
func (c *Conn) SendKeys() (Keys, error) {
	k := c.keys.Load()
	if k == nil {
		return Keys{}, ErrNotConnected
	}
	return *k, nil
}

// write is the only way onto the network besides STUN responses and a Batch.
func (c *Conn) write(packet []byte) error {
	c.gate.RLock()
	defer c.gate.RUnlock()
	if c.shut {
		return ErrClosed
	}
	p := c.ice.path.Load()
	if p == nil {
		return ErrNotConnected
	}
	return c.server.sent(p.write(packet))
}

// Close ends the connection. It is idempotent; the first reason is the one that Handler.Closed gets.
// After Close returns nothing that this package itself sends for the connection reaches the network:
// DTLS, the data channel, RTCP. RTP that lies in a Batch at that moment leaves with it.
func (c *Conn) Close(reason error) { c.ending.Do(func() { c.end(reason) }) }

// end does what Close says. Another caller of Close waits for it, so that the goodbye gets out.
func (c *Conn) end(reason error) {
	started := c.detach(reason)
	if d := c.dtls.conn.Load(); d != nil {
		_ = d.Close() // says close_notify: the client need not time out
	}
	if c.cancel != nil {
		c.cancel()
	}
	_ = c.dtls.in.Close()
	c.gate.Lock()
	c.shut = true
	c.gate.Unlock()
	if !started {
		go func() {
			defer c.server.wg.Done()
			c.finish()
		}()
	}
}

// detach takes the connection out of the Server's maps. It reports whether the connection's own
// goroutine was started, which then is the one to call finish.
func (c *Conn) detach(reason error) (started bool) {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	c.reason = reason
	c.closed.Store(true)
	delete(s.conns, c)
	delete(s.ufrags, c.ice.current.ufrag)
	if c.ice.previous != nil {
		delete(s.ufrags, c.ice.previous.ufrag)
	}
	for _, f := range c.ice.flows {
		delete(s.flows, f.key())
	}
	started = c.ice.path.Load() != nil
	if !started {
		s.wg.Add(1) // for finish; under the lock, for Server.Close may already wait
	}
	return started
}

// finish tells the handler, as the very last thing that it hears.
func (c *Conn) finish() {
	c.recv.stop()
	c.server.mu.Lock()
	flows := c.ice.flows
	c.ice.flows = nil
	c.server.mu.Unlock()
	for i := range flows {
		flows[i].tcp.close()
	}
	c.handler.Closed(c.reason)
}

// Err is the reason the connection ended with, nil while it lives.
func (c *Conn) Err() error {
	if !c.closed.Load() {
		return nil
	}
	return c.reason
}

func randomUint32() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return binary.BigEndian.Uint32(b[:])
}

// randomSession draws an o= session id: 62 bits and never 0 (RFC 9429, section 5.2.1).
func randomSession() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])>>2 | 1
}
