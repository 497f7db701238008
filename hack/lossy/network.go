package lossy

import (
	"errors"
	"math/rand/v2"
	"time"
)

// Network is what happens to the datagrams of one direction. The zero value is a perfect one.
type Network struct {
	Loss float64 // share that is lost, 0 to below 1
	// Burst is how many are lost in a row on average, as in the model of Gilbert and Elliott whose good state loses nothing
	// and whose bad state everything. Up to 1: each is lost or not by itself.
	Burst  float64
	Delay  time.Duration // of all that is not lost
	Jitter time.Duration // and more, anything up to this, all alike likely
	// Reorder lets jitter change the order. Without it, what was held up holds up what comes after it.
	Reorder bool
}

// Validate says what is wrong with n.
func (n Network) Validate() error {
	switch {
	case n.Loss < 0 || n.Loss >= 1:
		return errors.New("a share of losses is at least 0 and less than 1")
	case n.Burst > 1 && n.Loss > n.Burst/(1+n.Burst):
		return errors.New("so many losses need longer bursts: one datagram at least comes through between two of them")
	case n.Burst < 0 || n.Delay < 0 || n.Jitter < 0:
		return errors.New("a burst, a delay and a jitter are not negative")
	}
	return nil
}

// fate is what becomes of one datagram.
type fate struct {
	lost  bool
	delay time.Duration
}

// fates draws what becomes of the datagrams of one client in one direction, one after the other.
type fates struct {
	rng *rand.Rand
	bad bool // the state of Gilbert and Elliott
}

// Directions, as fates tells them apart.
const (
	up   = 0 // to the server
	down = 1
)

func newFates(seed uint64, client, direction int) fates {
	return fates{rng: rand.New(rand.NewPCG(seed, uint64(client)<<1|uint64(direction)))}
}

// next draws as often for any network, so that one that changes leaves the draws to come as they are.
func (f *fates) next(n Network) fate {
	loss, late := f.rng.Float64(), f.rng.Float64()
	switch {
	case n.Burst <= 1:
		f.bad = loss < n.Loss
	case f.bad:
		f.bad = loss >= 1/n.Burst
	default: // such that n.Loss of the time are bad
		f.bad = loss < n.Loss/(n.Burst*(1-n.Loss))
	}
	return fate{lost: f.bad, delay: n.Delay + time.Duration(late*float64(n.Jitter))}
}
