package mix

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// talk makes a source say n, 20 ms a frame.
func talk(s *Source, frame, n int) {
	s.Push(1, uint16(frame), uint32(frame*FrameSamples), packetOf(celt20, n))
}

const loud = 10_000 // -40 dBov, for numbers

func TestMembersAreNamed(t *testing.T) {
	c := &numbers{}
	m := New(c)
	a, b, quiet := m.Add(7), m.Add(9), m.Add(11)
	var got [][]uint32
	for i := range 6 {
		talk(a, i, loud)
		if i >= 2 {
			talk(b, i, loud)
		}
		talk(quiet, i, 10)
		frame, ok, _ := tick(m, c, i)
		if !ok {
			frame.Members = nil
		}
		got = append(got, append([]uint32(nil), frame.Members...))
	}
	if diff := cmp.Diff([][]uint32{nil, {7}, {7}, {7, 9}, {7, 9}, {7, 9}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNoMoreMembersThanCSRCs(t *testing.T) {
	c := &numbers{}
	m := New(c)
	var frame Frame
	for i := range 3 {
		for len(m.sources) < 20 {
			m.Add(uint32(len(m.sources)))
		}
		for _, s := range m.sources {
			talk(s, i, loud)
		}
		frame, _, _ = tick(m, c, i)
	}
	if len(frame.Members) != MaxMembers {
		t.Errorf("%d members", len(frame.Members))
	}
}

// When all are silent nothing is sent, after half a second of silence that ends with an empty packet. Somebody who talks again
// begins with a marker, at the time that it is, and next in the sequence.
func TestSilenceIsNotSent(t *testing.T) {
	c := &numbers{}
	m := New(c)
	s := m.Add(7)
	const again, words = 1000, 2 // of a burst of four packets the first is dropped, the last is silent
	sequence := uint16(0)
	first := uint32(0)
	for _, begins := range []int{0, again} {
		for i := begins; i < begins+3; i++ {
			talk(s, i, loud)
		}
		s.Push(1, uint16(begins+3), uint32((begins+3)*FrameSamples), []byte{celt20})
		sent := 0
		for i := begins; m.Gather(start.Add(time.Duration(i) * FrameTime)); i++ {
			frame, ok := m.Mix()
			if !ok {
				t.Fatalf("frame %d is not sent although there is more to gather", i)
			}
			sent++
			sequence++
			if begins == 0 && sent == 1 {
				first = frame.Timestamp
			}
			if want := first + uint32(i)*FrameSamples; frame.Timestamp != want || frame.Sequence != sequence || frame.Marker != (sent == 1) {
				t.Fatalf("frame %d: %d at %d, marker %v; want %d at %d", i, frame.Sequence, frame.Timestamp, frame.Marker, sequence, want)
			}
			if last := sent == words+comfort; last != (len(frame.Payload) == 1) {
				t.Fatalf("frame %d, the %dth: %d bytes", i, sent, len(frame.Payload))
			}
		}
		if sent != words+comfort {
			t.Errorf("%d frames were sent", sent)
		}
	}
}

// Nothing of a talker that is removed is mixed any more: not what waits, not what was gathered, and not
// what the encoder remembers.
func TestRemove(t *testing.T) {
	c := &numbers{}
	m := New(c)
	gone, stays := m.Add(7), m.Add(9)
	for i := range 4 {
		talk(gone, i, loud)
		talk(stays, i, 6000)
		tick(m, c, i)
	}
	talk(stays, 4, 6000)
	m.Gather(start.Add(4 * FrameTime))
	if m.Stale() {
		t.Fatal("stale before")
	}
	m.Remove(gone)
	m.Mix()
	if !m.Stale() {
		t.Fatal("what was gathered may be sent")
	}
	talk(stays, 5, 6000)
	frame, ok, _ := tick(m, c, 5)
	if !ok || m.Stale() {
		t.Fatal("the next frame may not be sent")
	}
	before, now := binary.BigEndian.Uint32(frame.Payload), binary.BigEndian.Uint32(frame.Payload[4:])
	if before != 0 || now != 6000 {
		t.Errorf("the encoder remembers %d, and is given %d", before, now)
	}
	if diff := cmp.Diff([]uint32{9}, frame.Members); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	silent := m.Add(10)
	m.Gather(start.Add(6 * FrameTime))
	m.Remove(silent)
	if m.Stale() {
		t.Error("stale for somebody who said nothing")
	}
}

func TestTwoAreAdded(t *testing.T) {
	c := &numbers{}
	m := New(c)
	a, b := m.Add(1), m.Add(2)
	var frame Frame
	for i := range 3 {
		talk(a, i, 20_000)
		talk(b, i, 30_000)
		frame, _, _ = tick(m, c, i)
	}
	if got := binary.BigEndian.Uint32(frame.Payload[4:]); got != 50_000 {
		t.Errorf("the sum is %d", got)
	}
	if want := level(0.05 * 0.05); frame.Level != want || want != 26 {
		t.Errorf("level %d, want %d", frame.Level, want)
	}
}

func TestLimiter(t *testing.T) {
	var l limiter
	tone := func(amplitude float64, frame int) []float32 {
		pcm := make([]float32, FrameSamples)
		for i := range pcm {
			pcm[i] = float32(amplitude * math.Sin(2*math.Pi*440*float64(frame*FrameSamples+i)/SampleRate))
		}
		return pcm
	}
	last := float32(0)
	for frame, amplitude := range []float64{0.5, 0.5, 4, 4, 4, 10, 0.5, 0.5} {
		pcm := tone(amplitude, frame)
		l.limit(pcm)
		for i, x := range pcm {
			if x > 1 || x < -1 {
				t.Fatalf("frame %d, sample %d: %v", frame, i, x)
			}
			if jump := math.Abs(float64(x - last)); jump > 0.9 {
				t.Fatalf("frame %d, sample %d: a jump of %.2f", frame, i, jump)
			}
			last = x
		}
		switch peak := peakOf(pcm); {
		case frame < 2 && math.Abs(float64(peak)-amplitude) > 0.01:
			t.Errorf("frame %d: peak %v of %v", frame, peak, amplitude)
		case frame == 4 && math.Abs(float64(peak)-ceiling) > 0.01:
			t.Errorf("frame %d: peak %v", frame, peak)
		}
	}
	for range 200 {
		l.limit(tone(0.5, 0))
	}
	pcm := tone(0.5, 0)
	l.limit(pcm)
	if diff := cmp.Diff(tone(0.5, 0), pcm); diff != "" {
		t.Error("it is never turned up again")
	}
}

func peakOf(pcm []float32) float32 {
	peak := float32(0)
	for _, x := range pcm {
		peak = max(peak, x, -x)
	}
	return peak
}

func TestNothingAllocates(t *testing.T) {
	c := &numbers{}
	m := New(c)
	a, b := m.Add(1), m.Add(2)
	payload := packetOf(celt20, loud)
	i := 0
	frame := func() {
		for _, s := range []*Source{a, b} {
			if i%10 != 9 { // one is lost now and then
				s.Push(1, uint16(i), uint32(i*FrameSamples), payload)
			}
		}
		m.Gather(start)
		m.Mix()
		i++
		for _, d := range c.decoders {
			d.silent = true
		}
	}
	for range 100 {
		frame()
	}
	if n := testing.AllocsPerRun(500, frame); n > 0 {
		t.Errorf("%v allocations a frame", n)
	}
}
