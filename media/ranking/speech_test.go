package ranking

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// frame is what one packet holds.
const frame = 20 * time.Millisecond

// track makes the levels of a client, one every frame.
type track interface {
	// next is the level, whether there is a packet at all, and whether it is speech: what the client means, not
	// what it claims.
	next() (level uint8, sent, speech bool)
}

// voice is a person who talks in spurts of syllables, with pauses of all lengths between. In a pause it
// sends the noise of its room; a client with DTX sends that every 400 ms only.
type voice struct {
	rng         *rand.Rand
	level       float64 // of vowels
	noise       float64 // level of the room
	dtx         bool
	said, left  int // frames of the spurt or the pause
	inSpurt     bool
	syllable    int // frames left of it
	consonant   bool
	sincePacket int
}

func newVoice(seed uint64, level, noise float64, dtx bool) *voice {
	return &voice{rng: rand.New(rand.NewPCG(seed, 5)), level: level, noise: noise, dtx: dtx}
}

// frames is a length of time that is exponentially distributed, but at least min.
func (v *voice) frames(mean, min time.Duration) int {
	return int((min + time.Duration(v.rng.ExpFloat64()*float64(mean-min))) / frame)
}

func (v *voice) next() (uint8, bool, bool) {
	if v.left == 0 {
		v.inSpurt, v.said, v.syllable, v.consonant = !v.inSpurt, 0, 0, true
		switch {
		case v.inSpurt:
			v.left = v.frames(1500*time.Millisecond, 200*time.Millisecond)
		case v.rng.IntN(3) > 0: // for breath
			v.left = v.frames(600*time.Millisecond, 200*time.Millisecond)
		default: // others talk
			v.left = v.frames(5*time.Second, time.Second)
		}
	}
	v.left--
	v.said++
	if !v.inSpurt {
		v.sincePacket++
		if v.dtx && v.said > 10 && v.sincePacket < 20 {
			return 0, false, false
		}
		v.sincePacket = 0
		return v.jitter(v.noise, 3), true, false
	}
	v.sincePacket = 0
	return v.voiced(), true, true
}

// voiced is a frame of a spurt: vowels of some 140 ms, and between them consonants, which are up to 80 ms of
// much less.
func (v *voice) voiced() uint8 {
	if v.syllable == 0 {
		if v.consonant = !v.consonant; v.consonant {
			v.syllable = 1 + v.rng.IntN(4)
		} else {
			v.syllable = 4 + v.rng.IntN(7)
		}
	}
	v.syllable--
	switch {
	case v.consonant:
		return v.jitter(min(v.level+18, v.noise), 6)
	case v.said == 1: // it has just begun in the middle of the frame
		return v.jitter(v.level+6, 3)
	default:
		return v.jitter(v.level, 5)
	}
}

func (v *voice) jitter(level, by float64) uint8 {
	return uint8(min(max(level+by*(2*v.rng.Float64()-1), 0), 127))
}

// assertion is a client that claims the same levels again and again, whatever it sends.
type assertion struct {
	levels []uint8
	i      int
}

func (a *assertion) next() (uint8, bool, bool) {
	a.i++
	return a.levels[a.i%len(a.levels)], true, false
}

// noise is a room in which nobody speaks.
type noise struct{ *voice }

func (n noise) next() (uint8, bool, bool) { return n.jitter(n.noise, 3), true, false }

// actor is a talker and what it sends.
type actor struct {
	*Talker
	track
	spoke   time.Time // its last frame of speech
	lost    time.Time // its slot
	waiting int       // frames of this spurt that it lost though somebody could have made room; -1: it does not wait

	said, heard int // frames of speech; of those, forwarded
	onSlot      int // frames of time
}

// pauses says whether its slot is free for others.
func (a *actor) pauses(now time.Time) bool {
	pause := hold
	if a.Priority {
		pause = priorityHold
	}
	return now.Sub(a.spoke) > pause+2*frame
}

// stage is talkers, and a listener of the first slots of their order.
type stage struct {
	ranking  Ranking
	slots    int
	actors   []*actor
	counting bool // the first minute is not counted

	switches int // somebody took the slot of another
	cuts     int // of those, while the other spoke
	flaps    int // slots that were had back within a second
	onsets   int // somebody without a slot began to speak, while somebody with one paused
	waited   int // the most frames of speech that it lost then
}

func newStage(slots int, tracks ...track) *stage {
	s := &stage{slots: slots}
	for _, track := range tracks {
		s.actors = append(s.actors, &actor{Talker: s.ranking.Add(), track: track, waiting: -1})
	}
	return s
}

func (s *stage) play(length time.Duration) {
	const settle = time.Minute
	start := time.Unix(1_000_000, 0)
	for elapsed := -settle; elapsed < length; elapsed += frame {
		s.counting = elapsed >= 0
		for i, a := range s.actors {
			now := start.Add(elapsed + frame*time.Duration(i)/time.Duration(len(s.actors)))
			if level, sent, speech := a.next(); sent {
				s.send(a, level, speech, now)
			}
			if s.counting && a.at < s.slots {
				a.onSlot++
			}
		}
	}
}

// send is a packet of a.
func (s *stage) send(a *actor, level uint8, speech bool, now time.Time) {
	had := slices.Clone(s.ranking.Order()[:min(s.slots, len(s.actors))])
	contended := !slices.Contains(had, a.Talker) &&
		slices.ContainsFunc(s.actors, func(o *actor) bool { return slices.Contains(had, o.Talker) && o.pauses(now) })
	if !contended {
		a.waiting = -1
	} else if speech && now.Sub(a.spoke) > hold {
		a.waiting = 0
	}
	onset := a.waiting == 0
	s.ranking.Heard(a.Talker, level, true, now)
	if s.counting {
		s.count(a, had, onset, speech, now)
	}
	if speech {
		a.spoke = now
	}
}

