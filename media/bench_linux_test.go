package media

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"net"
	"net/netip"
	"regexp"
	"runtime"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"golang.org/x/sys/unix"

	"voiceroom.dev/voiceroom/media/egress"
	"voiceroom.dev/voiceroom/media/transport"
	"voiceroom.dev/voiceroom/media/transport/transporttest"
)

// ready is a transport.Handler that tells when the connection stands.
type ready struct {
	deaf
	connected chan struct{}
}

func (r ready) Connected() { close(r.connected) }

// sink is a socket that takes whatever is sent to a listener, and drops it: the receiver's work is not ours.
type sink struct {
	conn *net.UDPConn
	addr netip.AddrPort
}

func newSink(b *testing.B) sink {
	b.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}) // not connected: the floor sends to it too
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return sink{conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()}
}

var iceCredential = regexp.MustCompile(`a=ice-(ufrag|pwd):(\S+)`)

// take moves a client's connection to the sink, as a client that roams would.
func (s sink) take(b *testing.B, server netip.AddrPort, offer, answer []byte) {
	b.Helper()
	theirs, ours := iceCredential.FindAllSubmatch(offer, 2), iceCredential.FindAllSubmatch(answer, 2)
	check, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(string(ours[0][2])+":"+string(theirs[0][2])),
		stun.RawAttribute{Type: stun.AttrUseCandidate},
		stun.RawAttribute{Type: stun.AttrPriority, Value: binary.BigEndian.AppendUint32(nil, 1<<31-1)},
		stun.NewShortTermIntegrity(string(ours[1][2])), stun.Fingerprint)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.conn.WriteToUDPAddrPort(check.Raw, server); err != nil {
		b.Fatal(err)
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(transporttest.Patience))
	if _, err := s.conn.Read(make([]byte, 1500)); err != nil {
		b.Fatalf("no answer to the check: %v", err)
	}
	if err := s.conn.SetReadBuffer(1); err != nil {
		b.Fatal(err)
	}
}

// audience is a forwarder with many listeners on real connections.
type audience struct {
	*forwarder
	server *transport.Server
	sinks  []sink
}

func newAudience(b *testing.B, tick time.Duration, listeners, slots int) *audience {
	b.Helper()
	certificate, err := transport.NewCertificate()
	if err != nil {
		b.Fatal(err)
	}
	server, err := transport.Listen(transport.Config{Listen: netip.MustParseAddrPort("127.0.0.1:0"), Certificate: certificate})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Close)
	a := &audience{forwarder: newForwarder(tick, server.Sockets(), server.NewBatch), server: server}
	b.Cleanup(a.stop)
	for range listeners {
		a.join(b, slots)
	}
	return a
}

func (a *audience) join(b *testing.B, slots int) {
	b.Helper()
	client := transporttest.New(b, transporttest.Options{Slots: slots})
	sdp := client.Offer()
	offer, err := transport.ParseOffer(sdp)
	if err != nil {
		b.Fatal(err)
	}
	h := ready{connected: make(chan struct{})}
	conn, answer, err := a.server.Accept(offer, h)
	if err != nil {
		b.Fatal(err)
	}
	client.Answer(answer)
	transporttest.Receive(b, h.connected, "the connection")
	out, err := egress.New(conn)
	if err != nil {
		b.Fatal(err)
	}
	s := newSink(b)
	s.take(b, a.server.Addr(), sdp, answer)
	if conn.Remote() != s.addr {
		b.Fatal("the connection did not move to the sink")
	}
	a.sinks = append(a.sinks, s)
	a.enter(&session{id: s.addr.String(), conn: conn}, out, time.Now())
}

// threadTime is the CPU time that the calling thread has used: other work on the machine does not count.
func threadTime(b *testing.B) time.Duration {
	b.Helper()
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// BenchmarkForward is the CPU that one packet to one listener costs, from the uplink's packet to the
// socket: 10 talkers on 10 slots of each of 100 listeners, who are served at once, or on a tick, so that
// their packets leave in runs. The floor is what cannot be saved while each packet is sealed for its listener
// and sent by a call of its own: AES-GCM of the standard library, and a
// send of the same size to the same sockets. The drop counters say whether all was sent.
func BenchmarkForward(b *testing.B) {
	// No tick comes by itself: who is served then is served by this thread, whose time is measured.
	for name, tick := range map[string]time.Duration{"at-once": 0, "on-a-tick": time.Hour} {
		b.Run(name, func(b *testing.B) { benchmarkForward(b, tick) })
	}
}

func benchmarkForward(b *testing.B, tick time.Duration) {
	const listeners, talkers, payload = 100, 10, 100
	a := newAudience(b, tick, listeners, talkers)
	var talks []*talk
	var grants []grant
	for i := range talkers {
		s := &session{}
		grants = append(grants, grant{session: s, member: uint32(i + 1), number: uint64(i + 1)})
		talks = append(talks, newTalk(s, 30))
		talks[i].packet.Payload = bytes.Repeat([]byte{byte(i)}, payload)
	}
	a.setGrants(grants, nil, time.Now())
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	n := 0
	began := threadTime(b)
	for ; b.Loop(); n += talkers {
		for _, t := range talks {
			t.next(a.forwarder)
		}
		for _, s := range a.shards {
			s.serve()
		}
	}
	each := func(d time.Duration, packets int) float64 { return float64(d) / float64(packets) }
	cost := each(threadTime(b)-began, n*listeners)

	const size = 24 + payload + 16
	rounds := min(n, 1000)
	seal, send := a.floor(b, rounds, size)
	floor := each(seal+send, rounds*listeners)
	counters := a.server.Counters()
	sent, unsent := counters.Sent.Load(), counters.SendDropped.Load()+counters.SendFailed.Load()
	b.ReportMetric(cost, "ns/packet")
	b.ReportMetric(each(seal, rounds*listeners), "seal-ns/packet")
	b.ReportMetric(each(send, rounds*listeners), "send-ns/packet")
	b.ReportMetric(cost/floor, "x-floor")
	b.ReportMetric(float64(sent)/float64(sent+unsent), "sent-share")
}

// floor seals and sends one packet of a size to each sink, and says what either costs.
func (a *audience) floor(b *testing.B, rounds, size int) (seal, send time.Duration) {
	b.Helper()
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		b.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	const head = 24
	packet, nonce := make([]byte, size), make([]byte, gcm.NonceSize())
	began := threadTime(b)
	for range rounds * len(a.sinks) {
		gcm.Seal(packet[:head], nonce, packet[head:size-gcm.Overhead()], packet[:head])
	}
	seal = threadTime(b) - began

	socket, err := net.ListenUDP("udp4", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	began = threadTime(b)
	for range rounds {
		for _, s := range a.sinks {
			if _, err := socket.WriteToUDPAddrPort(packet, s.addr); err != nil {
				b.Fatal(err)
			}
		}
	}
	return seal, threadTime(b) - began
}
