//go:build linux

package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v5/packetio"
	"golang.org/x/sys/unix"
)

const (
	// FrameTime is the time that a frame plays, and frameSamples the same in ticks of its 48 kHz clock.
	FrameTime    = 20 * time.Millisecond
	frameSamples = 960
	// checkEvery is how often consent is checked, and reportEvery how often RTCP is sent.
	checkEvery  = 5 * time.Second
	reportEvery = time.Second
)

// Options shape a client and its offer.
type Options struct {
	Uplink bool // an m-line to talk on
	Slots  int  // m-lines to listen on
	Data   bool // the data channel "room"
	NoGRO  bool // take each packet for itself, which makes the kernel cut runs apart
}

// Client is one client.
type Client struct {
	opts   Options
	socket *net.UDPConn
	raw    syscall.RawConn
	dozing atomic.Pointer[dozing] // what is read in place of socket; nil: the client is awake
	local  netip.AddrPort
	ice    ice
	answer answer // set by Connect

	dtlsIn  *packetio.Buffer
	dtls    atomic.Pointer[dtls.Conn]
	reading sync.WaitGroup
	running sync.WaitGroup
	done    chan struct{}
	close   sync.Once

	out    sync.Mutex // guards what is sent
	seal   *srtp.Context
	uplink rtp.Header
	sent   uint32 // packets
	octets uint32

	mu      sync.Mutex // guards what was received
	open    *srtp.Context
	streams []*stream
	counts  Counts // less what the streams know
	plain   []byte
	samples []time.Duration
	next    chan<- time.Time // of capacity 1; nil: nobody waits
}

// New opens a client's socket on loopback.
func New(o Options) (*Client, error) {
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("opening a client's socket: %w", err)
	}
	raw, err := prepare(socket, !o.NoGRO)
	if err != nil {
		_ = socket.Close()
		return nil, fmt.Errorf("setting a client's socket up: %w", err)
	}
	c := &Client{opts: o, socket: socket, raw: raw, local: socket.LocalAddr().(*net.UDPAddr).AddrPort(), ice: newICE(),
		dtlsIn: packetio.NewBuffer(), done: make(chan struct{}),
		uplink: rtp.Header{Version: 2, PayloadType: opusType, SSRC: rand.Uint32(), SequenceNumber: uint16(rand.Uint32N(1 << 15)), Timestamp: rand.Uint32()}}
	c.reading.Go(c.read)
	return c, nil
}

// Addr is the client's address.
func (c *Client) Addr() netip.AddrPort { return c.local }

// Expect makes the client count streams that nobody has announced.
func (c *Client) Expect(ssrcs []uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ssrc := range ssrcs {
		c.streams = append(c.streams, &stream{ssrc: ssrc})
	}
}

// Connect takes the server's answer, and returns once media can flow and the data channel is open. It
// is called once; a client that did not connect is of no more use.
func (c *Client) Connect(ctx context.Context, sdp string) error {
	a, err := parseAnswer(sdp)
	if err != nil {
		return err
	}
	c.answer = a
	c.Expect(a.ssrcs)
	if err := c.check(ctx); err != nil {
		return err
	}
	if err := c.associate(ctx); err != nil {
		return err
	}
	c.running.Go(c.duties)
	return nil
}

// Send says one frame of 20 ms at a level from 0 (loudest) to 127 (RFC 6464). With stamp, its bytes 1
// to 8 become the time; it must be longer than that then. The frame is not kept.
func (c *Client) Send(frame []byte, level uint8, voice, stamp bool) error {
	c.out.Lock()
	defer c.out.Unlock()
	if c.seal == nil {
		return errors.New("sending a frame: there is no connection")
	}
	b := level & 0x7f
	if voice {
		b |= 0x80
	}
	if err := c.uplink.SetExtension(levelExtension, []byte{b}); err != nil {
		return fmt.Errorf("sending a frame: %w", err)
	}
	if stamp {
		frame = stamped(frame, time.Now())
	}
	packet, err := (&rtp.Packet{Header: c.uplink, Payload: frame}).Marshal()
	if err == nil {
		packet, err = c.seal.EncryptRTP(nil, packet, nil)
	}
	if err == nil {
		err = c.write(packet)
	}
	if err != nil {
		return fmt.Errorf("sending a frame: %w", err)
	}
	c.uplink.SequenceNumber++
	c.uplink.Timestamp += frameSamples
	c.sent++
	c.octets += uint32(len(frame))
	return nil
}

// Pause says that frames were left out for a while, as an encoder that stops in silence does.
func (c *Client) Pause(d time.Duration) {
	c.out.Lock()
	defer c.out.Unlock()
	c.uplink.Timestamp += uint32(d / FrameTime * frameSamples)
}

func (c *Client) write(b []byte) error {
	return c.writeTo(b, c.answer.server)
}

// duties does what is due now and then until the client is closed.
func (c *Client) duties() {
	// Clients that came together do not speak together.
	select {
	case <-time.After(rand.N(reportEvery)):
	case <-c.done:
		return
	}
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	for round := 0; ; round++ {
		if round%int(checkEvery/reportEvery) == 0 {
			_ = c.sendCheck() // the next one follows
		}
		_ = c.report()
		select {
		case <-ticker.C:
		case <-c.done:
			return
		}
	}
}

// Close ends the connection, tells the server, and waits for the client's goroutines.
func (c *Client) Close() {
	c.close.Do(func() {
		close(c.done)
		if d := c.dtls.Load(); d != nil {
			_ = d.Close() // says so to the server, and ends SCTP
		}
		c.running.Wait()
		_ = c.socket.Close()
		_ = c.dtlsIn.Close()
		c.reading.Wait()
		if d := c.dozing.Load(); d != nil {
			_ = unix.Close(d.fd)
		}
	})
}
