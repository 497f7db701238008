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
	rng := rand.New(rand.NewPCG(1, 2))
	f := newForwarder()
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
	routes := 0
	for _, talker := range f.byRank {
		routes += len(talker.routes)
		for _, r := range talker.routes {
			if r.to.slots[r.slot] != talker || r.to.session == talker.session || r.to.session.hears != r.to {
				t.Fatalf("member %d is sent to a slot of %s that is not its", talker.member, r.to.session.id)
			}
		}
	}
	for _, l := range f.listeners {
		others := live
		if l.session.talks != nil {
			others--
		}
		if on := len(l.slots) - count(l.slots, nil); on != min(others, len(l.slots)) {
			t.Fatalf("%s hears %d of %d others on %d slots", l.session.id, on, others, len(l.slots))
		} else {
			routes -= on
		}
	}
	if routes != 0 {
		t.Fatalf("%d routes more than slots that are taken", routes)
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
