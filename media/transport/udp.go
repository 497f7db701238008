package transport

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/stun/v4"
	"golang.org/x/sys/unix"

	"voiceroom.dev/voiceroom/media/red"
)

const (
	maxDatagram  = 2048 // above any path's MTU
	socketBuffer = 4 << 20
)

// udpSocket sends without ever waiting for room in the socket's buffer.
type udpSocket struct {
	conn    *net.UDPConn
	raw     syscall.RawConn
	v4      bool      // an AF_INET socket
	outlets sync.Pool // of *outlet
}

// listenUDP opens n sockets on one address, among which the kernel spreads the clients by their
// addresses (SO_REUSEPORT, socket(7)). Where that cannot be, one socket serves all.
func listenUDP(addr netip.AddrPort, n int, log *slog.Logger) ([]*udpSocket, error) {
	sockets, err := openUDP(addr, n)
	if err == nil || n == 1 {
		return sockets, err
	}
	one, failed := openUDP(addr, 1)
	if failed != nil {
		return nil, failed
	}
	log.Warn("one UDP socket serves all clients: several cannot share the address", "sockets", n, "error", err)
	return one, nil
}

func openUDP(addr netip.AddrPort, n int) ([]*udpSocket, error) {
	listen := net.ListenConfig{}
	if n > 1 {
		listen.Control = sharePort
	}
	sockets := make([]*udpSocket, 0, n)
	for range n {
		conn, err := listen.ListenPacket(context.Background(), "udp"+family(addr.Addr()), addr.String())
		if err != nil {
			closeUDP(sockets)
			return nil, err
		}
		sockets = append(sockets, newUDPSocket(conn.(*net.UDPConn), addr.Addr().Is4()))
	}
	return sockets, nil
}

// sharePort lets other sockets of this user have the same port.
func sharePort(_, _ string, raw syscall.RawConn) error {
	var err error
	if failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); failed != nil {
		return failed
	}
	return os.NewSyscallError("setsockopt SO_REUSEPORT", err)
}

func closeUDP(sockets []*udpSocket) {
	for _, s := range sockets {
		_ = s.conn.Close()
	}
}

func newUDPSocket(conn *net.UDPConn, v4 bool) *udpSocket {
	// The kernel caps both at net.core.[rw]mem_max; smaller buffers drop sooner, and are counted.
	_ = conn.SetReadBuffer(socketBuffer)
	_ = conn.SetWriteBuffer(socketBuffer)
	raw, _ := conn.SyscallConn() // fails only for the zero UDPConn
	s := &udpSocket{conn: conn, raw: raw, v4: v4}
	s.outlets.New = func() any { return newOutlet(s) }
	return s
}

// write sends one datagram or drops it with ErrWouldBlock. It goes by Control, which unlike Write does not wait for
// others that use the socket.
func (s *udpSocket) write(to netip.AddrPort, packet []byte) error {
	o := s.outlets.Get().(*outlet)
	err := o.send(packet, to)
	s.outlets.Put(o)
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
	blocks   []red.Block
	compound compound
	nacked   []uint16
}

func (s *Server) newReader() *reader {
	return &reader{
		server: s,
		plain:  make([]byte, 0, maxDatagram),
		blocks: make([]red.Block, 0, red.MaxBlocks),
		nacked: make([]uint16, 0, MaxNACK),
	}
}

// readUDP reads one socket until it is closed.
func (s *Server) readUDP(socket *udpSocket) {
	rd, in := s.newReader(), newInbox(socket)
	for {
		b, from, err := in.receive()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Error("read the media socket", "error", err)
			continue
		}
		rd.datagram(b, flow{addr: from, udp: socket}, time.Now())
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
