// Package ranking orders the talkers of a room by who should be heard first.
//
// There is one order for the whole room. A listener with n slots hears the first n
// of it, itself left out, so n + 1 places matter. Who begins to speak passes all who do not, with
// its first word, so that those who speak are in front of those who have paused, and of these the one
// who has been quiet for longest is last. Of those who speak, the first one keeps its place: another
// passes it only when it has been louder by a margin for about a second, so that nobody who is
// talking is cut off by somebody who coughs.
//
// Levels are what clients assert (RFC 6464), and some assert too much. So a word is what stands out from
// what the talker sent lately: a level that never falls, of a fan or of a cheat, is background after
// some seconds. Nor does anybody speak on without a pause: words after the longest turn do not count
// until there was one. And all that is louder than usual speech counts as usual speech. So shouting, or
// claiming to, holds no place that talking would not. A talker that asserts no levels gives way to those
// who are known to speak, and ranks before those who are known not to.
//
// A talker with priority ranks before all others from its first word on, and for a moment
// after its last one, whatever the rest of its levels. While it is silent it holds no place that it would not
// hold anyway.
//
// The package has no clock and no goroutine. A Ranking belongs to one context.
package ranking

import "time"

// Loudness is in dB above quiet; levels are in -dBov, so that less is louder.
const (
	quiet  = 60 // a level this quiet or quieter is silence
	usual  = 40 // loudness of speech at full strength
	word   = 10 // by which a word is louder than the floor
	margin = 6  // by which one must be louder than the one above to pass it

	rise   = 3.0                    // dB per second by which the floor rises while nothing is quieter
	hold   = 300 * time.Millisecond // a pause that long ends a turn: those between words are shorter
	turn   = 15 * time.Second       // of words without a pause that count: breath lasts for less
	steady = time.Second            // in which loudness follows a voice
	packet = 120 * time.Millisecond // the longest of Opus; what lies between two is silence

	priorityHold = time.Second // a pause of a talker with priority
)

// Talker is a place in a Ranking.
type Talker struct {
	// Priority may be changed between calls of the Ranking's methods.
	Priority bool

	at       int       // index in the order
	floor    float64   // loudness of the background
	loudness float64   // of the words of this turn
	heard    time.Time // its last packet; this and those below are zero for never
	sounded  time.Time // the last one that was not silent, or had no level
	unknown  time.Time // the last one that had no level
	began    time.Time // the first word of the turn
	spoke    time.Time // the last word
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

// Heard takes note of a packet of t at now, with its level if it has one. It returns the
// places that t had before and has now, of which the first is 0: those between moved back by one.
func (r *Ranking) Heard(t *Talker, level uint8, hasLevel bool, now time.Time) (from, to int) {
	t.hear(level, hasLevel, now)
	from, state := t.at, t.state(now)
	for t.at > 0 {
		above := r.order[t.at-1]
		if other := above.state(now); state < other || state == other && (state < speaks || t.loudness <= above.loudness+margin) {
			break
		}
		r.order[t.at-1], r.order[t.at] = t, above
		t.at, above.at = t.at-1, above.at+1
	}
	return from, t.at
}

// hear follows the levels.
func (t *Talker) hear(level uint8, hasLevel bool, now time.Time) {
	elapsed := min(max(now.Sub(t.heard), 0), packet)
	t.heard = now
	if !hasLevel {
		t.sounded, t.unknown = now, now
		return
	}
	loudness := quiet - float64(min(level, quiet))
	if loudness >= word {
		t.sounded = now
	}
	t.floor = min(t.floor+rise*elapsed.Seconds(), loudness)
	if loudness < t.floor+word {
		return
	}
	if now.Sub(t.spoke) > hold {
		t.began, t.loudness = now, 0
	}
	t.spoke = now
	t.loudness += (min(loudness, usual) - t.loudness) * float64(elapsed) / float64(elapsed+steady)
}

// state is what talkers are ordered by in the first place.
type state int

const (
	rests state = iota
	sends       // and asserts no level
	speaks
	presides // speaks, and has priority
)

func (t *Talker) state(now time.Time) state {
	switch {
	case t.Priority && now.Sub(t.sounded) < priorityHold:
		return presides
	case now.Sub(t.spoke) <= hold && t.spoke.Sub(t.began) < turn:
		return speaks
	case now.Sub(t.unknown) <= hold:
		return sends
	default:
		return rests
	}
}
