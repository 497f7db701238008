package ranking

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// speech is a stretch in which talkers send a packet each 20 ms at a level;
// silent sends nothing, none sends without levels.
type speech struct {
	packets int
	levels  []int
}

const (
	silent = -1
	none   = -2
)

func (s speech) play(r *Ranking, talkers []*Talker, now *time.Time) {
	for range s.packets {
		*now = now.Add(20 * time.Millisecond)
		for i, level := range s.levels {
			if level != silent {
				r.Heard(talkers[i], uint8(max(level, 0)), level != none, *now)
			}
		}
	}
}

func TestOrder(t *testing.T) {
	tests := []struct {
		name     string
		speeches []speech
		want     string
	}{
		{"by the age of the grant until heard", nil, "0 1 2"},
		{"by the age of the grant without levels", []speech{{50, []int{none, none, none}}}, "0 1 2"},
		{"the louder ones first", []speech{{50, []int{55, 30, 40}}}, "1 2 0"},
		{"a talker is heard before silent ones at once", []speech{{1, []int{silent, silent, 30}}}, "2 0 1"},
		{"a talker without levels is heard before silent ones", []speech{{1, []int{silent, silent, none}}}, "2 0 1"},
		{"a little louder is not enough", []speech{{50, []int{30, 30, 30}}, {200, []int{32, 28, 27}}}, "0 1 2"},
		{"shouting does not displace speech", []speech{{50, []int{24, 24, silent}}, {200, []int{24, 24, 0}}}, "0 1 2"},
		{"a pause between words loses nothing", []speech{{50, []int{25, 25, silent}}, {8, []int{127, 25, 25}}}, "0 1 2"},
		{"who stops talking makes room", []speech{{50, []int{25, 25, silent}}, {50, []int{127, 25, 25}}}, "1 2 0"},
		{"who stops sending makes room", []speech{{50, []int{25, 25, silent}}, {50, []int{silent, 25, 25}}}, "1 2 0"},
		{"a short cough moves nobody", []speech{{50, []int{40, 40, 127}}, {2, []int{40, 40, 20}}, {50, []int{40, 40, 127}}}, "0 1 2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var r Ranking
			talkers := []*Talker{r.Add(), r.Add(), r.Add()}
			now := time.Unix(1_000_000, 0)
			for _, s := range test.speeches {
				s.play(&r, talkers, &now)
			}
			if got := orderOf(&r, talkers); got != test.want {
				t.Errorf("order %s, want %s", got, test.want)
			}
		})
	}
}

// A talker with priority is heard from its first word on, for as long as it speaks and
// a moment longer; without a word it holds up nobody.
func TestPriority(t *testing.T) {
	tests := []struct {
		name     string
		speeches []speech // 1 has priority from the second on
		want     string
	}{
		{"its first word", []speech{{50, []int{24, silent, 24}}, {1, []int{24, 45, 24}}}, "1 0 2"},
		{"its first word without a level", []speech{{50, []int{24, silent, 24}}, {1, []int{24, none, 24}}}, "1 0 2"},
		{"it speaks already", []speech{{50, []int{24, 40, 24}}, {1, []int{24, 40, 24}}}, "1 0 2"},
		{"others shout", []speech{{50, []int{24, 45, 24}}, {500, []int{0, 45, 0}}}, "1 0 2"},
		{"a pause between sentences", []speech{{1, []int{24, 24, 24}}, {50, []int{24, 24, 24}}, {40, []int{24, 127, 24}}}, "1 0 2"},
		{"it is silent", []speech{{50, []int{24, silent, 24}}, {50, []int{24, 127, 24}}}, "0 2 1"},
		{"it breathes", []speech{{50, []int{24, silent, 24}}, {50, []int{24, 55, 24}}}, "0 2 1"},
		{"it sends nothing", []speech{{50, []int{24, 127, 24}}, {50, []int{24, silent, 24}}}, "0 2 1"},
		{"it has stopped speaking", []speech{{50, []int{24, 24, 24}}, {50, []int{24, 24, 24}}, {100, []int{24, 127, 24}}}, "0 2 1"},
		{"it has stopped sending", []speech{{50, []int{24, 24, 24}}, {50, []int{24, 24, 24}}, {100, []int{24, silent, 24}}}, "0 2 1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var r Ranking
			talkers := []*Talker{r.Add(), r.Add(), r.Add()}
			now := time.Unix(1_000_000, 0)
			for i, s := range test.speeches {
				talkers[1].Priority = i > 0
				s.play(&r, talkers, &now)
			}
			if got := orderOf(&r, talkers); got != test.want {
				t.Errorf("order %s, want %s", got, test.want)
			}
		})
	}
}

