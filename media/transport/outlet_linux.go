package transport

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// outlet sends single datagrams through one socket, like inbox without telling Go's scheduler. One goroutine uses it at a
// time; it is pooled with its bound method, so that a send allocates nothing.
type outlet struct {
	socket *udpSocket
	packet []byte
	name   unix.RawSockaddrInet6 // or an Inet4, on an IPv4 socket
	size   uint32                // of name
	errno  unix.Errno
	do     func(fd uintptr)
}

func newOutlet(socket *udpSocket) *outlet {
	o := &outlet{socket: socket}
	o.do = o.transmit
	return o
}

// send sends one datagram. It does not wait.
func (o *outlet) send(packet []byte, to netip.AddrPort) error {
	o.packet, o.size = packet, o.socket.address(to, &o.name)
	err := o.socket.raw.Control(o.do)
	o.packet = nil
	if err == nil && o.errno != 0 {
		err = o.errno
	}
	return err
}

func (o *outlet) transmit(fd uintptr) {
	_, _, o.errno = unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(o.packet))), uintptr(len(o.packet)),
		unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&o.name)), uintptr(o.size))
}
