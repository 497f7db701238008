package media_test

import (
	"io"
	"math"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/media"
	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// way is how a client's packets reach the pod and the pod's the client, through sockets that a test can leave unread or close.
type way struct {
	port int

	mu      sync.Mutex
	changed sync.Cond // what is below
	budget  int       // bytes that may still go down on a TCP connection
	closed  bool
	sockets []io.Closer
	running sync.WaitGroup
}

// unlimited is the budget of a client that reads as fast as it can.
const unlimited = math.MaxInt / 2

func newWay(t testing.TB, network, pod string) *way {
	t.Helper()
	w := &way{budget: unlimited}
	w.changed.L = &w.mu
	t.Cleanup(func() { w.cut(); w.running.Wait() })
	if network == "tcp4" {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		w.port = listener.Addr().(*net.TCPAddr).Port
		w.own(listener)
		w.running.Go(func() { w.accept(listener, pod) })
		return w
	}
	near, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	far, err := net.Dial("udp4", pod)
	if err != nil {
		t.Fatal(err)
	}
	w.port = near.LocalAddr().(*net.UDPAddr).Port
	w.own(near)
	w.own(far)
	w.running.Go(func() { w.datagrams(near, far) })
	return w
}

// own closes a socket when the way is cut. It is false if it was.
func (w *way) own(socket io.Closer) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		_ = socket.Close()
		return false
	}
	w.sockets = append(w.sockets, socket)
	return true
}

// cut closes all sockets: nobody says goodbye, and what comes for UDP is answered as unreachable.
func (w *way) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.changed.Broadcast()
	for _, s := range w.sockets {
		_ = s.Close()
	}
}

// let sets the budget.
func (w *way) let(bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.budget = bytes
	w.changed.Broadcast()
}

// await waits for a budget, and is 0 when the way is cut.
func (w *way) await() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.budget <= 0 && !w.closed {
		w.changed.Wait()
	}
	if w.closed {
		return 0
	}
	return w.budget
}

func (w *way) spend(bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.budget -= bytes
}

// datagrams are carried both ways, to the client that sent the last one.
func (w *way) datagrams(near *net.UDPConn, far net.Conn) {
	var client atomic.Pointer[net.UDPAddr]
	w.running.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, err := far.Read(buf)
			if err != nil {
				return
			}
			if to := client.Load(); to != nil {
				_, _ = near.WriteToUDP(buf[:n], to)
			}
		}
	})
	buf := make([]byte, 2048)
	for {
		n, from, err := near.ReadFromUDP(buf)
		if err != nil {
			return
		}
		client.Store(from)
		_, _ = far.Write(buf[:n])
	}
}

// accept carries streams: up as they come, down as the budget lets them.
func (w *way) accept(listener net.Listener, pod string) {
	small := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error { // a window of a few packets
		return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		far, err := small.Dial("tcp4", pod)
		if err != nil || !w.own(near) || !w.own(far) {
			_ = near.Close()
			continue
		}
		w.running.Go(func() { _, _ = io.Copy(far, near) })
		w.running.Go(func() { w.carryDown(near, far) })
	}
}

func (w *way) carryDown(near, far net.Conn) {
	buf := make([]byte, 256)
	for {
		n, err := far.Read(buf[:min(w.await(), len(buf))])
		if n == 0 || err != nil {
			return
		}
		w.spend(n)
		if _, err := near.Write(buf[:n]); err != nil {
			return
		}
	}
}

var podAddress = regexp.MustCompile(`(a=candidate:\S+ 1 \S+ \d+ 127\.0\.0\.1) \d+ typ`)

// joinBy joins by a way of its own.
func (p *pod) joinBy(subject string, o transporttest.Options) (*peer, *way) {
	p.t.Helper()
	network := "udp4"
	if o.TCP {
		network = "tcp4"
	}
	w := newWay(p.t, network, p.server.MediaAddr().String())
	c := p.associateAt(subject, o, func(answer string) string {
		return podAddress.ReplaceAllString(answer, "$1 "+strconv.Itoa(w.port)+" typ")
	})
	p.command("", room.Enter{Session: c.session})
	return c, w
}

// said are numbers of what a client heard somebody say on a slot, in order.
func (c *peer) said(mid string) (numbers []int) {
	for c.Pending(mid) > 0 {
		if text, ok := strings.CutPrefix(string(c.Packet(mid).Payload), "\xfcnumber "); ok {
			n, err := strconv.Atoi(strings.TrimRight(text, "."))
			if err != nil {
				c.pod.t.Fatal(err)
			}
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// One listener is gone without a word, one does not read, and one reads too slowly. Everybody else has each packet
// before the next one is said.
func TestSlowListeners(t *testing.T) {
	t.Parallel()
	for name, mics := range map[string]int{"at once": 9, "on a tick": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testSlowListeners(t, mics)
		})
	}
}

func testSlowListeners(t *testing.T, mics int) {
	p := newPod(t, func(c *media.Config) { c.ConsentTimeout = 6 * time.Second })
	p.put(func(r *mediaapi.PutRequest) { r.Spec.MaxMics = mics })
	udp, tcp := transporttest.Options{Uplink: true, Slots: 1, Data: true}, transporttest.Options{Uplink: true, Slots: 1, Data: true, TCP: true}
	ann := p.join(owner, udp)
	gone, goneBy := p.joinBy("key:shop:gone", udp)
	deaf, deafBy := p.joinBy("key:shop:deaf", tcp)
	slow, slowBy := p.joinBy("key:shop:slow", tcp)
	bob, eve := p.join("key:shop:bob", udp), p.join("key:shop:eve", tcp)
	const mid, said, size = "1", 200, 200
	say := func(n int) {
		text := "\xfcnumber " + strconv.Itoa(n)
		ann.say(text+strings.Repeat(".", size-len(text)), 20)
	}
	say(0)
	for _, c := range []*peer{gone, deaf, slow, bob, eve} {
		eventually(t, "number 0 is heard", func() bool { return c.Pending(mid) > 0 })
		c.said(mid)
	}

	goneBy.cut()
	deafBy.let(0)
	for n := 1; n <= said; n++ {
		slowBy.let(size / 2)
		say(n)
		for _, c := range []*peer{bob, eve} {
			eventually(t, "number "+strconv.Itoa(n)+" is heard", func() bool { return c.Pending(mid) > 0 })
			if got := c.said(mid); len(got) != 1 || got[0] != n {
				t.Fatalf("%v was heard, want %d", got, n)
			}
		}
	}

	missed := 0
	for c, w := range map[*peer]*way{deaf: deafBy, slow: slowBy} {
		w.let(unlimited)
		heard := map[int]bool{}
		eventually(t, "the connection has come back", func() bool { // what lies in the kernel comes first
			say(said + 1)
			for _, n := range c.said(mid) {
				heard[n] = true
			}
			return heard[said+1]
		})
		delete(heard, said+1)
		if len(heard) == said {
			t.Error("a client that did not read missed nothing")
		}
		missed += said - len(heard)
	}
	if dropped := p.metric(`packets_dropped_total{reason="unsendable"}`); dropped < missed {
		t.Errorf("%d packets are counted as dropped; %d were missed", dropped, missed)
	}
	eventually(t, "who is gone is missed", func() bool { return p.metric(`transport_events_total{event="lost"}`) == 1 })
}
