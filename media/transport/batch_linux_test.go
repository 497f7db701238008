package transport

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// set sets a socket option.
func (s *udpSocket) set(t *testing.T, option, value int) {
	t.Helper()
	var err error
	if failed := s.raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, value)
	}); failed != nil || err != nil {
		t.Fatal(failed, err)
	}
}

// A socket without checksums cannot have its runs cut. That is found out as it happens, said once, and
// costs no packet: a run is refused in the middle of a batch, and the others go on.
func TestRunsRefused(t *testing.T) {
	var log bytes.Buffer
	s := newServerOn(t, Config{Listen: loopback, Sockets: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	c, h := reached(t, s, s.Addr())
	checksums := func(off int) { s.sockets[0].set(t, unix.SO_NO_CHECK, off) }
	b := s.NewBatch(0)
	var sent []byte
	round := func(runs int) {
		from := len(sent)
		for range runs {
			sent = append(sent, numbered(len(sent), 4, 100, 100)...)
		}
		sent = append(sent, numbered(len(sent), 1, 100, 100)...) // no run
		for packets := sent[from:]; len(packets) > 0; packets = packets[min(400, len(packets)):] {
			c.Queue(b, packets[:min(400, len(packets))], 100)
		}
		b.Flush()
		h.expect(sent[from:], 100)
	}
	checksums(1)
	round(maxRefusals - 1)
	checksums(0)
	round(1)
	checksums(1)
	round(maxRefusals - 1)
	if !c.Runs() {
		t.Error("runs were given up although some went well")
	}
	round(2)
	if c.Runs() {
		t.Error("runs were not given up")
	}
	round(3)
	counters := &s.counters
	if n := counters.Sent.Load(); n != uint64(len(sent)/100) {
		t.Errorf("%d packets are counted, %d were sent", n, len(sent)/100)
	}
	if n := counters.RunsRefused.Load(); n != 2*maxRefusals {
		t.Errorf("%d runs refused, want %d", n, 2*maxRefusals)
	}
	if n := counters.SentRuns.Load(); n != 1 {
		t.Errorf("%d runs sent, want 1", n)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d log lines, want 1:\n%s", n, &log)
	}
}

// A message that the network refuses is counted and skipped, whatever its place in the batch.
func TestBatchFailures(t *testing.T) {
	s := newServerOn(t, Config{Listen: loopback, Sockets: 1})
	c, h := reached(t, s, s.Addr())
	bad, _ := waiting(t, s)
	s.sockets[0].set(t, unix.SO_BROADCAST, 0)
	bad.ice.path.Store(&path{flow: flow{addr: netip.MustParseAddrPort("255.255.255.255:9")}}) // EACCES
	b := s.NewBatch(0)
	packets := numbered(0, 6, 100, 100)
	bad.Queue(b, packets[:300], 100)
	c.Queue(b, packets[:300], 100)
	bad.Queue(b, packets[:100], 100)
	bad.Queue(b, packets[:200], 100)
	c.Queue(b, packets[300:], 100)
	bad.Queue(b, packets[:100], 100)
	c.Queue(b, make([]byte, maxRun+1), maxRun+1) // EMSGSIZE
	b.Flush()
	h.expect(packets, 100)
	if n := &s.counters; n.Sent.Load() != 6 || n.SendFailed.Load() != 8 || n.SendDropped.Load() != 0 {
		t.Errorf("%d sent, %d failed, %d dropped; want 6, 8 and 0", n.Sent.Load(), n.SendFailed.Load(), n.SendDropped.Load())
	}
}

// The kernel spreads clients among the sockets; a client may move from one to another, and be sent to
// through each.
func TestSockets(t *testing.T) {
	s := newServerOn(t, Config{Listen: loopback, Sockets: 4})
	if s.Sockets() != 4 {
		t.Fatalf("%d sockets, want 4", s.Sockets())
	}
	c, first := reached(t, s, s.Addr())
	socket := func() *udpSocket { return c.ice.path.Load().udp }
	before, now := socket(), first
	for tries := 0; socket() == before; tries++ {
		if tries == 100 {
			t.Fatal("100 addresses of the client, and all led to one socket")
		}
		now = newHost(t, s)
		now.check(c.ice.current, useCandidate())
		if c.Remote() != now.addr {
			t.Fatalf("the path is %s, the client moved to %s", c.Remote(), now.addr)
		}
	}
	for i := range s.Sockets() + 1 {
		b := s.NewBatch(i)
		packets := numbered(i, 3, 100, 100)
		c.Queue(b, packets, 100)
		b.Flush()
		now.expect(packets, 100)
	}
	first.check(c.ice.current, useCandidate()) // and back
	if c.Remote() != first.addr || socket() != before {
		t.Error("the client could not move back")
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.flows) > maxFlows {
		t.Errorf("%d flows of one client", len(s.flows))
	}
}
