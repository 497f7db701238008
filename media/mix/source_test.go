package mix

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What is played, from what was pushed before each frame. A packet is written n, its number, or n@t with its
// timestamp in units of 20 ms; without, they follow from each other. A frame is what the decoder was asked.
func TestPlayed(t *testing.T) {
	for name, test := range map[string]struct {
		toc  byte
		push string
		want string
	}{
		"in order": {
			push: "1   | 2     | 3 | 4 | 5",
			want: "    | 1     | 2 | 3 | 4",
		},
		"10 ms": {toc: celt10,
			push: "1 2 | 3 4   | 5 6 | 7 8",
			want: "    | 1 2   | 3 4 | 5 6",
		},
		"60 ms play at once, and run dry once for the jitter": {toc: silk60,
			push: "1 |  |   |         | 2 |   |   | 3 |   |   ",
			want: "1 |  |   | made:20 | 2 |   |   | 3 |   |   ",
		},
		"a lost packet is had from the next": {
			push: "1 | 2 |   | 4         | 5 | 6",
			want: "  | 1 | 2 | lost:20 4 |   | 5",
		},
		"two lost": {
			push: "1 | 2 3 | 4 | 7 8 |   | 9         | 10 | 11",
			want: "  | 1   | 2 | 3   | 4 | lost:40 7 |    |   ",
		},
		"out of order, in time": {
			push: "1 | 2 | 4 3 | 5",
			want: "  | 1 | 2   | 3",
		},
		"out of order, too late: dropped, and the buffer is deeper": {
			push: "1 | 2 | 4 | 5         | 3 6 | 7       | 8 | 9",
			want: "  | 1 | 2 | lost:20 4 |     | made:20 | 5 | 6",
		},
		"late in order: waited for": {
			push: "1 | 2 |   |         | 3 4 5 | 6 | 7",
			want: "  | 1 | 2 | made:20 | 3     | 4 | 5",
		},
		"lost while it ran dry: concealed once": {
			push: "1 | 2 |   |         | 4 5 | 6 | 7",
			want: "  | 1 | 2 | made:20 | 4   | 5 | 6",
		},
		"a talker that stops": {
			push: "1 | 2 |   |         |         |         |         |         |         |  | ",
			want: "  | 1 | 2 | made:20 | made:20 | made:20 | made:20 | made:20 | made:20 |  | ",
		},
		"a pause, and a buffer filled anew": {
			push: "1 | 2 3@500 | 4@501 |         | 5@502 | 6@503",
			want: "  | 1       | 2     | made:20 | 3     | 4",
		},
		"duplicates": {
			push: "1 1 | 2 2 1 | 3 3 | 4",
			want: "    | 1     | 2   | 3",
		},
		"the sequence wraps": {
			push: "65535 | 65536 | 65537 | 65538",
			want: "      | 65535 | 0     | 1",
		},
		"a new stream with the same SSRC": {
			push: "1000 | 1001 | 1002 | 2@9000 3@9001 |         | 4@9002 | 5@9003",
			want: "     | 1000 | 1001 | made:20       |  2      | 3      | 4",
		},
		"a burst is not kept back": {
			push: "1 2 3 4 5 6 7 8 9 10 | 11 | 12",
			want: "8                    | 9  | 10",
		},
		"a burst later is cut to the target": {
			push: "1 | 2 | 3 4 5 6 7 8 9 10 11 12 13 14 15 16 | 17 | 18",
			want: "  | 1 | 15                                 | 16 | 17",
		},
		"a fragment is dropped": {
			push: "1 |  |  |  |  |  |  |  |  |  |  | 2 | 3",
			want: "  |  |  |  |  |  |  |  |  |  |  |   | 2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &numbers{}
			m := New(c)
			s := m.Add(7)
			toc := test.toc
			if toc == 0 {
				toc = celt20
			}
			samples, _ := Samples(packetOf(toc, 0))
			var got, want []string
			for i, frame := range strings.Split(test.push, "|") {
				for field := range strings.FieldsSeq(frame) {
					var n, at int
					if _, err := fmt.Sscanf(field, "%d@%d", &n, &at); err != nil {
						_, _ = fmt.Sscanf(field, "%d", &n)
						at = n * samples / FrameSamples
					}
					if toc == celt10 {
						at = n // in its own unit
						s.Push(1, uint16(n), uint32(at*480), packetOf(toc, n))
						continue
					}
					s.Push(1, uint16(n), uint32(at*FrameSamples), packetOf(toc, n))
				}
				_, _, said := tick(m, c, i)
				got = append(got, said)
			}
			for frame := range strings.SplitSeq(test.want, "|") {
				want = append(want, strings.Join(strings.Fields(frame), " "))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPauseIsAnnounced(t *testing.T) {
	c := &numbers{}
	m := New(c)
	s := m.Add(7)
	s.Push(1, 1, 960, packetOf(celt20, 1))
	s.Push(1, 2, 1920, []byte{celt20}) // DTX
	var got []string
	for i := range 4 {
		_, _, said := tick(m, c, i)
		got = append(got, said)
	}
	if diff := cmp.Diff([]string{"1", "0", "made:20", ""}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnotherStreamHasAnotherDecoder(t *testing.T) {
	c := &numbers{}
	m := New(c)
	s := m.Add(7)
	for i := range 6 {
		s.Push(uint32(1+i/3), uint16(i+i/3*5000), uint32(i*FrameSamples), packetOf(celt20, i))
		tick(m, c, i)
	}
	if len(c.decoders) != 2 {
		t.Errorf("%d decoders", len(c.decoders))
	}
}

// Mix may run beside Push: another stream of a talker that begins meanwhile changes nothing of the frame that was
// gathered, not even when that is what an earlier packet left over. The next frame has another decoder.
func TestAnotherStreamBeginsWhileMixing(t *testing.T) {
	c := &numbers{}
	m := New(c)
	s := m.Add(7)
	s.Push(1, 1, 0, packetOf(silk60, loud))
	if frame, _, said := tick(m, c, 0); said != "10000" || len(frame.Members) != 1 {
		t.Fatalf("heard %q of %v", said, frame.Members)
	}
	m.Gather(start.Add(FrameTime))
	s.Push(2, 5000, 0, packetOf(silk60, loud))
	if frame, ok := m.Mix(); !ok || len(frame.Members) != 1 {
		t.Errorf("what is left over is heard: %v, of %v", ok, frame.Members)
	}
	if tick(m, c, 2); len(c.decoders) != 2 {
		t.Errorf("%d decoders, want one for each stream", len(c.decoders))
	}
}

// link is a simulated way of packets: sent every 20 ms of the talker's clock, drift ppm faster than ours.
type link struct {
	frames  int
	drift   int
	loss    float64
	jitter  time.Duration // each packet on its own, so that they overtake each other
	queue   time.Duration // bursts: every second the way is blocked for that long
	latency []time.Duration
	stats   Stats
	silent  int // frames in which nothing was heard
}

func (l *link) run(seed int64) {
	type arrival struct {
		at time.Duration
		n  int
	}
	r := rand.New(rand.NewSource(seed))
	var arrivals []arrival
	sent := make([]time.Duration, l.frames)
	for n := range sent {
		sent[n] = time.Duration(n) * FrameTime * 1_000_000 / time.Duration(1_000_000+l.drift)
		at := sent[n] + 7*time.Millisecond
		if l.jitter > 0 {
			at += time.Duration(r.Int63n(int64(l.jitter)))
		}
		if l.queue > 0 && at%time.Second < l.queue {
			at += l.queue - at%time.Second
		}
		if r.Float64() >= l.loss {
			arrivals = append(arrivals, arrival{at, n})
		}
	}
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return int(a.at - b.at) })
	m := New(&numbers{})
	s := m.Add(1)
	s.voice.decoder = &numbersDecoder{silent: true}
	for i := 0; len(arrivals) > 0; i++ {
		now := time.Duration(i) * FrameTime
		for len(arrivals) > 0 && arrivals[0].at <= now {
			n := arrivals[0].n
			s.Push(1, uint16(n), uint32(n*FrameSamples), packetOf(celt20, n))
			arrivals = arrivals[1:]
		}
		s.anew = false // keeps the silent decoder
		m.Gather(start.Add(now))
		if len(m.gathered) == 0 {
			l.silent++
		}
		for _, j := range s.voice.jobs {
			if j.kind == decodes {
				n := number(s.voice.data[j.start:j.end]) | int(now/FrameTime)&^0xffff
				if n < len(sent) {
					l.latency = append(l.latency, now-sent[n])
				}
			}
		}
		m.Mix()
	}
	l.stats = m.Stats()
}

func (l *link) latencyAt(share float64) time.Duration {
	sorted := slices.Clone(l.latency)
	slices.Sort(sorted)
	return sorted[int(share*float64(len(sorted)-1))]
}

const minute = int(time.Minute / FrameTime)

func TestDrift(t *testing.T) {
	for _, drift := range []int{200, -200, 0} {
		t.Run(fmt.Sprint(drift, " ppm"), func(t *testing.T) {
			l := link{frames: 10 * minute, drift: drift}
			l.run(1)
			t.Logf("%+v, latency %v to %v", l.stats, l.latencyAt(0), l.latencyAt(1))
			// 200 ppm of 10 minutes are 120 ms, 6 frames.
			shortened, concealed := uint64(0), uint64(0)
			switch {
			case drift > 0:
				shortened = 6
			case drift < 0:
				concealed = 6
			}
			if near := func(a, b uint64) bool { return a <= b+1 && b <= a+1 }; !near(l.stats.Shortened, shortened) || !near(l.stats.Concealed, concealed) {
				t.Errorf("%d shortened, %d concealed", l.stats.Shortened, l.stats.Concealed)
			}
			if l.latencyAt(1) > 70*time.Millisecond || l.silent > 5 {
				t.Errorf("latency up to %v, %d frames of silence", l.latencyAt(1), l.silent)
			}
		})
	}
}

func TestBadNetwork(t *testing.T) {
	for name, test := range map[string]struct {
		link      link
		concealed float64       // at most, a share of frames
		latency   time.Duration // median, at most
	}{
		"none":              {link: link{}, concealed: 0, latency: 40 * time.Millisecond},
		"10 % loss":         {link: link{loss: 0.1}, concealed: 0.125, latency: 60 * time.Millisecond},
		"jitter 20 ms":      {link: link{jitter: 20 * time.Millisecond}, concealed: 0.002, latency: 60 * time.Millisecond},
		"jitter 100 ms":     {link: link{jitter: 100 * time.Millisecond}, concealed: 0.02, latency: 180 * time.Millisecond},
		"blocked for 80 ms": {link: link{queue: 80 * time.Millisecond}, concealed: 0.01, latency: 150 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			l := test.link
			l.frames = 2 * minute
			l.run(2)
			made := float64(l.stats.Recovered+l.stats.Concealed) / float64(l.frames)
			t.Logf("%+v, %.3f made up, latency p50 %v, max %v", l.stats, made, l.latencyAt(0.5), l.latencyAt(1))
			if made > test.concealed {
				t.Errorf("%.2f %% of frames are made up", 100*made)
			}
			if l.latencyAt(0.5) > test.latency {
				t.Errorf("latency %v", l.latencyAt(0.5))
			}
		})
	}
}

// Whatever is pushed, in whatever order and at whatever times, each frame is there at once and of bounded work, and
// nothing is kept back for ever.
func FuzzPush(f *testing.F) {
	f.Add([]byte{0, 1, 0, celt20, 0, 2, 1, celt20, 3, 3, 1, celt20, 0, 5, 1, silk60})
	f.Add([]byte{0, 255, 0, celt20 | 3, 16, 0, 200, celt10, 7, 1, 0, 1, 0, 2, 255, 28 << 3})
	f.Add([]byte{64, 1, 9, celt20, 64, 90, 9, celt20, 128, 3, 9, 0, 192, 200, 1, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		m := New(&numbers{})
		s := m.Add(1)
		now := start
		var sequence uint16
		var timestamp uint32
		for ; len(ops) >= 4; ops = ops[4:] {
			sequence += uint16(int8(ops[1])) << (ops[0] & 3)
			timestamp += uint32(int8(ops[2])) * 120 << (ops[0] >> 2 & 3)
			payload := []byte{ops[3], ops[0] & 31, ops[1], ops[2]}
			s.Push(uint32(ops[0]>>7), sequence, timestamp, payload[:1+ops[2]&3])
			if ops[0]&32 != 0 {
				continue
			}
			now = now.Add(FrameTime)
			m.Gather(now)
			work := 0
			for _, j := range s.voice.jobs {
				work += j.samples
			}
			if work > 2*FrameSamples+2*longest {
				t.Fatalf("%d samples for one frame", work)
			}
			m.Mix()
			if s.buffered < 0 || s.buffered > ringSize*longest || len(s.voice.pcm) > 2*longest {
				t.Fatalf("%d samples wait, and %d", s.buffered, len(s.voice.pcm))
			}
		}
		for i := 0; ; i++ {
			now = now.Add(FrameTime)
			busy := m.Gather(now)
			m.Mix()
			if !busy {
				break
			}
			if i > ringSize*longest/FrameSamples+maxConcealed+patience+comfort {
				t.Fatalf("%d samples wait for ever", s.buffered)
			}
		}
	})
}
