//go:build libopus

package opus

import (
	"math"
	"math/rand"
	"testing"
	"time"

	"github.com/hraban/opus"

	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/media/mix"
)

var start = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)

// speech is the shipped recording, decoded: nine seconds.
func speech(t testing.TB) []float32 {
	t.Helper()
	frames, err := bot.Speech()
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, frames)
}

// decode decodes a stream as a listener does; what is nil was lost.
func decode(t testing.TB, payloads [][]byte) []float32 {
	t.Helper()
	d := New().NewDecoder()
	var pcm []float32
	for _, payload := range payloads {
		frame := make([]float32, mix.FrameSamples)
		var err error
		if payload == nil {
			err = d.Conceal(frame)
		} else {
			err = d.Decode(payload, frame)
		}
		if err != nil {
			t.Fatal(err)
		}
		pcm = append(pcm, frame...)
	}
	return pcm
}

// encode encodes as browsers do: for voice, with DTX and FEC.
func encode(t testing.TB, pcm []float32, frame int) [][]byte {
	t.Helper()
	e, err := opus.NewEncoder(mix.SampleRate, 1, opus.AppVoIP)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{e.SetBitrate(32_000), e.SetDTX(true), e.SetInBandFEC(true), e.SetPacketLossPerc(10)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var payloads [][]byte
	for ; len(pcm) >= frame; pcm = pcm[frame:] {
		payload := make([]byte, 1200)
		n, err := e.EncodeFloat32(pcm[:frame], payload)
		if err != nil {
			t.Fatal(err)
		}
		payloads = append(payloads, payload[:n])
	}
	return payloads
}

func tone(hz, amplitude float64, seconds int) []float32 {
	pcm := make([]float32, seconds*mix.SampleRate)
	for i := range pcm {
		pcm[i] = float32(amplitude * math.Sin(2*math.Pi*hz*float64(i)/mix.SampleRate))
	}
	return pcm
}

// heard is how loud a tone is in pcm, as an amplitude (Goertzel).
func heard(pcm []float32, hz float64) float64 {
	w := 2 * math.Cos(2*math.Pi*hz/mix.SampleRate)
	var a, b float64
	for _, x := range pcm {
		a, b = float64(x)+w*a-b, a
	}
	return 2 * math.Sqrt(max(a*a+b*b-w*a*b, 0)) / float64(len(pcm))
}

// play pushes each talker's payloads as they are sent, but for those that lost says, and returns what is mixed; nil
// for frames in which nothing is sent.
func play(m *mix.Mixer, talkers [][][]byte, frame int, lost func() bool) [][]byte {
	sources := make([]*mix.Source, len(talkers))
	for i := range talkers {
		sources[i] = m.Add(uint32(i + 1))
	}
	var mixed [][]byte
	for tick := 0; ; tick++ {
		more := false
		for i, payloads := range talkers {
			for n, payload := range payloads {
				if due := (n*frame + mix.FrameSamples - 1) / mix.FrameSamples; due == tick && (lost == nil || !lost()) {
					sources[i].Push(1, uint16(n), uint32(n*frame), payload)
				}
			}
			more = more || tick*mix.FrameSamples < len(payloads)*frame
		}
		if !more {
			return mixed
		}
		m.Gather(start.Add(time.Duration(tick) * mix.FrameTime))
		if f, ok := m.Mix(); ok {
			mixed = append(mixed, append([]byte(nil), f.Payload...))
		} else {
			mixed = append(mixed, nil)
		}
	}
}

func TestBothAreHeard(t *testing.T) {
	for _, frame := range []int{480, 960, 1920, 2880} {
		talkers := [][][]byte{encode(t, tone(440, 0.3, 3), frame), encode(t, tone(1000, 0.3, 3), frame)}
		pcm := decode(t, play(mix.New(New()), talkers, frame, nil))[mix.SampleRate : 2*mix.SampleRate]
		a, b, other := heard(pcm, 440), heard(pcm, 1000), heard(pcm, 700)
		t.Logf("%d ms: 440 Hz %.3f, 1000 Hz %.3f, 700 Hz %.4f", frame/48, a, b, other)
		if a < 0.25 || b < 0.25 || other > 0.01 {
			t.Errorf("%d ms: 440 Hz %.3f, 1000 Hz %.3f, 700 Hz %.4f", frame/48, a, b, other)
		}
	}
}

// Five talkers at full scale are five times too loud together: the mix stays within it, and all of them are heard.
func TestTooLoud(t *testing.T) {
	tones := []float64{300, 440, 600, 800, 1000}
	var talkers [][][]byte
	for _, hz := range tones {
		talkers = append(talkers, encode(t, tone(hz, 0.95, 3), 960))
	}
	pcm := decode(t, play(mix.New(New()), talkers, 960, nil))[mix.SampleRate : 2*mix.SampleRate]
	for _, hz := range tones {
		if a := heard(pcm, hz); a < 0.12 {
			t.Errorf("%v Hz: %.3f", hz, a)
		}
	}
	for i, x := range pcm {
		if x > 1.02 || x < -1.02 { // the coder's own noise
			t.Fatalf("sample %d: %v", i, x)
		}
	}
}

// A voice that is mixed alone is nearly what it was: the second coding is better than the first.
func TestSpeech(t *testing.T) {
	in := speech(t)
	frames, err := bot.Speech()
	if err != nil {
		t.Fatal(err)
	}
	out := decode(t, play(mix.New(New()), [][][]byte{frames}, 960, nil))
	once := likeness(in, decode(t, encode(t, in, 960)))
	mixed := likeness(in, out)
	t.Logf("%.1f dB when mixed, %.1f dB when coded again as browsers do", mixed, once)
	if mixed < 12 || mixed < once {
		t.Errorf("%.1f dB when mixed, %.1f dB when coded again as browsers do", mixed, once)
	}
}

// likeness is the segmental signal-to-noise ratio in dB, at the delay at which both are most alike: the mean over
// frames that are not silent, each within -10 and 35.
func likeness(in, out []float32) float64 {
	delay, best := 0, 0.0
	for d := range 2 * mix.FrameSamples {
		alike := 0.0
		for i := mix.SampleRate; i < 2*mix.SampleRate; i += 17 {
			alike += float64(in[i] * out[i+d])
		}
		if alike > best {
			delay, best = d, alike
		}
	}
	sum, frames := 0.0, 0
	for at := 0; at+mix.FrameSamples+delay <= len(out); at += mix.FrameSamples {
		var signal, noise float64
		for i := at; i < at+mix.FrameSamples; i++ {
			d := float64(in[i] - out[i+delay])
			signal += float64(in[i]) * float64(in[i])
			noise += d * d
		}
		if signal/mix.FrameSamples > 1e-5 {
			sum += min(max(10*math.Log10(signal/(noise+1e-12)), -10), 35)
			frames++
		}
	}
	return sum / float64(frames)
}

// With a tenth of the packets lost, most of what is lost is had from FEC: concealment alone costs 1.5 dB.
func TestLoss(t *testing.T) {
	in := speech(t)
	whole := encode(t, in, 960)
	r := rand.New(rand.NewSource(1))
	lost := func() bool { return r.Intn(10) == 0 }
	m := mix.New(New())
	good, bad := likeness(in, decode(t, play(mix.New(New()), [][][]byte{whole}, 960, nil))), likeness(in, decode(t, play(m, [][][]byte{whole}, 960, lost)))
	t.Logf("%.1f dB of %.1f dB; %+v", bad, good, m.Stats())
	if m.Stats().Recovered < 20 || bad < good-0.9 {
		t.Errorf("%.1f dB of %.1f dB; %+v", bad, good, m.Stats())
	}
}

// A talker that is removed is gone from the first packet on that may be sent: also from what the encoder
// has in its overlap.
func TestRemovedAtOnce(t *testing.T) {
	m := mix.New(New())
	s := m.Add(1)
	d := New().NewDecoder()
	gone := make([]float32, mix.FrameSamples)
	for i, payload := range encode(t, tone(440, 0.9, 1), 960) {
		s.Push(1, uint16(i), uint32(i*960), payload)
		m.Gather(start.Add(time.Duration(i) * mix.FrameTime))
		f, ok := m.Mix()
		if i < 30 && ok {
			if err := d.Decode(f.Payload, gone); err != nil {
				t.Fatal(err)
			}
		}
		if i == 30 {
			break
		}
	}
	m.Remove(s)
	m.Gather(start.Add(31 * mix.FrameTime))
	f, ok := m.Mix()
	if !ok || m.Stale() {
		t.Fatal("no frame after it")
	}
	// A decoder that heard nothing before has nothing but this packet.
	fresh := New().NewDecoder()
	if err := fresh.Decode(f.Payload, gone); err != nil {
		t.Fatal(err)
	}
	peak := float32(0)
	for _, x := range gone {
		peak = max(peak, x, -x)
	}
	if peak > 1e-4 {
		t.Errorf("peak %v", peak)
	}
}

// FuzzDecode gives libopus what clients may send, as the mixer does: nothing is written but what was asked for.
func FuzzDecode(f *testing.F) {
	frames, err := bot.Speech()
	if err != nil {
		f.Fatal(err)
	}
	for i := 0; i < len(frames); i += 40 {
		f.Add(frames[i], frames[i+1][:len(frames[i+1])/2], uint8(i))
	}
	f.Add([]byte{0xf8, 0xff, 0xfe}, []byte{0x78}, uint8(0))
	f.Fuzz(func(t *testing.T, a, b []byte, gap uint8) {
		d := New().NewDecoder()
		guarded := func(samples int, do func(pcm []float32) error) {
			const guard = 12345
			memory := make([]float32, samples+64)
			for i := range memory[samples:] {
				memory[samples+i] = guard
			}
			_ = do(memory[:samples])
			for _, x := range memory[samples:] {
				if x != guard {
					t.Fatal("wrote beyond the end")
				}
			}
		}
		for _, payload := range [][]byte{a, b, a} {
			n, ok := mix.Samples(payload)
			if !ok {
				continue
			}
			guarded(120*(1+int(gap)%48), func(pcm []float32) error { return d.Recover(payload, pcm) })
			guarded(n, func(pcm []float32) error { return d.Decode(payload, pcm) })
			guarded(120*(1+int(gap)%48), d.Conceal)
		}
	})
}

func TestNothingAllocates(t *testing.T) {
	m := mix.New(New())
	s := m.Add(1)
	frames, err := bot.Speech()
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	frame := func() {
		s.Push(1, uint16(i), uint32(i*960), frames[i%len(frames)])
		m.Gather(start.Add(time.Duration(i) * mix.FrameTime))
		m.Mix()
		i++
	}
	for range 50 {
		frame()
	}
	if n := testing.AllocsPerRun(300, frame); n > 0 {
		t.Errorf("%v allocations a frame", n)
	}
}
