package transport

import (
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// threadTime is the CPU time that the calling thread has used.
func threadTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBatch is the CPU that a packet of 120 bytes to one of 60 clients takes, way of the kernel to
// the receivers' sockets included, when so many leave for each client at once. It is compared with sendto for
// each packet, in turns.
func BenchmarkBatch(b *testing.B) {
	const clients, size = 60, 120
	for _, run := range []int{1, 3, 10} {
		b.Run(fmt.Sprintf("%d at once", run), func(b *testing.B) {
			s := newServerOn(b, Config{Listen: loopback, Sockets: 1})
			var conns []*Conn
			for range clients {
				c, _ := waiting(b, s)
				sink, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback))
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = sink.Close() })
				go func() {
					for buf, err := make([]byte, maxDatagram), error(nil); err == nil; {
						_, err = sink.Read(buf)
					}
				}()
				c.ice.path.Store(&path{flow: flow{addr: sink.LocalAddr().(*net.UDPAddr).AddrPort(), udp: s.sockets[0]}})
				conns = append(conns, c)
			}
			packets := numbered(0, run, size, size)
			batch := s.NewBatch(0)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var batched, single time.Duration
			sent := 0
			for ; b.Loop(); sent += clients * run {
				began := threadTime(b)
				for _, c := range conns {
					c.Queue(batch, packets, size)
				}
				batch.Flush()
				between := threadTime(b)
				for _, c := range conns {
					for i := 0; i < len(packets); i += size {
						_ = c.write(packets[i : i+size])
					}
				}
				batched += between - began
				single += threadTime(b) - between
			}
			b.ReportMetric(float64(batched.Nanoseconds())/float64(sent), "cpu-ns/packet")
			b.ReportMetric(float64(single.Nanoseconds())/float64(sent), "sendto-cpu-ns/packet")
			b.ReportMetric(float64(batched)/float64(single), "x-sendto")
		})
	}
}
