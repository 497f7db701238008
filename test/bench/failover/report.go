package main

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample is one fault. Durations count from it.
type sample struct {
	at             time.Time
	claimed, ready time.Duration // as an observer of the API server sees it; 0: not seen
	listeners      []listener
	before, after  string // the seats
}

// listener is what the fault was to one member.
type listener struct {
	lost     error
	silent   time.Duration // until it heard every talker again
	gap      time.Duration // between the last frame of the old pod and the first of the new one
	noticed  time.Duration // until it left the old connection
	entered  time.Duration // until it was in at the new pod
	why      string        // it left
	attempts int
}

// report gathers samples. It may be added to from several goroutines.
type report struct {
	of      int64
	mu      sync.Mutex
	samples []*sample
}

func (r *report) add(s *sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples = append(r.samples, s)
	for _, l := range s.listeners {
		if l.lost != nil {
			fmt.Printf("\nlost: %v\n", l.lost)
		}
	}
	if s.before != s.after {
		fmt.Printf("\nseats differ:\n%s\n", cmp.Diff(s.before, s.after))
	}
	fmt.Printf("\r%d of %d faults   ", len(r.samples), r.of)
}

// print says what came of all faults and whether everybody came back to the same seat.
func (r *report) print(fault string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Println()
	var all []listener
	var claimed, ready, whole []time.Duration
	lost, changed := 0, 0
	for _, s := range r.samples {
		claimed, ready = append(claimed, s.claimed), append(ready, s.ready)
		var last time.Duration
		for _, l := range s.listeners {
			if l.lost != nil {
				lost++
				continue
			}
			last = max(last, l.silent)
			all = append(all, l)
		}
		whole = append(whole, last)
		if s.before != s.after {
			changed++
		}
	}
	if len(all) == 0 {
		fmt.Println("nothing was measured")
		return false
	}
	reasons := map[string]int{}
	attempts := 0
	for _, l := range all {
		reasons[l.why]++
		attempts += l.attempts
	}
	row("a client notices", each(all, func(l listener) time.Duration { return l.noticed }))
	row("the next epoch is claimed", claimed)
	row("its pod has the room", ready)
	row("the client is in", each(all, func(l listener) time.Duration { return l.entered }))
	silent, gap := each(all, func(l listener) time.Duration { return l.silent }), each(all, func(l listener) time.Duration { return l.gap })
	row("it hears every talker", silent)
	row("everybody hears everybody", whole)
	row("silence at a listener", gap)
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Printf("%6d noticed because: %s\n", reasons[why], why)
	}
	fmt.Printf("%.1f attempts to come in on average\n", float64(attempts)/float64(len(all)))
	judged, what := silent, "heard again"
	if faults[fault].gap {
		judged, what = gap, "silence"
	}
	verdict := "met"
	if at(judged, 99) > faults[fault].target {
		verdict = "missed"
	}
	fmt.Printf("%s: %d faults, %d listeners, %s p50 %v p99 %v max %v (target p99 %v: %s), %d seats differ, %d lost\n",
		fault, len(r.samples), len(all), what, at(judged, 50), at(judged, 99), at(judged, 100), faults[fault].target, verdict, changed, lost)
	return lost == 0 && changed == 0
}

func each(all []listener, of func(listener) time.Duration) []time.Duration {
	ds := make([]time.Duration, len(all))
	for i, l := range all {
		ds[i] = of(l)
	}
	return ds
}

func row(what string, ds []time.Duration) {
	fmt.Printf("%-28s p50 %8v   p90 %8v   p99 %8v\n", what, at(ds, 50), at(ds, 90), at(ds, 99))
}

// at is the value below which a percentage of all are.
func at(ds []time.Duration, percent int) time.Duration {
	sorted := slices.Sorted(slices.Values(ds))
	return sorted[min(len(sorted)-1, len(sorted)*percent/100)].Round(time.Millisecond)
}
