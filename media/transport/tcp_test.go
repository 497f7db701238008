package transport

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
)

func dialTCP(t *testing.T, s *Server) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(s.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func frameOf(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// A client that does not read is not waited for, and what it gets is whole frames.
func TestSlowTCPClient(t *testing.T) {
	s := newServer(t)
	c, _ := waiting(t, s)
	conn := dialTCP(t, s)
	if _, err := conn.Write(frameOf(request(c.ice.current, c.ice.current.pwd))); err != nil {
		t.Fatal(err)
	}
	in, buf := bufio.NewReader(conn), make([]byte, maxDatagram)
	if _, err := readFrame(in, buf); err != nil {
		t.Fatalf("no response: %v", err)
	}
	sent := 0
	packet := make([]byte, 1200)
	for {
		binary.BigEndian.PutUint32(packet, uint32(sent))
		err := c.write(packet)
		if errors.Is(err, ErrWouldBlock) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sent++
	}
	if s.counters.SendDropped.Load() != 1 {
		t.Error("the drop is not counted")
	}
	waiting := 0
	if err := c.ice.path.Load().tcp.raw.Control(func(fd uintptr) { waiting = unsent(fd) }); err != nil {
		t.Fatal(err)
	}
	if most := tcpUnsent + frameHead + len(packet); waiting > most {
		t.Errorf("%d bytes wait to be sent for the first time, at most %d may", waiting, most)
	}
	_ = conn.SetReadDeadline(time.Now().Add(transporttest.Patience))
	for i := range sent {
		frame, err := readFrame(in, buf)
		if err != nil || len(frame) != len(packet) || binary.BigEndian.Uint32(frame) != uint32(i) {
			t.Fatalf("frame %d: %d bytes, %v", i, len(frame), err)
		}
	}
	binary.BigEndian.PutUint32(packet, uint32(sent)) // there is room again
	for errors.Is(c.write(packet), ErrWouldBlock) {
	}
	frame, err := readFrame(in, buf)
	if err != nil || len(frame) != len(packet) || binary.BigEndian.Uint32(frame) != uint32(sent) {
		t.Fatalf("frame %d: %d bytes, %v", sent, len(frame), err)
	}
}

// What the kernel had no room for of a frame is not sent later, when it may have been revoked: the frame ends in zeros.
func TestTCPFrameIsCut(t *testing.T) {
	s := newServer(t)
	c, _ := waiting(t, s)
	conn := dialTCP(t, s)
	if _, err := conn.Write(frameOf(request(c.ice.current, c.ice.current.pwd))); err != nil {
		t.Fatal(err)
	}
	in, buf := bufio.NewReader(conn), make([]byte, 1<<16)
	if _, err := readFrame(in, buf); err != nil {
		t.Fatalf("no response: %v", err)
	}
	to := c.ice.path.Load().tcp
	_ = to.conn.SetWriteBuffer(1) // the kernel takes more, but less than a frame of this size
	long := bytes.Repeat([]byte{7}, 60_000)
	if err := to.write(long); !errors.Is(err, ErrWouldBlock) || len(to.rest) == 0 {
		t.Fatalf("a frame larger than the kernel's buffer: %v, %d bytes are left", err, len(to.rest))
	}
	whole := len(long) - len(to.rest)
	_ = conn.SetReadDeadline(time.Now().Add(transporttest.Patience))
	read := make(chan []byte)
	go func() {
		for {
			frame, err := readFrame(in, buf)
			if err != nil {
				close(read)
				return
			}
			read <- bytes.Clone(frame)
		}
	}()
	for to.write([]byte("next")) != nil {
		runtime.Gosched()
	}
	if cut := transporttest.Receive(t, read, "the frame"); len(cut) != len(long) || !bytes.Equal(bytes.TrimRight(cut, "\x00"), long[:whole]) {
		t.Errorf("%d bytes, of which %d are not zeros; want %d and %d", len(cut), len(bytes.TrimRight(cut, "\x00")), len(long), whole)
	}
	if next := transporttest.Receive(t, read, "the next frame"); string(next) != "next" {
		t.Errorf("then came %q", next)
	}
	_ = conn.Close()
	<-read
}

func TestTCPStrangers(t *testing.T) {
	s := newServer(t)
	oversized := dialTCP(t, s)
	if _, err := oversized.Write([]byte{0xff, 0xff, 1}); err != nil {
		t.Fatal(err)
	}
	_ = oversized.SetReadDeadline(time.Now().Add(transporttest.Patience))
	if _, err := oversized.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an oversized frame did not end the connection: %v", err)
	}
	waitFor(t, "refused", s.counters.TCPRefused.Load, 1)

	// A stranger's time is up.
	dialTCP(t, s)
	waitFor(t, "known TCP connections", func() uint64 {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return uint64(len(s.tcps))
	}, 1)
	s.mu.RLock()
	for tc := range s.tcps {
		_ = tc.conn.SetReadDeadline(time.Now())
	}
	s.mu.RUnlock()
	waitFor(t, "refused", s.counters.TCPRefused.Load, 2)
}

// One address cannot keep the others out, and the others not everybody.
func TestStrangersAreBounded(t *testing.T) {
	s := strangers{from: map[netip.Addr]int{}}
	fill := func(address string, want int) {
		t.Helper()
		n := 0
		for a := netip.MustParseAddr(address); s.admit(a); n++ {
			if a.Is6() {
				a = a.Next() // in the same /64
			}
		}
		if n != want {
			t.Errorf("%d connections of %s, want %d", n, address, want)
		}
	}
	fill("192.0.2.1", maxStrangersFromOne)
	fill("2001:db8::1", maxStrangersFromOne)
	for range maxStrangersFromOne {
		s.remove(netip.MustParseAddr("192.0.2.1"))
	}
	fill("2001:db8::99", 0)
	if len(s.from) != 1 {
		t.Errorf("%d addresses are remembered, want 1", len(s.from))
	}
	for i := range byte(maxStrangers/maxStrangersFromOne - 1) {
		fill(netip.AddrFrom4([4]byte{198, 51, 100, i}).String(), maxStrangersFromOne)
	}
	fill("203.0.113.1", 0)
}

// A TCP connection belongs to its client: it ends with it.
func TestTCPEndsWithConnection(t *testing.T) {
	s := newServer(t)
	c, h := waiting(t, s)
	conn := dialTCP(t, s)
	if _, err := conn.Write(frameOf(request(c.ice.current, c.ice.current.pwd))); err != nil {
		t.Fatal(err)
	}
	in, buf := bufio.NewReader(conn), make([]byte, maxDatagram)
	if _, err := readFrame(in, buf); err != nil {
		t.Fatalf("no response: %v", err)
	}
	c.Close(ErrLost)
	transporttest.Receive(t, h.closed, "Closed")
	_ = conn.SetReadDeadline(time.Now().Add(transporttest.Patience))
	if _, err := readFrame(in, buf); !errors.Is(err, io.EOF) {
		t.Errorf("the connection did not end: %v", err)
	}
}

func TestReadFrame(t *testing.T) {
	server, client := net.Pipe()
	defer func() { _ = client.Close() }()
	go func() {
		for _, b := range []byte{0, 3, 'a', 'b', 'c', 0, 0, 0, 1, 'd'} { // in the smallest pieces
			_, _ = server.Write([]byte{b})
		}
		_ = server.Close()
	}()
	in, buf := bufio.NewReader(client), make([]byte, 16)
	for _, want := range []string{"abc", "", "d"} {
		got, err := readFrame(in, buf)
		if err != nil || string(got) != want {
			t.Errorf("frame %q, %v; want %q", got, err, want)
		}
	}
	if _, err := readFrame(in, buf); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}
