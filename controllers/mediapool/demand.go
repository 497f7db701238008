package mediapool

import (
	"math"
	"time"
)

const (
	// claimWindow is the time constant of the rate of claims.
	claimWindow = 10 * time.Second
	// linger is how long more pods are kept before fewer are, a quarter at a time.
	linger = 15 * time.Second

	// What a pod takes to come up: until one was seen, and within which bounds. One that
	// waited an hour for a node says nothing about the next.
	leadGuess           = 3 * time.Second
	leadLeast, leadMost = time.Second, time.Minute
)

// demand estimates how many pods have to start ahead of time so that the warm ones stay
// ready: as many as are claimed while a pod comes up. This is the base-stock policy of
// inventories, with the warm pods as the safety stock. The zero value has seen nothing.
type demand struct {
	rate float64       // claims per second, as of at; it decays from there
	at   time.Time     // the last claim
	lead time.Duration // from a pod's creation to its being ready, smoothed; 0: none was seen

	held  int       // pods that are kept ahead: more at once, fewer slowly
	since time.Time // when held last changed
}

// claimed notes that a room took a pod.
func (d *demand) claimed(now time.Time) {
	d.rate, d.at = d.rateAt(now)+1/claimWindow.Seconds(), now
}

// cameUp notes how long a pod took to be ready.
func (d *demand) cameUp(took time.Duration) {
	took = min(max(took, leadLeast), leadMost)
	if d.lead == 0 {
		d.lead = took
		return
	}
	d.lead += (took - d.lead) / 4
}

// ahead is how many pods to keep beyond the warm ones, and in how long to ask again;
// 0: it stays so until something is noted.
func (d *demand) ahead(now time.Time) (pods int, again time.Duration) {
	lead := d.lead
	if lead == 0 {
		lead = leadGuess
	}
	meanwhile := d.rateAt(now) * lead.Seconds()
	if n := int(math.Round(meanwhile)); n > d.held {
		d.held, d.since = n, now
	}
	if d.held == 0 {
		return 0, 0
	}
	// It falls well below where it rose, or it would go up and down with every claim.
	low := float64(d.held) - 0.75
	wait := linger - now.Sub(d.since)
	if meanwhile > low {
		return d.held, max(wait, time.Duration(math.Log(meanwhile/low)*float64(claimWindow)), time.Second)
	}
	if wait > 0 {
		return d.held, wait
	}
	d.held, d.since = max(d.held-max(d.held/4, 1), int(math.Round(meanwhile))), now
	if d.held == 0 {
		return 0, 0
	}
	return d.held, linger
}

func (d *demand) rateAt(now time.Time) float64 {
	return d.rate * math.Exp(-now.Sub(d.at).Seconds()/claimWindow.Seconds())
}
