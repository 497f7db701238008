package media

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Whoever comes, goes, talks and stops: a talker is sent to the slots that it is on, and to no
// others; no slot is empty for which there is a talker; nobody hears itself.
func TestRoutesFollowSlots(t *testing.T) {
	for name, tick := range map[string]time.Duration{"at once": 0, "on a tick": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			f := newForwarder(tick, 3, noBatch)
			defer f.stop()
			testRoutes(t, f)
		})
	}
}

func testRoutes(t *testing.T, f *forwarder) {
	rng := rand.New(rand.NewPCG(1, 2))
	now := time.Now()
	var sessions []*session
	live := map[*session]grant{}
	for step := range 2000 {
		switch pick := rng.IntN(10); {
		case pick < 3 && len(sessions) < 12:
			s, _ := listen(t, f, fmt.Sprint(step), rng.IntN(4))
			sessions = append(sessions, s)
		case len(sessions) == 0:
		case pick < 5:
			i := rng.IntN(len(sessions))
			delete(live, sessions[i])
			f.leave(sessions[i], now)
			sessions = slices.Delete(sessions, i, i+1)
		case pick < 8:
			s := sessions[rng.IntN(len(sessions))]
			if _, on := live[s]; on && pick < 7 {
				delete(live, s)
			} else {
				live[s] = grant{session: s, member: uint32(step + 1), number: uint64(step + 1), priority: pick == 5}
			}
			oldestFirst := func(a, b grant) int { return cmp.Compare(a.number, b.number) }
			f.setGrants(slices.SortedFunc(maps.Values(live), oldestFirst), nil, now)
		default:
			newTalk(sessions[rng.IntN(len(sessions))], uint8(rng.IntN(60))).next(f)
		}
		checkRoutes(t, f, len(live))
	}
}

func checkRoutes(t *testing.T, f *forwarder, live int) {
	t.Helper()
	if len(f.byRank) != live {
		t.Fatalf("%d talkers, want %d", len(f.byRank), live)
	}
	slots := map[*talker]int{}
	for _, l := range f.listeners {
		for _, talker := range l.slots {
			if talker == nil {
				continue
			}
			slots[talker]++
			if f.byRank[talker.rank] != talker || talker.session == l.session || l.session.hears != l {
				t.Fatalf("member %d is sent to a slot of %s that is not its", talker.member, l.session.id)
			}
		}
		others := live
		if l.session.talks != nil {
			others--
		}
		if on := len(l.slots) - count(l.slots, nil); on != min(others, len(l.slots)) {
			t.Fatalf("%s hears %d of %d others on %d slots", l.session.id, on, others, len(l.slots))
		}
		left := len(l.slots)
		for place, rank := range f.ranking.Order() {
			talker := f.byRank[rank]
			if talker.session == l.session {
				continue
			}
			if on := l.hears(talker) >= 0; on != (left > 0) {
				t.Fatalf("%s has %d slots; it hears who is at place %d: %v", l.session.id, len(l.slots), place, on)
			}
			left = max(left-1, 0)
		}
	}
	for _, talker := range f.byRank {
		if talker.slots != slots[talker] {
			t.Fatalf("member %d is on %d slots, and counts %d", talker.member, slots[talker], talker.slots)
		}
	}
	checkTiers(t, f)
}

// checkTiers sees that each listener is served by one: people on a microphone at once.
func checkTiers(t *testing.T, f *forwarder) {
	t.Helper()
	served := count(f.prompt, nil)
	for _, l := range f.listeners {
		by := count(f.prompt, l)
		if prompt := len(f.shards) == 0 || l.session.talks != nil; prompt != (by == 1) {
			t.Fatalf("%s is prompt: %v, want %v", l.session.id, by == 1, prompt)
		}
		for _, s := range f.shards {
			by += count(s.listeners, l)
		}
		if by != 1 {
			t.Fatalf("%s is served by %d", l.session.id, by)
		}
	}
	served += len(f.prompt)
	for _, s := range f.shards {
		served += len(s.listeners)
	}
	if served != len(f.listeners) {
		t.Fatalf("%d are served of %d", served, len(f.listeners))
	}
}

func count[T comparable](list []T, of T) (n int) {
	for _, v := range list {
		if v == of {
			n++
		}
	}
	return n
}
