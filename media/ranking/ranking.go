// Package ranking orders the talkers of a room by who should be heard first.
//
// There is one order for the whole room. A listener with n slots hears the first n
// of it, itself left out, so n + 1 places matter. The order changes slowly on
// purpose: a talker moves up past the one above only when it has been louder by a
// margin for a moment, whatever the number of slots, so that nobody who is talking
// is cut off by somebody who coughs.
//
// Levels are what clients assert (RFC 6464). All that is louder than usual speech
// counts as usual speech: shouting, or claiming to, holds no place that talking
// would not.
//
// A talker with priority ranks before all others from its first word on, and for a moment
// after its last one. While it is silent it holds no place that it would not hold anyway.
//
// The package has no clock and no goroutine. A Ranking belongs to one context.
package ranking

import (
	"math"
	"time"
)

// Loudness is in dB above quiet; levels are in -dBov, so that less is louder.
const (
	loudest = 20 // a level this loud or louder is speech at full strength
	quiet   = 60 // a level this quiet or quieter is silence
	unknown = 20 // loudness of a talker that asserts no levels, while it sends

	margin = 6 // by which one must be louder than the one above to pass it

	attack  = 60 * time.Millisecond // loudness follows speech that begins this quickly,
	release = time.Second           // and fades this slowly when it pauses

	word   = 10          // loudness from which on a talker with priority speaks
	pause  = time.Second // it may make and still be speaking
	before = 100         // is added to its loudness then: more than anybody has
)

// Talker is a place in a Ranking.
type Talker struct {
	// Priority may be changed between calls of the Ranking's methods.
	Priority bool

	at       int // index in the order
	loudness float64
	heard    time.Time // zero: never
	spoke    time.Time // its last word; zero: none
}

// Ranking is the order of a room's talkers. The zero value is empty and ready.
type Ranking struct{ order []*Talker }

// Add appends a talker: until it is heard it ranks by the age of its grant.
func (r *Ranking) Add() *Talker {
	t := &Talker{at: len(r.order)}
	r.order = append(r.order, t)
	return t
}

// Remove takes a talker out. The others keep their order.
func (r *Ranking) Remove(t *Talker) {
	copy(r.order[t.at:], r.order[t.at+1:])
	r.order[len(r.order)-1] = nil
	r.order = r.order[:len(r.order)-1]
	for i, o := range r.order[t.at:] {
		o.at = t.at + i
	}
}

// Order returns the talkers, the one to hear first in front. It is valid until the
// Ranking is changed, and not the caller's to change.
func (r *Ranking) Order() []*Talker { return r.order }

// Heard takes note of a packet of t at now, with its level if it has one. It
// reports whether the order changed.
func (r *Ranking) Heard(t *Talker, level uint8, hasLevel bool, now time.Time) bool {
	loudness := loudnessOf(level, hasLevel)
	if loudness >= word {
		t.spoke = now
	}
	t.follow(loudness, now)
	moved, strength := false, t.strength(now)
	for ; t.at > 0; moved = true {
		above := r.order[t.at-1]
		if strength <= above.strength(now)+margin {
			break
		}
		r.order[t.at-1], r.order[t.at] = t, above
		t.at, above.at = t.at-1, above.at+1
	}
	return moved
}

func loudnessOf(level uint8, known bool) float64 {
	if !known {
		return unknown
	}
	return quiet - float64(min(max(level, loudest), quiet))
}

// follow smooths the loudness.
func (t *Talker) follow(loudness float64, now time.Time) {
	if t.heard.IsZero() {
		t.loudness, t.heard = loudness, now
		return
	}
	pace := release
	if loudness > t.loudness {
		pace = attack
	}
	elapsed := max(now.Sub(t.heard), 0)
	t.loudness += (loudness - t.loudness) * (1 - math.Exp(-float64(elapsed)/float64(pace)))
	t.heard = now
}

// strength is what talkers are ordered by.
func (t *Talker) strength(now time.Time) float64 {
	if t.Priority && !t.spoke.IsZero() && now.Sub(t.spoke) < pause {
		return t.fading(now) + before
	}
	return t.fading(now)
}

// fading is the loudness of a talker that may have sent nothing since it was heard.
func (t *Talker) fading(now time.Time) float64 {
	if t.heard.IsZero() {
		return 0
	}
	return t.loudness * math.Exp(-float64(max(now.Sub(t.heard), 0))/float64(release))
}
