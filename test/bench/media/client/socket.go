//go:build linux

package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"voiceroom.dev/voiceroom/test/bench/media/mmsg"
)

const (
	maxRun       = 64 << 10 // bytes of a run
	maxDatagram  = 2 << 10  // bytes of a datagram, above any path's MTU
	socketBuffer = 1 << 20
	oobSize      = 64 // bytes of what the kernel says beside a datagram: its time and the length of segments
)

// prepare makes the kernel say when datagrams arrive and, with gro, hand runs over whole.
func prepare(socket *net.UDPConn, gro bool) (syscall.RawConn, error) {
	if err := socket.SetReadBuffer(socketBuffer); err != nil {
		return nil, err
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		if gro && err == nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 1)
		}
	})
	return raw, errors.Join(failed, err)
}

// control is what the kernel says beside a run: the size of each packet but the last, 0 if there is only
// one, and when it arrived.
func control(b []byte) (segment int, at time.Time) {
	for len(b) >= unix.SizeofCmsghdr {
		length := int(binary.NativeEndian.Uint64(b)) // of unix.Cmsghdr, as on all 64-bit machines
		level, kind := binary.NativeEndian.Uint32(b[8:]), binary.NativeEndian.Uint32(b[12:])
		if length < unix.SizeofCmsghdr || length > len(b) {
			break
		}
		data := b[unix.SizeofCmsghdr:length]
		switch {
		case level == unix.SOL_UDP && kind == unix.UDP_GRO && len(data) >= 4:
			segment = int(binary.NativeEndian.Uint32(data))
		case level == unix.SOL_SOCKET && kind == unix.SO_TIMESTAMPNS && len(data) >= 16:
			at = time.Unix(int64(binary.NativeEndian.Uint64(data)), int64(binary.NativeEndian.Uint64(data[8:])))
		}
		b = b[min(unix.CmsgSpace(len(data)), len(b)):]
	}
	return segment, at
}

// inbox is what one call receives into.
type inbox struct {
	headers []mmsg.Header
	froms   []unix.RawSockaddrInet4
	oobs    [][oobSize]byte
	vectors []unix.Iovec
	memory  []byte
	each    int // bytes of a header's memory
}

func newInbox(gro bool) *inbox {
	n := maxRun / maxDatagram
	if gro {
		n = 1
	}
	in := &inbox{make([]mmsg.Header, n), make([]unix.RawSockaddrInet4, n), make([][oobSize]byte, n), make([]unix.Iovec, n), make([]byte, maxRun), maxRun / n}
	for i := range in.headers {
		h, v := &in.headers[i], &in.vectors[i]
		v.Base = &in.memory[i*in.each]
		v.SetLen(in.each)
		h.Iov = v
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&in.froms[i]))
		h.Control = &in.oobs[i][0]
	}
	return in
}

// receive fills the headers with what is there, and says how many.
func (in *inbox) receive(fd uintptr) (int, error) {
	for i := range in.headers { // the kernel changes these
		in.headers[i].Namelen = unix.SizeofSockaddrInet4
		in.headers[i].SetControllen(oobSize)
	}
	return mmsg.Receive(int(fd), in.headers)
}

// run is what a header holds: packets of segment bytes but the last, which may be shorter.
func (in *inbox) run(i int) (run []byte, segment int, from netip.AddrPort, at time.Time) {
	h, sa := &in.headers[i], &in.froms[i]
	run = in.memory[i*in.each:][:h.Length]
	segment, at = control(in.oobs[i][:h.Controllen])
	if segment == 0 {
		segment = len(run)
	}
	port := (*[2]byte)(unsafe.Pointer(&sa.Port))
	return run, segment, netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), binary.BigEndian.Uint16(port[:])), at
}

// read takes what arrives until the socket is closed.
func (c *Client) read() {
	in := newInbox(!c.opts.NoGRO)
	var n int
	var err error
	receive := func(fd uintptr) bool {
		n, err = in.receive(fd)
		return !errors.Is(err, unix.EAGAIN)
	}
	for c.raw.Read(receive) == nil {
		if err == nil { // or it is of a datagram that was sent before, as when the server has gone
			c.takeAll(in, n)
		}
	}
	if d := c.dozing.Load(); d != nil {
		c.readNowAndThen(d, in)
	}
}

func (c *Client) takeAll(in *inbox, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range n {
		c.take(in.run(i))
	}
}

// dozing is a client's socket that wakes nobody: a descriptor that nothing polls.
type dozing struct {
	fd    int
	every time.Duration
}

// Doze makes the client look for what arrived every so often only, from here on. Whoever sends on
// the same machine then does not pay for waking it up, which between machines nobody does. It is
// called once, after Connect.
func (c *Client) Doze(every time.Duration) error {
	fd := -1
	var err error
	failed := c.raw.Control(func(polled uintptr) {
		fd, err = unix.FcntlInt(polled, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(failed, err); err != nil {
		return fmt.Errorf("letting a client doze: %w", err)
	}
	c.dozing.Store(&dozing{fd, every})
	return c.socket.Close() // which takes it from the poller, and ends reading from it
}

func (c *Client) readNowAndThen(d *dozing, in *inbox) {
	ticker := time.NewTicker(d.every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-c.done:
			return
		}
		for {
			n, err := in.receive(uintptr(d.fd))
			if errors.Is(err, unix.EAGAIN) {
				break
			}
			if err == nil {
				c.takeAll(in, n)
			}
		}
	}
}

// writeTo sends a datagram, or drops it when the client dozes and its socket is full.
func (c *Client) writeTo(b []byte, to netip.AddrPort) error {
	if d := c.dozing.Load(); d != nil {
		return unix.Sendto(d.fd, b, unix.MSG_DONTWAIT, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	}
	_, err := c.socket.WriteToUDPAddrPort(b, to)
	return err
}

// take tells the protocols of a run apart (RFC 7983). It is called with c.mu held.
func (c *Client) take(run []byte, segment int, from netip.AddrPort, at time.Time) {
	for len(run) > 0 {
		b := run[:min(segment, len(run))]
		run = run[len(b):]
		switch first := b[0]; {
		case first <= 3:
			c.binding(b, from)
		case first >= 20 && first <= 63:
			_, _ = c.dtlsIn.Write(b, nil) // what is too much is lost, as anywhere on the way
		case first >= 128 && first <= 191 && len(b) >= 12:
			c.media(b, at)
		}
	}
}
