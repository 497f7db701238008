//go:build !linux

package transport

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// outlet sends single datagrams through one socket.
type outlet struct {
	socket *udpSocket
	packet []byte
	to     unix.Sockaddr
	err    error
}

func newOutlet(socket *udpSocket) *outlet { return &outlet{socket: socket} }

// send sends one datagram. It does not wait.
func (o *outlet) send(packet []byte, to netip.AddrPort) error {
	o.packet = packet
	if o.socket.v4 {
		o.to = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().Unmap().As4()}
	} else {
		o.to = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	if err := o.socket.raw.Control(o.transmit); err != nil {
		return err
	}
	return o.err
}

func (o *outlet) transmit(fd uintptr) {
	o.err = unix.Sendto(int(fd), o.packet, unix.MSG_DONTWAIT, o.to)
}
