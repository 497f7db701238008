//go:build !linux

package transport

import "net/netip"

// inbox receives the datagrams of one socket, for one goroutine.
type inbox struct {
	socket *udpSocket
	buf    [maxDatagram]byte
}

func newInbox(socket *udpSocket) *inbox { return &inbox{socket: socket} }

// receive waits for a datagram, which is valid until the next call. The error is net.ErrClosed or passes.
func (in *inbox) receive() ([]byte, netip.AddrPort, error) {
	n, from, err := in.socket.conn.ReadFromUDPAddrPort(in.buf[:])
	return in.buf[:max(n, 0)], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
}
