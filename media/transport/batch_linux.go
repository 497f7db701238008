package transport

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many messages one system call takes; more would not make it cheaper.
const batchSize = 64

// offload is what of the kernel can be used. It belongs to a Server.
type offload struct {
	segments atomic.Bool  // UDP_SEGMENT
	refusals atomic.Int32 // of runs, in a row
	oneByOne atomic.Bool  // sendmmsg is missing
}

// probe finds out whether the kernel knows UDP_SEGMENT (Linux 4.18).
func (s *Server) probe() {
	var err error
	if failed := s.sockets[0].raw.Control(func(fd uintptr) {
		_, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT)
	}); failed != nil {
		err = failed
	}
	if err != nil {
		s.log.Warn("packets are sent one by one: the kernel has no UDP generic segmentation offload", "error", err)
	}
	s.offload.segments.Store(err == nil)
}

func (s *Server) segmenting() bool { return s.offload.segments.Load() }

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	sent uint32
}

// control is the control message that has a payload cut into segments. It is as large as
// CMSG_SPACE(sizeof(uint16)), for the compiler pads it as the macro does.
type control struct {
	unix.Cmsghdr
	segment uint16
}

// messages are the queued ones: what lies at one index of its arrays belongs together, and headers
// point to the rest.
type messages struct {
	waiting  int
	headers  [batchSize]mmsghdr
	names    [batchSize]unix.RawSockaddrInet6 // or an Inet4, on an IPv4 socket
	vectors  [batchSize]unix.Iovec
	controls [batchSize]control
	flush    func(fd uintptr)
}

func (m *messages) init(b *Batch) {
	m.flush = b.transmit
	for i := range m.headers {
		h, c := &m.headers[i], &m.controls[i]
		h.Name = (*byte)(unsafe.Pointer(&m.names[i]))
		h.Iov = &m.vectors[i]
		h.SetIovlen(1)
		c.Level, c.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		c.SetLen(unix.CmsgLen(2))
	}
}

// add queues one message: a packet, or a run of segments. A full batch is sent first.
func (b *Batch) add(to netip.AddrPort, packets []byte, segment int) {
	if b.waiting == batchSize {
		b.send()
	}
	i := b.waiting
	b.waiting++
	h := &b.headers[i]
	h.Namelen = b.socket.address(to, &b.names[i])
	h.Iov.Base = &packets[0]
	h.Iov.SetLen(len(packets))
	h.Control = nil
	h.SetControllen(0)
	if len(packets) > segment {
		b.controls[i].segment = uint16(segment)
		h.Control = (*byte)(unsafe.Pointer(&b.controls[i]))
		h.SetControllen(int(unsafe.Sizeof(control{})))
	}
}

// address writes an address of the socket's family to sa and returns its length.
func (s *udpSocket) address(a netip.AddrPort, sa *unix.RawSockaddrInet6) uint32 {
	if s.v4 {
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		sa4.Family, sa4.Addr = unix.AF_INET, a.Addr().Unmap().As4()
		setPort(&sa4.Port, a.Port())
		return unix.SizeofSockaddrInet4
	}
	sa.Family, sa.Addr = unix.AF_INET6, a.Addr().As16()
	setPort(&sa.Port, a.Port())
	return unix.SizeofSockaddrInet6
}

// setPort writes a port in network order.
func setPort(field *uint16, port uint16) {
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(field))[:], port)
}

// send sends what is queued. Control, unlike Write, does not wait for others that use the socket.
func (b *Batch) send() {
	if b.waiting == 0 {
		return
	}
	if err := b.socket.raw.Control(b.flush); err != nil { // closed
		for i := range b.waiting {
			b.tally.failed += b.size(i)
		}
	}
	b.waiting = 0
}

// size is the number of packets of a queued message.
func (b *Batch) size(i int) uint64 {
	h := &b.headers[i]
	if h.Control == nil {
		return 1
	}
	segment := int(b.controls[i].segment)
	return uint64((int(h.Iov.Len) + segment - 1) / segment)
}

// transmit hands the queued messages to the kernel. One that fails is dropped, and the next one tried.
func (b *Batch) transmit(fd uintptr) {
	for i := 0; i < b.waiting; {
		n, err := b.call(fd, i)
		if err != 0 {
			b.fail(fd, i, err)
			i++
			continue
		}
		for end := i + n; i < end; i++ {
			b.note(b.size(i), 0)
			if b.headers[i].Control != nil {
				b.tally.runs++
				b.server.offload.accepted()
			}
		}
	}
}

// call sends messages from the one at i on, and returns how many the kernel took. With an error, it is that of
// the first of them.
func (b *Batch) call(fd uintptr, i int) (int, unix.Errno) {
	one := &b.server.offload.oneByOne
	if !one.Load() {
		b.tally.calls++
		// It does not wait either: see inbox.
		n, _, err := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.headers[i])), uintptr(b.waiting-i), unix.MSG_DONTWAIT, 0, 0)
		if err != unix.ENOSYS {
			return int(n), err
		}
		if one.CompareAndSwap(false, true) {
			b.server.log.Warn("messages are sent one by one: the kernel has no sendmmsg")
		}
	}
	return 1, b.callOne(fd, i)
}

// callOne sends the message at i.
func (b *Batch) callOne(fd uintptr, i int) unix.Errno {
	b.tally.calls++
	_, _, err := unix.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&b.headers[i].Msghdr)), unix.MSG_DONTWAIT)
	return err
}

// note counts packets that had the same fate.
func (b *Batch) note(packets uint64, err unix.Errno) {
	switch err {
	case 0:
		b.tally.sent += packets
	case unix.EAGAIN, unix.ENOBUFS:
		b.tally.dropped += packets
	default:
		b.tally.failed += packets
	}
}

// fail deals with a message that the kernel did not take. A run that it cannot cut goes out packet by
// packet: EIO, or EINVAL, says that this way to the client has no checksum offload, for instance
// through IPsec; EMSGSIZE, and EINVAL of kernels before 6.14, that a segment is larger than the path's
// MTU, which only single packets may be.
func (b *Batch) fail(fd uintptr, i int, err unix.Errno) {
	h := &b.headers[i]
	if h.Control == nil || err != unix.EIO && err != unix.EINVAL && err != unix.EMSGSIZE {
		b.note(b.size(i), err)
		return
	}
	b.tally.refused++
	if err != unix.EMSGSIZE {
		b.server.refused(err)
	}
	run, segment := unsafe.Slice(h.Iov.Base, h.Iov.Len), int(b.controls[i].segment)
	h.Control = nil
	h.SetControllen(0)
	for len(run) > 0 {
		n := min(segment, len(run))
		h.Iov.Base = &run[0]
		h.Iov.SetLen(n)
		b.note(1, b.callOne(fd, i))
		run = run[n:]
	}
}

// accepted notes a run that the kernel took.
func (o *offload) accepted() {
	if o.refusals.Load() != 0 {
		o.refusals.Store(0)
	}
}

// refused notes a run that the kernel did not take.
func (s *Server) refused(err error) {
	if s.offload.refusals.Add(1) >= maxRefusals && s.offload.segments.CompareAndSwap(true, false) {
		s.log.Warn("packets are sent one by one from here on: the kernel refuses to segment them", "error", err)
	}
}
