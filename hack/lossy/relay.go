package lossy

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	maxDatagram = 64 << 10
	buffer      = 4 << 20 // bytes of a socket, as far as the kernel allows
)

// Config is what a Relay needs. Listen and To are required.
type Config struct {
	Listen netip.AddrPort // where clients come; port 0 is any free one
	To     netip.AddrPort // the server
	// Up is the way from clients to the server, Down the way back.
	Up, Down Network
	Seed     uint64
	// Tap sees every datagram before its fate is known; nil: nobody does. It is called by several goroutines, and may not
	// keep the bytes.
	Tap func(client int, down bool, packet []byte)
}

// Counts are datagrams in one direction.
type Counts struct{ Forwarded, Lost uint64 }

// Relay forwards UDP between clients and a server. It is safe for concurrent use.
type Relay struct {
	cfg  Config
	near *net.UDPConn
	line *line

	readers sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	networks [2]Network // by direction
	counts   [2]Counts
	clients  map[netip.AddrPort]*client
}

// client is one source address.
type client struct {
	relay  *Relay
	number int // from 0, in the order of their first datagrams
	from   netip.AddrPort
	far    *net.UDPConn // connected to the server

	// Guarded by the relay's mutex; by direction.
	fates [2]fates
	last  [2]time.Time // when the last datagram is due
}

// Listen opens the near socket and forwards until Close.
func Listen(cfg Config) (*Relay, error) {
	if err := errors.Join(cfg.Up.Validate(), cfg.Down.Validate()); err != nil {
		return nil, fmt.Errorf("relay to %s: %w", cfg.To, err)
	}
	near, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(cfg.Listen))
	if err != nil {
		return nil, fmt.Errorf("relay to %s: %w", cfg.To, err)
	}
	_, _ = near.SetReadBuffer(buffer), near.SetWriteBuffer(buffer) // smaller ones only lose more under load
	r := &Relay{cfg: cfg, near: near, line: newLine(), networks: [2]Network{cfg.Up, cfg.Down}, clients: map[netip.AddrPort]*client{}}
	r.readers.Go(r.readNear)
	return r, nil
}

// Addr is where clients come.
func (r *Relay) Addr() netip.AddrPort {
	a := r.near.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Set changes both directions, for the clients that are there too.
func (r *Relay) Set(toServer, toClients Network) error {
	if err := errors.Join(toServer.Validate(), toClients.Validate()); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.networks = [2]Network{toServer, toClients}
	return nil
}

// Counts says what became of the datagrams of all clients so far.
func (r *Relay) Counts() (toServer, toClients Counts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[up], r.counts[down]
}

// Close drops what is on its way and waits for every goroutine.
func (r *Relay) Close() {
	r.mu.Lock()
	r.closed = true
	_ = r.near.Close()
	for _, c := range r.clients {
		_ = c.far.Close()
	}
	r.mu.Unlock()
	r.readers.Wait()
	r.line.stop()
}

func (r *Relay) readNear() {
	b := make([]byte, maxDatagram)
	for {
		n, from, err := r.near.ReadFromUDPAddrPort(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			continue // an ICMP error about somebody who is gone
		}
		if c := r.clientAt(from); c != nil {
			r.forward(c, up, b[:n], c.send)
		}
	}
}

// clientAt returns who is at an address, and makes it known. It is nil when no socket can be had for it.
func (r *Relay) clientAt(from netip.AddrPort) *client {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.clients[from]; c != nil || r.closed {
		return c
	}
	far, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.cfg.To))
	if err != nil {
		return nil
	}
	_, _ = far.SetReadBuffer(buffer), far.SetWriteBuffer(buffer)
	c := &client{relay: r, number: len(r.clients), from: from, far: far}
	c.fates = [2]fates{newFates(r.cfg.Seed, c.number, up), newFates(r.cfg.Seed, c.number, down)}
	r.clients[from] = c
	r.readers.Go(func() { r.readFar(c) })
	return c
}

func (r *Relay) readFar(c *client) {
	b := make([]byte, maxDatagram)
	for {
		n, err := c.far.Read(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			continue // the server does not listen, or not yet
		}
		r.forward(c, down, b[:n], c.receive)
	}
}

// forward gives one datagram its fate.
func (r *Relay) forward(c *client, direction int, packet []byte, deliver func([]byte)) {
	if r.cfg.Tap != nil {
		r.cfg.Tap(c.number, direction == down, packet)
	}
	due, lost := r.decide(c, direction, time.Now())
	if !lost {
		lost = !r.line.put(due, bytes.Clone(packet), deliver)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if lost {
		r.counts[direction].Lost++
	} else {
		r.counts[direction].Forwarded++
	}
}

// decide draws the fate of a datagram that came now.
func (r *Relay) decide(c *client, direction int, now time.Time) (due time.Time, lost bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	network := r.networks[direction]
	f := c.fates[direction].next(network)
	if f.lost {
		return time.Time{}, true
	}
	due = now.Add(f.delay)
	if last := c.last[direction]; !network.Reorder && due.Before(last) {
		due = last
	}
	c.last[direction] = due
	return due, false
}

// send and receive are the ends of a way. What a socket does not take is lost, as on any network.
func (c *client) send(packet []byte)    { _, _ = c.far.Write(packet) }
func (c *client) receive(packet []byte) { _, _ = c.relay.near.WriteToUDPAddrPort(packet, c.from) }
