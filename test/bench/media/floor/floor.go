//go:build linux

// Package floor is the least that sending a room's audio can cost: each packet is sealed for its listener
// with the AES-GCM of the standard library, all packets of a listener leave as one run (UDP_SEGMENT), and the
// runs of many listeners in one call (sendmmsg). Nothing is received, decided, reported or sent again.
package floor

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"voiceroom.dev/voiceroom/test/bench/media/mmsg"
)

const (
	// FrameTime is between two packets of a talker.
	FrameTime = 20 * time.Millisecond
	// batch is how many runs leave in one call.
	batch = 64
	// header is what comes before the payload in the packets of the media server: 12 bytes, a CSRC, an audio level.
	header = 12 + 4 + 8
	tag    = 16
)

// SSRC is that of a talker, the same for all listeners.
func SSRC(talker int) uint32 { return uint32(talker + 1) }

// Sender sends to listeners what talkers say. It is for one goroutine.
type Sender struct {
	fd        int
	aead      cipher.AEAD
	nonce     [12]byte
	sent      uint64 // packets ever: no nonce comes twice
	sequence  uint16
	frames    [][]byte
	talkers   int
	addresses []unix.RawSockaddrInet4

	memory   []byte // of the runs of one batch
	headers  [batch]mmsg.Header
	vectors  [batch]unix.Iovec
	controls [batch]segmentControl
}

// segmentControl is the control message that says how long a packet of a run is.
type segmentControl struct {
	unix.Cmsghdr
	segment uint16
	_       [6]byte
}

// New makes a sender of as many talkers, who say frames one after the other, each from another one on.
func New(talkers int, frames [][]byte) (*Sender, error) {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		return nil, fmt.Errorf("setting AES up: %w", err)
	}
	s := &Sender{talkers: talkers, frames: frames}
	if s.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("setting GCM up: %w", err)
	}
	if s.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("opening a socket: %w", err)
	}
	return s, nil
}

// Close closes the socket.
func (s *Sender) Close() error { return unix.Close(s.fd) }

// Add adds listeners. They are IPv4.
func (s *Sender) Add(listeners []netip.AddrPort) {
	for _, l := range listeners {
		sa := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: l.Addr().As4()}
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], l.Port())
		s.addresses = append(s.addresses, sa)
	}
}

// Tick sends one packet of each talker to each listener. tick counts from 0.
func (s *Sender) Tick(tick int) error {
	longest := 0
	for t := range s.talkers {
		longest = max(longest, len(s.frame(t, tick)))
	}
	segment := header + longest + tag
	run := segment * s.talkers
	if len(s.memory) < batch*run {
		s.memory = make([]byte, batch*run)
	}
	for from := 0; from < len(s.addresses); from += batch {
		n := min(batch, len(s.addresses)-from)
		for i := range n {
			b := s.memory[i*run : (i+1)*run]
			for t := range s.talkers {
				s.build(b[t*segment:(t+1)*segment], t, s.frame(t, tick))
			}
			s.queue(i, &s.addresses[from+i], b, segment)
		}
		if err := s.flush(n); err != nil {
			return err
		}
	}
	s.sequence++
	return nil
}

// frame is what a talker says at a tick: talkers lie some frames apart.
func (s *Sender) frame(talker, tick int) []byte { return s.frames[(tick+31*talker)%len(s.frames)] }

// build writes and seals one packet that fills b, with RTP padding (RFC 3550, section 5.1).
func (s *Sender) build(b []byte, talker int, frame []byte) {
	b[0], b[1] = 2<<6|1<<4|1, 111
	payload := b[header : len(b)-tag]
	copy(payload, frame)
	if padding := len(payload) - len(frame); padding > 0 {
		b[0] |= 1 << 5
		clear(payload[len(frame):])
		payload[len(payload)-1] = byte(padding)
	}
	binary.BigEndian.PutUint16(b[2:], s.sequence)
	binary.BigEndian.PutUint32(b[4:], uint32(s.sequence)*960)
	binary.BigEndian.PutUint32(b[8:], SSRC(talker))
	s.sent++
	binary.BigEndian.PutUint64(s.nonce[4:], s.sent)
	s.aead.Seal(payload[:0], s.nonce[:], payload, b[:header])
}

// queue makes one message of a run. Its memory must not change until flush.
func (s *Sender) queue(i int, to *unix.RawSockaddrInet4, run []byte, segment int) {
	v, c := &s.vectors[i], &s.controls[i]
	v.Base = &run[0]
	v.SetLen(len(run))
	h := &s.headers[i].Msghdr
	*h = unix.Msghdr{Name: (*byte)(unsafe.Pointer(to)), Namelen: unix.SizeofSockaddrInet4, Iov: v}
	h.SetIovlen(1)
	if s.talkers == 1 {
		return
	}
	c.Level, c.Type, c.segment = unix.SOL_UDP, unix.UDP_SEGMENT, uint16(segment)
	c.SetLen(unix.CmsgLen(2))
	h.Control = (*byte)(unsafe.Pointer(c))
	h.SetControllen(unix.CmsgSpace(2))
}

// flush hands n messages to the kernel.
func (s *Sender) flush(n int) error {
	for left := s.headers[:n]; len(left) > 0; {
		sent, err := mmsg.Send(s.fd, left)
		if err != nil {
			return fmt.Errorf("sending %d runs: %w", len(left), err)
		}
		left = left[sent:]
	}
	return nil
}
