package media

import "testing"

// What is asked for again was lost, whatever the reports say once it came after all.
func TestLossIsThatBeforeResends(t *testing.T) {
	var d downlink
	for i, look := range []struct {
		reported    float64
		sent, asked uint64
		want        float64
	}{
		{0, 0, 0, 0},
		{0, 100, 0, 0},
		{0.3, 200, 0, 0.3}, // a client without NACK
		{0, 300, 20, 0.2},  // all came after all
		{0.05, 400, 40, 0.2},
		{0, 500, 200, 1}, // asked for again and again
		{0, 600, 200, 0},
		{0.1, 600, 200, 0.1}, // nothing was sent meanwhile
	} {
		if got := d.loss(look.reported, look.sent, look.asked); got != look.want {
			t.Errorf("look %d: %v, want %v", i, got, look.want)
		}
	}
}

func TestRedundancyFollowsLoss(t *testing.T) {
	frames := 0
	for i, step := range []struct {
		loss float64
		want int
	}{{0, 0}, {0.015, 0}, {0.02, 1}, {0.012, 1}, {0.009, 0}, {0.3, 2}, {0.06, 2}, {0.04, 1}, {0.005, 0}} {
		if frames = redundancyFor(step.loss, frames); frames != step.want {
			t.Errorf("step %d, loss %v: %d frames, want %d", i, step.loss, frames, step.want)
		}
	}
}
