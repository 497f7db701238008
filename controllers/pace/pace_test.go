package pace

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

var start = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

func TestOneObject(t *testing.T) {
	p := New(NewBudget(50), time.Second)
	for _, step := range []struct {
		after, wait time.Duration
		wrote       bool
	}{
		{after: 0, wait: 0},
		{after: 300 * time.Millisecond, wait: 700 * time.Millisecond},
		{after: time.Second, wait: 0},
		{after: 1500 * time.Millisecond, wrote: true},
		{after: 2 * time.Second, wait: 500 * time.Millisecond}, // since something else was written
		{after: 2500 * time.Millisecond, wait: 0},
	} {
		now := start.Add(step.after)
		if step.wrote {
			p.Wrote("a", now)
			continue
		}
		if got := p.Wait("a", now); got != step.wait {
			t.Errorf("after %v it waits %v, want %v", step.after, got, step.wait)
		}
	}
}

// crowd has news of every object all the time, and asks again when it was told to. It
// returns when each was written, and how often was asked.
func crowd(objects, most int, late func(i int) time.Duration, seconds int) (written map[int][]time.Time, asked int) {
	p := New(NewBudget(most), time.Second)
	written = map[int][]time.Time{}
	due := make([]time.Time, objects)
	for i := range due {
		due[i] = start
	}
	for now := start; now.Before(start.Add(time.Duration(seconds) * time.Second)); now = now.Add(5 * time.Millisecond) {
		for i := range due {
			if now.Before(due[i]) {
				continue
			}
			asked++
			wait := p.Wait(types.UID(fmt.Sprint(i)), now)
			if wait == 0 {
				written[i] = append(written[i], now)
				wait = time.Second // there is more news by then
			}
			due[i] = now.Add(wait + late(i))
		}
	}
	return written, asked
}

// TestCrowd: however many objects have news, and however late they come for their turns,
// no second sees more writes than the budget; each object has its share, and nobody asks
// in vain over and over.
func TestCrowd(t *testing.T) {
	const objects, most, seconds = 1000, 50, 60
	for name, late := range map[string]func(int) time.Duration{
		"in time": func(int) time.Duration { return 0 },
		"late":    func(i int) time.Duration { return time.Duration(i%7) * 400 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			written, asked := crowd(objects, most, late, seconds)
			var all []time.Time
			for _, times := range written {
				all = append(all, times...)
			}
			slices.SortFunc(all, time.Time.Compare)
			for i := most; i < len(all); i++ {
				if d := all[i].Sub(all[i-most]); d < time.Second {
					t.Fatalf("%d writes within %v of %v, want at most %d in a second", most+1, d, all[i-most].Sub(start), most)
				}
			}
			if want := most * 4 / 5 * seconds * 9 / 10; len(all) < want {
				t.Errorf("%d writes in %d s, want at least %d: what is there is to be used", len(all), seconds, want)
			}
			if len(written) != objects {
				t.Errorf("%d of %d objects were written at all", len(written), objects)
			}
			if asked > 3*(len(all)+objects) {
				t.Errorf("asked %d times for %d writes", asked, len(all))
			}
		})
	}
}

// TestObjectIsWrittenOnceInItsTime, whatever the budget allows.
func TestObjectIsWrittenOnceInItsTime(t *testing.T) {
	written, _ := crowd(5, 50, func(int) time.Duration { return 0 }, 20)
	for i, times := range written {
		for j := 1; j < len(times); j++ {
			if d := times[j].Sub(times[j-1]); d < time.Second {
				t.Errorf("object %d was written again after %v", i, d)
			}
		}
	}
}

// TestForgets: nothing stays of objects that were not heard of any more.
func TestForgets(t *testing.T) {
	p := New(NewBudget(1), time.Second)
	for i := range 100 {
		p.Wait(types.UID(fmt.Sprint(i)), start)
	}
	if len(p.objects) != 100 {
		t.Fatalf("%d objects have a turn or were written, want 100", len(p.objects))
	}
	p.Wrote("last", start.Add(time.Hour))
	if len(p.objects) != 1 {
		t.Errorf("%d objects are remembered an hour later, want 1", len(p.objects))
	}
}
