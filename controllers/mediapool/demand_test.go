package mediapool

import (
	"testing"
	"time"
)

// claims notes n claims, evenly from a time on, and returns when the last was.
func claims(d *demand, n int, from time.Time, every time.Duration) time.Time {
	for i := range n {
		d.claimed(from.Add(time.Duration(i) * every))
	}
	return from.Add(time.Duration(n-1) * every)
}

func TestDemand(t *testing.T) {
	for name, tt := range map[string]struct {
		claims      int
		every       time.Duration
		lead        time.Duration
		least, most int
	}{
		"none":                      {0, 0, 2 * time.Second, 0, 0},
		"one":                       {1, 0, 2 * time.Second, 0, 0},
		"now and then":              {100, 10 * time.Second, 2 * time.Second, 0, 0},
		"one a second":              {100, time.Second, 2 * time.Second, 2, 2},
		"ten a second":              {1000, 100 * time.Millisecond, 2 * time.Second, 19, 21},
		"of pods that are slow":     {1000, 100 * time.Millisecond, 10 * time.Second, 98, 102},
		"how slow is not known yet": {1000, 100 * time.Millisecond, 0, 29, 31},
		"twenty at once":            {20, 0, 2 * time.Second, 4, 4},
	} {
		t.Run(name, func(t *testing.T) {
			var d demand
			if tt.lead > 0 {
				d.cameUp(tt.lead)
			}
			got, _ := d.ahead(claims(&d, tt.claims, now, tt.every))
			if got < tt.least || got > tt.most {
				t.Errorf("%d pods ahead, want %d to %d", got, tt.least, tt.most)
			}
		})
	}
}

func TestLeadIsBoundedAndSmoothed(t *testing.T) {
	var d demand
	d.cameUp(time.Hour)
	if d.lead != leadMost {
		t.Errorf("lead %v after an hour, want %v", d.lead, leadMost)
	}
	for range 40 {
		d.cameUp(0)
	}
	if d.lead < leadLeast || d.lead > leadLeast+time.Millisecond {
		t.Errorf("lead %v after many quick ones, want %v", d.lead, leadLeast)
	}
	d.cameUp(5 * time.Second)
	if want := 2 * time.Second; d.lead < want || d.lead > want+time.Millisecond {
		t.Errorf("lead %v, want a quarter of the way to 5 s", d.lead)
	}
}

// TestDemandFallsSlowlyAndToTheEnd: asked when it says, and never otherwise, it goes back
// to nothing, down only, no faster than it may.
func TestDemandFallsSlowlyAndToTheEnd(t *testing.T) {
	var d demand
	d.cameUp(2 * time.Second)
	at := claims(&d, 600, now, 50*time.Millisecond)
	held, again := d.ahead(at)
	if held < 35 {
		t.Fatalf("%d pods ahead at 20 claims a second", held)
	}
	end, changed := at, at
	for steps := 0; again > 0; steps++ {
		if steps == 100 {
			t.Fatalf("still %d after 100 looks", held)
		}
		at = at.Add(again)
		var n int
		n, again = d.ahead(at)
		switch {
		case n > held:
			t.Fatalf("%d pods ahead after %d, with no claim between", n, held)
		case n < held && (at.Sub(changed) < linger || n < held-max(held/4, 1)):
			t.Fatalf("from %d to %d within %v", held, n, at.Sub(changed))
		case n < held:
			changed = at
		}
		held = n
	}
	if took := at.Sub(end); held != 0 || took < time.Minute || took > 10*time.Minute {
		t.Errorf("%d pods ahead %v after the last claim, want none after minutes", held, took)
	}
}

// TestDemandDoesNotFlap: under even claims the number stands still.
func TestDemandDoesNotFlap(t *testing.T) {
	var d demand
	d.cameUp(1500 * time.Millisecond)
	at, changes, last := now, -1, -1
	for range 2000 { // half an hour
		at = at.Add(900 * time.Millisecond)
		d.claimed(at)
		for _, later := range []time.Duration{0, 300 * time.Millisecond, 850 * time.Millisecond} {
			if n, _ := d.ahead(at.Add(later)); n != last {
				changes, last = changes+1, n
			}
		}
	}
	if changes > 3 {
		t.Errorf("the number changed %d times", changes)
	}
}
