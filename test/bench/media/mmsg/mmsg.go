//go:build linux

// Package mmsg sends and receives many datagrams with one system call: sendmmsg(2) and recvmmsg(2) as they are,
// for those to whom what a wrapper costs matters.
package mmsg

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Header is struct mmsghdr: one datagram or, with UDP_SEGMENT or UDP_GRO, one run of them.
type Header struct {
	unix.Msghdr
	Length uint32 // received, in bytes
	_      [4]byte
}

// Send sends what the headers say, and returns how many of them it has sent. It waits if the socket does.
func Send(fd int, headers []Header) (int, error) {
	return call(unix.SYS_SENDMMSG, fd, headers, 0)
}

// Receive receives what is there, without waiting, into the headers, and returns how many of them it has
// filled: at least one, or the error is unix.EAGAIN.
func Receive(fd int, headers []Header) (int, error) {
	return call(unix.SYS_RECVMMSG, fd, headers, unix.MSG_DONTWAIT)
}

func call(trap uintptr, fd int, headers []Header, flags uintptr) (int, error) {
	for {
		n, _, errno := unix.Syscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&headers[0])), uintptr(len(headers)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