func (s *stage) count(a *actor, had []*Talker, onset, speech bool, now time.Time) {
	for _, o := range s.actors {
		if o.at >= s.slots && slices.Contains(had, o.Talker) {
			s.switches++
			if o.lost = now; now.Sub(o.spoke) < 5*frame {
				s.cuts++
			}
		}
	}
	forwarded := a.at < s.slots
	if forwarded && !slices.Contains(had, a.Talker) && now.Sub(a.lost) < time.Second {
		s.flaps++
	}
	if onset {
		s.onsets++
	}
	switch {
	case !speech:
	case forwarded:
		a.said, a.heard, a.waiting = a.said+1, a.heard+1, -1
	default:
		a.said++
		if a.waiting >= 0 {
			a.waiting++
			s.waited = max(s.waited, a.waiting)
		}
	}
}

// voices are people of different loudness, some with DTX.
func voices(n int) (tracks []track) {
	for i := range n {
		tracks = append(tracks, newVoice(uint64(i+1), float64(22+3*(i%5)), 70, i%2 == 0))
	}
	return tracks
}

// For ten minutes people talk who are more than the three that are heard, or others claim to. What they lose of
// each other's words because all three speak depends on how much they talk: they are polite, and still rarely wait.
func TestSpeech(t *testing.T) {
	loud := &assertion{levels: []uint8{0}}
	fan := noise{newVoice(7, 0, 45, false)}
	for name, tc := range map[string]struct {
		tracks      []track
		cuts, flaps float64 // at most so many a minute
		lost        float64 // share of what a voice says
		priority    int     // who has it, -1: nobody
	}{
		"three":                         {voices(3), 0, 0, 0, -1},
		"four":                          {voices(4), 0.1, 6, 0.05, -1},
		"six":                           {voices(6), 1, 25, 0.2, -1},
		"six, one of whom has priority": {voices(6), 6, 25, 0.25, 5},
		"three, one claims to shout":    {append(voices(3), loud), 0, 0, 0, -1},
		"three, two claim to shout":     {append(voices(3), loud, loud), 0, 0, 0, -1},
		"three, one claims to shout and to be silent by turns": {append(voices(3), &assertion{levels: []uint8{0, 127}}), 0, 0, 0, -1},
		"three, and a fan":            {append(voices(3), fan), 0, 0, 0, -1},
		"three, and one beside a fan": {append(voices(3), newVoice(9, 20, 44, false)), 0.1, 6, 0.05, -1},
	} {
		t.Run(name, func(t *testing.T) {
			const minutes = 10
			s := newStage(3, tc.tracks...)
			if tc.priority >= 0 {
				s.actors[tc.priority].Priority = true
			}
			s.play(minutes * time.Minute)
			cuts, flaps := float64(s.cuts)/minutes, float64(s.flaps)/minutes
			t.Logf("a minute: %.1f switches, %.2f cuts, %.2f flaps; %d onsets while somebody paused, which waited for %d packets at most",
				float64(s.switches)/minutes, cuts, flaps, s.onsets, s.waited)
			if cuts > tc.cuts || flaps > tc.flaps {
				t.Errorf("%.2f cuts and %.2f flaps a minute, want at most %.2f and %.2f", cuts, flaps, tc.cuts, tc.flaps)
			}
			if s.waited > 2 || tc.cuts > 0 && s.onsets < 50 {
				t.Errorf("of %d that began to speak while somebody paused one waited for %d packets", s.onsets, s.waited)
			}
			for i, a := range s.actors {
				a.check(t, i, i != tc.priority, tc.lost)
			}
		})
	}
}

// check fails if a voice was not heard, or if what is no voice was: it has a slot for no frame.
func (a *actor) check(t *testing.T, i int, waits bool, lost float64) {
	t.Helper()
	if a.said == 0 {
		t.Logf("%d says nothing, and has a slot for %d frames", i, a.onSlot)
		if a.onSlot > 0 {
			t.Errorf("%d has a slot for %d frames without a word", i, a.onSlot)
		}
		return
	}
	if !waits {
		lost = 0
	}
	got := 1 - float64(a.heard)/float64(a.said)
	t.Logf("%d lost %.1f %% of its %d frames of speech", i, 100*got, a.said)
	if got > lost {
		t.Errorf("%d lost %.1f %% of what it said, want at most %.1f %%", i, 100*got, 100*lost)
	}
}

// Claims hold a slot for as long as a turn, and then only until somebody speaks; with a slot to spare they keep it.
func TestClaims(t *testing.T) {
	for name, levels := range map[string][]uint8{"all the time": {0}, "by turns": {0, 127}, "quietly": {45}} {
		t.Run(name, func(t *testing.T) {
			var r Ranking
			cheat, person := r.Add(), r.Add()
			now := time.Unix(1_000_000, 0)
			for i := range int(turn/frame) + 20 {
				now = now.Add(frame)
				r.Heard(cheat, levels[i%len(levels)], true, now)
			}
			if cheat.at != 0 {
				t.Error("it lost its place to nobody")
			}
			if from, to := r.Heard(person, 30, true, now); from != 1 || to != 0 {
				t.Error("who begins to speak does not pass it")
			}
		})
	}
}
