package transport

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
)

// processTime is the CPU time that the process has used.
func processTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// until is a Handler that tells of the end.
type until struct {
	deaf
	closed chan struct{}
}

func (u until) Closed(error) { close(u.closed) }

// BenchmarkJoin is the CPU of a join, from the client's offer to its open data channel and the end of it,
// client and server together. It is compared with the same client whose server is a bare PeerConnection, without
// interceptors.
func BenchmarkJoin(b *testing.B) {
	const slots = 4
	s := newServer(b)
	join := func(answer func(offer []byte) ([]byte, func())) time.Duration {
		runtime.GC() // the one does not pay for what the other left
		began := processTime(b)
		client := transporttest.New(b, transporttest.Options{Uplink: true, Slots: slots, Data: true})
		sdp, end := answer(client.Offer())
		client.Answer(sdp)
		transporttest.Receive(b, client.Opened, "the open channel")
		_ = client.PC.Close()
		end()
		return processTime(b) - began
	}
	var ours, theirs time.Duration
	n := 0
	for ; b.Loop(); n++ {
		ours += join(func(offer []byte) ([]byte, func()) {
			o, err := ParseOffer(offer)
			if err != nil {
				b.Fatal(err)
			}
			h := until{closed: make(chan struct{})}
			c, answer, err := s.Accept(o, h)
			if err != nil {
				b.Fatal(err)
			}
			return answer, func() {
				c.Close(ErrPeerClosed)
				transporttest.Receive(b, h.closed, "Closed")
			}
		})
		theirs += join(func(offer []byte) ([]byte, func()) {
			pc, answer := transporttest.Answerer(b, offer, slots)
			return answer, func() { _ = pc.Close() }
		})
	}
	b.ReportMetric(ours.Seconds()*1e3/float64(n), "cpu-ms/join")
	b.ReportMetric(theirs.Seconds()*1e3/float64(n), "peerconnection-cpu-ms/join")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "x-peerconnection")
}
