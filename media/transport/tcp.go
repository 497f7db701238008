package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// strangerTimeout is how long a TCP connection may take to pass a STUN check.
	strangerTimeout = 5 * time.Second
	// tcpBuffer bounds what the kernel queues for a slow client, and tcpUnsent what of it has not been
	// sent even once: late audio is worth nothing, and a revoked microphone's must not come out of it.
	tcpBuffer = 64 << 10
	tcpUnsent = 8 << 10
	frameHead = 2 // RFC 4571
)

// tcpConn is one accepted ICE-TCP connection.
type tcpConn struct {
	conn  *net.TCPConn
	raw   syscall.RawConn
	bound atomic.Bool // passed a check

	mu   sync.Mutex
	rest []byte // of a frame that the kernel took a part of only: zeros between two writes, but for the head
	do   func(fd uintptr) bool
	n    int
	err  error
}

// acceptTCP accepts connections until the listener is closed.
func (s *Server) acceptTCP() {
	strangers := strangers{from: map[netip.Addr]int{}}
	for {
		conn, err := s.tcp.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Error("accept a media connection", "error", err)
			select { // out of file descriptors, most likely
			case <-s.stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		remote := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
		if !strangers.admit(remote.Addr()) {
			s.counters.TCPRefused.Add(1)
			_ = conn.Close()
			continue
		}
		t, err := s.addTCP(conn)
		if err != nil {
			strangers.remove(remote.Addr())
			_ = conn.Close()
			continue
		}
		s.wg.Go(func() { s.readTCP(t, remote, &strangers) })
	}
}

// Bounds of the TCP connections that have not passed a STUN check yet: in all, and for one address, so
// that nobody can keep all others out.
const (
	maxStrangers        = 256
	maxStrangersFromOne = 32
)

// strangers counts them. IPv6 is counted by /64, of which one host has all.
type strangers struct {
	mu   sync.Mutex
	all  int
	from map[netip.Addr]int
}

func (s *strangers) admit(a netip.Addr) bool {
	a = network(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= maxStrangers || s.from[a] >= maxStrangersFromOne {
		return false
	}
	s.all++
	s.from[a]++
	return true
}

func (s *strangers) remove(a netip.Addr) {
	a = network(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.from[a]--; s.from[a] == 0 {
		delete(s.from, a)
	}
}

func network(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	prefix, _ := a.WithZone("").Prefix(64) // fails for lengths that no address has
	return prefix.Addr()
}

// addTCP registers an accepted connection so that Server.Close finds it.
func (s *Server) addTCP(conn *net.TCPConn) (*tcpConn, error) {
	_ = conn.SetWriteBuffer(tcpBuffer)
	_ = conn.SetReadDeadline(time.Now().Add(strangerTimeout))
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	t := &tcpConn{conn: conn, raw: raw}
	t.do = t.send
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrServerClosed
	}
	s.tcps[t] = struct{}{}
	return t, nil
}

// readTCP reads frames until the connection ends.
func (s *Server) readTCP(t *tcpConn, remote netip.AddrPort, strangers *strangers) {
	from := flow{addr: remote, tcp: t}
	rd, in, buf := s.newReader(), bufio.NewReaderSize(t.conn, maxDatagram), make([]byte, maxDatagram)
	stranger := true
	for {
		frame, err := readFrame(in, buf)
		if err != nil {
			break
		}
		rd.datagram(frame, from, time.Now())
		if stranger && t.bound.Load() {
			stranger = false
			strangers.remove(remote.Addr())
			_ = t.conn.SetReadDeadline(time.Time{}) // from here on the connection's consent decides
		}
	}
	if stranger {
		strangers.remove(remote.Addr())
		s.counters.TCPRefused.Add(1)
	}
	t.close()
	s.mu.Lock()
	delete(s.tcps, t)
	if c := s.flows[from.key()]; c != nil {
		s.unbind(c, from.key())
	}
	s.mu.Unlock()
}

// readFrame reads one packet into buf. Frames larger than buf end the connection.
func readFrame(in *bufio.Reader, buf []byte) ([]byte, error) {
	if _, err := io.ReadFull(in, buf[:frameHead]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(buf))
	if n > len(buf) {
		return nil, io.ErrShortBuffer
	}
	_, err := io.ReadFull(in, buf[:n])
	return buf[:n], err
}

func (s *Server) closeTCPs() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for t := range s.tcps {
		t.close()
	}
}

// close is safe on nil, so that a flow over UDP needs no case of its own.
func (t *tcpConn) close() {
	if t != nil {
		_ = t.conn.Close()
	}
}

// write sends one frame, or drops it with ErrWouldBlock. A frame that the kernel took only a part of
// is dropped too: it is finished before the next one, but with zeros, for whose audio it is may be revoked by then.
func (t *tcpConn) write(packet []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rest) > 0 {
		if err := t.flush(); err != nil {
			return err
		}
		if len(t.rest) > 0 {
			return ErrWouldBlock
		}
	}
	t.rest = binary.BigEndian.AppendUint16(t.rest, uint16(len(packet)))
	t.rest = append(t.rest, packet...)
	whole := len(t.rest)
	if err := t.flush(); err != nil {
		return err
	}
	if len(t.rest) == whole {
		t.rest = t.rest[:0]
		return ErrWouldBlock
	}
	if taken := whole - len(t.rest); len(t.rest) > 0 {
		clear(t.rest[max(frameHead-taken, 0):])
		return ErrWouldBlock
	}
	return nil
}

// flush writes what it can of t.rest. t.mu is held.
func (t *tcpConn) flush() error {
	if err := t.raw.Write(t.do); err != nil {
		return err
	}
	if errors.Is(t.err, unix.EAGAIN) {
		return nil
	}
	if t.err != nil {
		return t.err
	}
	t.rest = append(t.rest[:0], t.rest[t.n:]...)
	return nil
}

func (t *tcpConn) send(fd uintptr) bool {
	if unsent(fd) > tcpUnsent {
		t.n, t.err = 0, unix.EAGAIN
		return true
	}
	t.n, t.err = unix.SendmsgN(int(fd), t.rest, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return true // never wait
}
