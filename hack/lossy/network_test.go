package lossy

import (
	"math"
	"slices"
	"testing"
	"time"
)

// lossesOf draws n fates and returns the share that is lost and the mean length of a run of losses.
func lossesOf(network Network, n int) (share, run float64) {
	f := newFates(1, 0, down)
	lost, runs, before := 0, 0, false
	for range n {
		now := f.next(network).lost
		if now {
			lost++
			if !before {
				runs++
			}
		}
		before = now
	}
	return float64(lost) / float64(n), float64(lost) / float64(max(runs, 1))
}

func TestLosses(t *testing.T) {
	for name, tc := range map[string]struct {
		network Network
		run     float64
	}{
		"none":        {Network{}, 0},
		"independent": {Network{Loss: 0.2}, 1 / 0.8},
		"bursts":      {Network{Loss: 0.2, Burst: 4}, 4},
		"rare bursts": {Network{Loss: 0.01, Burst: 10}, 10},
		"many bursts": {Network{Loss: 0.6, Burst: 3}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.network.Validate(); err != nil {
				t.Fatal(err)
			}
			share, run := lossesOf(tc.network, 1_000_000)
			if math.Abs(share-tc.network.Loss) > 0.02*tc.network.Loss+0.0005 {
				t.Errorf("lost %.4f, want %.4f", share, tc.network.Loss)
			}
			if math.Abs(run-tc.run) > 0.05*tc.run {
				t.Errorf("%.2f in a row, want %.2f", run, tc.run)
			}
		})
	}
}

func TestFatesFollowTheSeed(t *testing.T) {
	draw := func(seed uint64, client, direction int) []fate {
		f, all := newFates(seed, client, direction), make([]fate, 200)
		for i := range all {
			all[i] = f.next(Network{Loss: 0.3, Jitter: time.Second})
		}
		return all
	}
	first := draw(1, 0, up)
	if !slices.Equal(first, draw(1, 0, up)) {
		t.Error("the same seed, client and direction were drawn otherwise")
	}
	for name, other := range map[string][]fate{"seed": draw(2, 0, up), "client": draw(1, 1, up), "direction": draw(1, 0, down)} {
		if slices.Equal(first, other) {
			t.Errorf("another %s changed nothing", name)
		}
	}
}

func TestFatesToComeDoNotDependOnTheNetwork(t *testing.T) {
	weak := Network{Loss: 0.3, Jitter: time.Second}
	a, b := newFates(1, 0, up), newFates(1, 0, up)
	for range 100 {
		a.next(weak)
		b.next(Network{Delay: time.Second})
	}
	if a.next(weak) != b.next(weak) {
		t.Error("a network before changed what is drawn")
	}
}

func TestValidate(t *testing.T) {
	for name, n := range map[string]Network{
		"all lost":          {Loss: 1},
		"less than none":    {Loss: -0.1},
		"impossible bursts": {Loss: 0.9, Burst: 2},
		"a negative burst":  {Burst: -1},
		"a negative delay":  {Delay: -1},
		"a negative jitter": {Jitter: -1},
	} {
		if n.Validate() == nil {
			t.Errorf("%s was accepted", name)
		}
		if _, err := Listen(Config{Up: n}); err == nil {
			t.Errorf("%s: a relay was made", name)
		}
	}
}
