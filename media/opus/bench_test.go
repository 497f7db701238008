//go:build libopus

package opus

import (
	"fmt"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/media/mix"
)

// What a frame of 20 ms costs: to decode one talker, as browsers send it, to encode the mix, and all of it
// for as many talkers. docs/scale.md says from how many listeners on that pays.
func BenchmarkDecode(b *testing.B) {
	payloads := encode(b, speech(b), mix.FrameSamples)
	d := New().NewDecoder()
	pcm := make([]float32, mix.FrameSamples)
	b.ReportAllocs()
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
