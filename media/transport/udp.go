package transport

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/stun/v4"
	"golang.org/x/sys/unix"
)

const (
	maxDatagram  = 2048 // above any path's MTU
	socketBuffer = 4 << 20
)

// udpSocket sends without ever waiting for room in the socket's buffer.
type udpSocket struct {
	conn  *net.UDPConn
	raw   syscall.RawConn
	local netip.AddrPort
	v4    bool      // an AF_INET socket
	sends sync.Pool // of *udpSend
}

func listenUDP(addr netip.AddrPort) (*udpSocket, error) {
	conn, err := net.ListenUDP("udp"+family(addr.Addr()), net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	// The kernel caps both at net.core.[rw]mem_max; smaller buffers drop sooner, and are counted.
	_ = conn.SetReadBuffer(socketBuffer)
	_ = conn.SetWriteBuffer(socketBuffer)
	raw, err := conn.SyscallConn()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	s := &udpSocket{conn: conn, raw: raw, v4: addr.Addr().Is4(), local: netip.AddrPortFrom(local.Addr().Unmap(), local.Port())}
	s.sends.New = func() any {
		u := &udpSend{}
		u.do = u.send
		return u
	}
	return s, nil
}

// udpSend is one sendto. It is pooled with its bound method, so that a send allocates nothing.
type udpSend struct {
	packet []byte
	to     unix.Sockaddr
	sa4    unix.SockaddrInet4
	sa6    unix.SockaddrInet6
	err    error
	do     func(fd uintptr) bool
}

func (u *udpSend) send(fd uintptr) bool {
	u.err = unix.Sendto(int(fd), u.packet, unix.MSG_DONTWAIT, u.to)
	return true // never wait
}

// write sends one datagram or drops it with ErrWouldBlock.
func (s *udpSocket) write(to netip.AddrPort, packet []byte) error {
	u := s.sends.Get().(*udpSend)
	u.packet = packet
	if s.v4 {
		u.sa4.Port, u.sa4.Addr = int(to.Port()), to.Addr().Unmap().As4()
		u.to = &u.sa4
	} else {
		u.sa6.Port, u.sa6.Addr = int(to.Port()), to.Addr().As16()
		u.to = &u.sa6
	}
	err := s.raw.Write(u.do)
	if err == nil {
		err = u.err
	}
	u.packet = nil
	s.sends.Put(u)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOBUFS) {
		return ErrWouldBlock
	}
	return err
}

// reader is what one reading goroutine needs for itself, so that a datagram allocates nothing.
type reader struct {
	server   *Server
	msg      stun.Message
	header   rtp.Header
	plain    []byte
	packet   Packet
	compound compound
	nacked   []uint16
}

func (s *Server) newReader() *reader {
	return &reader{server: s, plain: make([]byte, 0, maxDatagram), nacked: make([]uint16, 0, MaxNACK)}
}

// readUDP reads one socket until it is closed.
func (s *Server) readUDP(socket *udpSocket) {
	rd, buf := s.newReader(), make([]byte, maxDatagram)
	for {
		n, from, err := socket.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Error("read the media socket", "error", err)
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		rd.datagram(buf[:n], flow{addr: from, udp: socket}, time.Now())
	}
}

// datagram handles one datagram of a flow: RFC 7983 by its first byte.
func (rd *reader) datagram(b []byte, from flow, now time.Time) {
	s := rd.server
	if len(b) == 0 {
		s.counters.DroppedMalformed.Add(1)
		return
	}
	first := b[0]
	if first <= 3 {
		rd.binding(b, from, now)
		return
	}
	isDTLS, isRTP := first >= 20 && first <= 63, first >= 128 && first <= 191
	if !isDTLS && !isRTP {
		s.counters.DroppedMalformed.Add(1)
		return
	}
	s.mu.RLock()
	c := s.flows[from.key()]
	s.mu.RUnlock()
	switch {
	case c == nil:
		s.counters.DroppedUnverified.Add(1)
	case isDTLS:
		c.receiveDTLS(b)
	default:
		rd.receive(c, b, now)
	}
}
