package lossy

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// server answers each datagram with the same one, and remembers whom it was from.
type server struct {
	conn *net.UDPConn
	from chan netip.AddrPort
}

func newServer(t *testing.T) *server {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		t.Fatal(err)
	}
	s, done := &server{conn, make(chan netip.AddrPort, 4096)}, make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, maxDatagram)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			s.from <- from
			_, _ = conn.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return s
}

func (s *server) addr() netip.AddrPort { return s.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func newRelay(t *testing.T, to *server, cfg Config) *Relay {
	t.Helper()
	cfg.Listen, cfg.To = loopback, to.addr()
	r, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// peer is a client of a relay.
type peer struct {
	t    *testing.T
	conn *net.UDPConn
}

func dial(t *testing.T, r *Relay) *peer {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &peer{t, conn}
}

func (p *peer) send(n int) {
	p.t.Helper()
	if _, err := p.conn.Write(binary.BigEndian.AppendUint32(nil, uint32(n))); err != nil {
		p.t.Fatal(err)
	}
}

// hear returns the next number that comes back.
func (p *peer) hear() int {
	p.t.Helper()
	b := make([]byte, 4)
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := p.conn.Read(b); err != nil {
		p.t.Fatal(err)
	}
	return int(binary.BigEndian.Uint32(b))
}

const last = 1 << 20 // a number that ends a series

// through sends n numbers from 0, a multiple of 50, and returns those that come back, in order, when nothing is lost that is sent afterwards.
func (p *peer) through(r *Relay, n int) []int {
	p.t.Helper()
	for sent := 0; sent < n; {
		for range 50 { // as many as any socket's buffer holds
			p.send(sent)
			sent++
		}
		eventually(p.t, "all are forwarded or lost", func() bool {
			toServer, toClients := r.Counts()
			return toServer.Forwarded+toServer.Lost == uint64(sent) && toClients.Forwarded+toClients.Lost == toServer.Forwarded
		})
	}
	if err := r.Set(Network{}, Network{}); err != nil {
		p.t.Fatal(err)
	}
	p.send(last)
	var heard []int
	for {
		i := p.hear()
		if i == last {
			return heard
		}
		heard = append(heard, i)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

func TestForwardsForManyClients(t *testing.T) {
	s := newServer(t)
	r := newRelay(t, s, Config{})
	a, b := dial(t, r), dial(t, r)
	seen := map[netip.AddrPort]bool{}
	for i := range 50 {
		a.send(i)
		b.send(1000 + i)
		if got := []int{a.hear(), b.hear()}; !cmp.Equal(got, []int{i, 1000 + i}) {
			t.Fatalf("heard %d after %d", got, i)
		}
		seen[<-s.from], seen[<-s.from] = true, true
	}
	if len(seen) != 2 {
		t.Errorf("the server saw %d clients, not 2", len(seen))
	}
}

func TestLosesTheSameUnderASeed(t *testing.T) {
	run := func(cfg Config) []int {
		r := newRelay(t, newServer(t), cfg)
		return dial(t, r).through(r, 300)
	}
	downOnly := Config{Down: Network{Loss: 0.3}, Seed: 7}
	first := run(downOnly)
	if len(first) == 300 || len(first) < 150 || !slices.IsSorted(first) {
		t.Errorf("%d of 300 came through", len(first))
	}
	if second := run(downOnly); !cmp.Equal(first, second) {
		t.Errorf("another run lost others: %s", cmp.Diff(first, second))
	}
	if other := run(Config{Down: Network{Loss: 0.3}, Seed: 8}); cmp.Equal(first, other) {
		t.Error("another seed lost the same")
	}
	up := newRelay(t, newServer(t), Config{Up: Network{Loss: 0.3}, Seed: 7})
	dial(t, up).through(up, 300)
	toServer, toClients := up.Counts()
	if toServer.Lost == 0 || toClients.Lost != 0 {
		t.Errorf("lost on the way up: %+v, down: %+v", toServer, toClients)
	}
}

// With jitter alone the order stays.
func TestOrder(t *testing.T) {
	for name, reorder := range map[string]bool{"kept": false, "changed": true} {
		t.Run(name, func(t *testing.T) {
			r := newRelay(t, newServer(t), Config{Up: Network{Jitter: 20 * time.Millisecond, Reorder: reorder}, Seed: 1})
			p := dial(t, r)
			for i := range 100 {
				p.send(i)
			}
			heard := make([]int, 100)
			for i := range heard {
				heard[i] = p.hear()
			}
			if slices.IsSorted(heard) == reorder {
				t.Errorf("heard %v", heard)
			}
			slices.Sort(heard)
			if heard[0] != 0 || heard[99] != 99 || len(slices.Compact(heard)) != 100 {
				t.Errorf("not each once: %v", heard)
			}
		})
	}
}

func TestDelay(t *testing.T) {
	const delay = 30 * time.Millisecond
	r := newRelay(t, newServer(t), Config{Up: Network{Delay: delay}, Down: Network{Delay: delay}})
	p, began := dial(t, r), time.Now()
	p.send(1)
	p.hear()
	if passed := time.Since(began); passed < 2*delay { // it may take longer, never less
		t.Errorf("there and back in %v", passed)
	}
}

func TestTapSeesWhatIsLostToo(t *testing.T) {
	var seen [2]atomic.Int64
	r := newRelay(t, newServer(t), Config{Down: Network{Loss: 0.5}, Tap: func(client int, down bool, packet []byte) {
		if client != 0 || len(packet) != 4 {
			t.Errorf("client %d: %x", client, packet)
		}
		if down {
			seen[1].Add(1)
		} else {
			seen[0].Add(1)
		}
	}})
	heard := dial(t, r).through(r, 100)
	if u, d := seen[0].Load(), seen[1].Load(); u != 101 || d != 101 || len(heard) == 100 {
		t.Errorf("saw %d up and %d down of 101; %d came through", u, d, len(heard))
	}
}

func TestServerThatIsNotThereYet(t *testing.T) {
	s := newServer(t)
	at := s.addr()
	_ = s.conn.Close()
	r := newRelay(t, s, Config{})
	p := dial(t, r)
	p.send(1) // refused; the kernel tells the relay
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b := make([]byte, 4)
	eventually(t, "it comes through", func() bool {
		p.send(2)
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		n, err := conn.Read(b)
		return err == nil && n == 4
	})
}

func TestCloseDropsWhatIsOnItsWay(t *testing.T) {
	s := newServer(t)
	r := newRelay(t, s, Config{Up: Network{Delay: time.Hour}})
	dial(t, r).send(1)
	eventually(t, "it is held", func() bool { toServer, _ := r.Counts(); return toServer.Forwarded == 1 })
	r.Close()
	r.Close()
	if len(s.from) != 0 {
		t.Error("it was delivered")
	}
}
