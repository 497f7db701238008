//go:build libopus && linux

package opus

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/media/mix"
)

// cpu makes a benchmark report the CPU time of its thread too: other work on the machine does not count.
func cpu(b *testing.B) {
	runtime.LockOSThread()
	now := func() time.Duration {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
			b.Fatal(err)
		}
		return time.Duration(t.Nano())
	}
	began := now()
	b.Cleanup(func() {
		b.ReportMetric(float64((now()-began).Microseconds())/float64(b.N), "cpu-us/frame")
		runtime.UnlockOSThread()
	})
}

// What a frame of 20 ms costs: to decode one talker, as browsers send it, to encode the mix, and all of it
// for as many talkers. docs/scale.md says from how many listeners on that pays.
func BenchmarkDecode(b *testing.B) {
	payloads := encode(b, speech(b), mix.FrameSamples)
	d := New().NewDecoder()
	pcm := make([]float32, mix.FrameSamples)
	b.ReportAllocs()
	cpu(b)
	for i := 0; b.Loop(); i++ {
		if err := d.Decode(payloads[i%len(payloads)], pcm); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	in := speech(b)
	e := New().NewEncoder()
	payload := make([]byte, 1200)
	b.ReportAllocs()
	cpu(b)
	for i := 0; b.Loop(); i++ {
		at := i * mix.FrameSamples % (len(in) - mix.FrameSamples)
		if _, err := e.Encode(in[at:at+mix.FrameSamples], payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMix(b *testing.B) {
	frames, err := bot.Speech()
	if err != nil {
		b.Fatal(err)
	}
	for _, talkers := range []int{1, 3, 10} {
		b.Run(fmt.Sprint(talkers, " talkers"), func(b *testing.B) {
			m := mix.New(New())
			var sources []*mix.Source
			for i := range talkers {
				sources = append(sources, m.Add(uint32(i)))
			}
			b.ReportAllocs()
			cpu(b)
			for i := 0; b.Loop(); i++ {
				for n, s := range sources {
					s.Push(1, uint16(i), uint32(i*mix.FrameSamples), frames[(i+31*n)%len(frames)])
				}
				m.Gather(start.Add(time.Duration(i) * mix.FrameTime))
				m.Mix()
			}
		})
	}
}
