//go:build linux

package client

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxRun       = 64 << 10 // bytes of a run
	socketBuffer = 1 << 20
)

// prepare makes the kernel say when datagrams arrive and, with gro, hand runs over whole.
func prepare(socket *net.UDPConn, gro bool) error {
	if err := socket.SetReadBuffer(socketBuffer); err != nil {
		return err
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		if gro && err == nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 1)
		}
	})
	return errors.Join(failed, err)
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

// read takes what arrives until the socket is closed.
func (c *Client) read() {
	run, oob := make([]byte, maxRun), make([]byte, unix.CmsgSpace(4)+unix.CmsgSpace(16))
	for {
		n, said, _, from, err := c.socket.ReadMsgUDPAddrPort(run, oob)
		if err != nil {
			return // closed: nothing else ends an unconnected socket
		}
		segment, at := control(oob[:said])
		if segment == 0 {
			segment = n
		}
		c.take(run[:n], segment, from, at)
	}
}

// take tells the protocols of a run apart (RFC 7983).
func (c *Client) take(run []byte, segment int, from netip.AddrPort, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
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