// Of several with priority the louder is first, as without; who loses it is ordered like all.
func TestPriorityAmongThemselves(t *testing.T) {
	var r Ranking
	talkers := []*Talker{r.Add(), r.Add(), r.Add()}
	talkers[1].Priority, talkers[2].Priority = true, true
	now := time.Unix(1_000_000, 0)
	for _, step := range []struct {
		s    speech
		want string
	}{
		{speech{50, []int{20, 45, 45}}, "1 2 0"},
		{speech{50, []int{20, 45, 30}}, "2 1 0"},
		{speech{100, []int{20, 127, 30}}, "2 0 1"},
	} {
		step.s.play(&r, talkers, &now)
		if got := orderOf(&r, talkers); got != step.want {
			t.Errorf("order %s, want %s", got, step.want)
		}
	}
	talkers[2].Priority = false
	speech{1, []int{20, 127, 45}}.play(&r, talkers, &now)
	if got := orderOf(&r, talkers); got != "0 2 1" {
		t.Errorf("without priority: order %s", got)
	}
}

func orderOf(r *Ranking, talkers []*Talker) string {
	var names []string
	for i, x := range r.Order() {
		if x.at != i {
			return fmt.Sprintf("talker at %d believes to be at %d", i, x.at)
		}
		names = append(names, fmt.Sprint(slices.Index(talkers, x)))
	}
	return strings.Join(names, " ")
}

// Two that take turns word by word share one slot's hysteresis: the order must not
// follow each word.
func TestTurnsAreNotSwaps(t *testing.T) {
	var r Ranking
	a, b := r.Add(), r.Add()
	now, moves := time.Unix(0, 0), 0
	for i := range 500 {
		now = now.Add(20 * time.Millisecond)
		la, lb := uint8(25), uint8(45)
		if i/5%2 == 1 { // 100 ms each
			la, lb = lb, la
		}
		for i, level := range []uint8{la, lb} {
			if from, to := r.Heard([]*Talker{a, b}[i], level, true, now); from != to {
				moves++
			}
		}
	}
	if moves > 2 {
		t.Errorf("the order changed %d times in 10 s", moves)
	}
}

func TestRemove(t *testing.T) {
	var r Ranking
	talkers := []*Talker{r.Add(), r.Add(), r.Add()}
	r.Remove(talkers[1])
	if got := orderOf(&r, talkers); got != "0 2" {
		t.Errorf("order %s, want 0 2", got)
	}
	if from, to := r.Heard(talkers[2], 25, true, time.Unix(1, 0)); from != 1 || to != 0 {
		t.Error("a talker does not pass a silent one after a removal")
	}
	r.Remove(talkers[2])
	r.Remove(talkers[0])
	if got := orderOf(&r, talkers); got != "" {
		t.Errorf("order %q of nobody", got)
	}
}

func TestHeardDoesNotAllocate(t *testing.T) {
	var r Ranking
	a, b := r.Add(), r.Add()
	now := time.Unix(0, 0)
	if n := testing.AllocsPerRun(100, func() {
		now = now.Add(20 * time.Millisecond)
		r.Heard(a, 30, true, now)
		r.Heard(b, 50, true, now)
	}); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}
