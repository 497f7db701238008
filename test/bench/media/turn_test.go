//go:build linux

package main

import (
	"io"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/test/bench/media/client"
)

// TestMain lets the test's binary be the servers, as the command's is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"floor", "reference", "profiled"}, os.Args[1]) {
		main()
	}
	goleak.VerifyTestMain(m)
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir(), began: time.Now(), progress: io.Discard}
	b.talkers, b.listeners, b.rounds, b.round, b.skip = numbers{4}, numbers{2, 5}, 1, 300*time.Millisecond, set{mixMode: true}
	var err error
	if b.frames, err = bot.Speech(); err != nil {
		t.Fatal(err)
	}
	if b.self, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return b
}

// Every server lets clients in and sends them what is said: all of it, and nothing else.
func TestModes(t *testing.T) {
	b := newBench(t)
	for _, m := range b.modes() {
		t.Run(m.name, func(t *testing.T) {
			s, err := b.openStage(t.Context(), m, b.mostTalkers())
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			if err := s.fill(t.Context(), b.mostListeners()); err != nil {
				t.Fatal(err)
			}
			hears := s.slots(s.count)
			r, err := s.measure(t.Context(), 0, func() error { return b.hear(t, s, hears) })
			if err != nil {
				t.Fatal(err)
			}
			if r.counts.Strange != 0 || r.counts.Lost() != 0 || r.cpu <= 0 {
				t.Errorf("measured %+v", r)
			}
			if m.name != floorMode && (len(r.audience) == 0 || len(r.onMic) == 0) {
				t.Error("nothing says how late it was")
			}
		})
	}
}

// hear waits until every client has heard for long enough that latencies were sampled.
func (b *bench) hear(t *testing.T, s *stage, streams int) error {
	for _, c := range slices.Concat(s.talkers, s.listeners) {
		for deadline := time.Now().Add(20 * time.Second); c.Counts().Packets < 2*client.SampleEvery*uint64(streams); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("a client heard %d packets", c.Counts().Packets)
			}
		}
	}
	return nil
}

// A listener hears somebody soon after its offer, and an audience that grows is measured at each size.
func TestJoins(t *testing.T) {
	b := newBench(t)
	b.joins = 2
	if err := b.joinsIntoTalk(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(b.costs.firstAudio); n != b.costs.joined || n == 0 {
		t.Errorf("%d of %d heard something", n, b.costs.joined)
	}
}

func TestVoid(t *testing.T) {
	for name, test := range map[string]struct {
		r    round
		void bool
	}{
		"all there":   {round{counts: client.Counts{Packets: 10000, Expected: 10000}, short: 1}, false},
		"little lost": {round{counts: client.Counts{Packets: 9991, Expected: 10000}, short: 1}, false},
		"much lost":   {round{counts: client.Counts{Packets: 9980, Expected: 10000}, short: 1}, true},
		"too slow":    {round{counts: client.Counts{Packets: 9000, Expected: 9000}, short: 0.9}, true},
	} {
		if why := test.r.void(); (why != "") != test.void {
			t.Errorf("%s: void because %q", name, why)
		}
	}
}

func TestFigures(t *testing.T) {
	p := &point{talkers: 10, listeners: 100, mode: &mode{slots: 3}}
	for _, cpu := range []time.Duration{300 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond} {
		p.rounds = append(p.rounds, &round{counts: client.Counts{Packets: 100000}, cpu: cpu, took: time.Second})
	}
	b := &bench{points: []*point{p, {talkers: 3, listeners: 100, mode: &mode{name: floorMode}}, {talkers: 10, listeners: 100, mode: &mode{name: floorMode}}}}
	if got := []float64{p.cost(), p.perCore(), p.rate()}; !cmp.Equal(got, []float64{2, 500, 100000}) {
		t.Errorf("cost, listeners per core, rate: %v", got)
	}
	if floor := b.floorOf(p); floor != b.points[1] {
		t.Errorf("the floor of three slots is %+v", floor)
	}
	if got := quantile([]time.Duration{4, 1, 3, 2}, 0.5); got != 3 {
		t.Errorf("the median is %d", got)
	}
}

// Each talker is loud as often as any other, three at a time.
func TestChoir(t *testing.T) {
	c := &choir{talkers: make([]*client.Client, 10)}
	often := make([]int, len(c.talkers))
	for c.round = range len(c.talkers) * turn {
		n := 0
		for i := range c.talkers {
			if c.loud(i) {
				often[i]++
				n++
			}
		}
		if n != audible {
			t.Fatalf("in round %d, %d are loud", c.round, n)
		}
	}
	if least, most := slices.Min(often), slices.Max(often); least != most {
		t.Errorf("loud %v times", often)
	}
}
