package webhook

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"

	"voiceroom.dev/voiceroom/room"
)

// TestUnreliableWorld drives rooms at random while the receiver refuses, hangs up after
// it stored, and stores parts, while pods die and senders are replaced. In the end the
// receiver has every room as it is; and where pods remember all of an epoch, it has seen
// every event of the epochs that ended well.
func TestUnreliableWorld(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &unreliable{rng: rand.New(rand.NewPCG(seed, 10))}
			r := newReceiver(t)
			r.before, r.lose = w.before, func() bool { return w.one(6) }
			w.receiver = r
			rooms := pods{}
			for i := range 6 {
				p := newPod(fmt.Sprint("room", i))
				if seed%2 == 1 {
					p.remembers = 30
				}
				rooms[p.state().ID.UID] = p
			}
			for range 4 { // senders
				_, stop := start(t, config(r.URL), rooms)
				live(rooms, seed, w.one(2))
				stop()
			}
			s, _ := start(t, config(r.URL), rooms)
			for uid, p := range rooms {
				p.announce(1, "the end of ")
				caught(t, r, p)
				s.Ended(p.state().ID, t0, "Deleted", "")
				until(t, "the end is told", func() bool { return r.ended(uid) })
				r.with(uid, func(b *book) {
					if seed%2 == 0 && b.jumps != 0 {
						t.Errorf("%s: events were missed %d times although its pod remembered them", uid, b.jumps)
					}
				})
			}
		})
	}
}

// live lets things happen in all rooms at once; pods may die.
func live(rooms pods, seed uint64, deadly bool) {
	var wg sync.WaitGroup
	for uid, p := range rooms {
		rng := rand.New(rand.NewPCG(seed, uint64(uid[len(uid)-1])))
		wg.Go(func() {
			for range 60 {
				p.do(happening(rng))
				if deadly && rng.IntN(40) == 0 {
					p.die()
				}
			}
		})
	}
	wg.Wait()
}

// happening is a command at random.
func happening(rng *rand.Rand) room.Command {
	n := rng.IntN(12)
	session, subject := fmt.Sprint("s", n), fmt.Sprint("key:shop:", n)
	if n == 0 {
		subject = "key:shop:ann"
	}
	text := fmt.Sprint("n", rng.IntN(1000))
	return []room.Command{
		room.Reserve{Subject: subject, Session: session, Name: text},
		room.Open{Session: session},
		room.Associate{Session: session},
		room.Enter{Session: session},
		room.Lost{Session: session},
		room.Kick{Member: uint32(n)},
		room.Configure{Announcement: &text},
	}[rng.IntN(7)]
}

// unreliable is a receiver's bad luck.
type unreliable struct {
	receiver *receiver
	mu       sync.Mutex
	rng      *rand.Rand
}

// one is true one time in n.
func (u *unreliable) one(n int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.rng.IntN(n) == 0
}

func (u *unreliable) before(w http.ResponseWriter, d Delivery) bool {
	switch {
	case u.one(6):
		w.WriteHeader(http.StatusInternalServerError)
		return true
	case u.one(6) && len(d.Events) > 1: // stores the first of them only
		d.Events = slices.Clip(d.Events[:1])
		d.Seq = d.Events[0].Seq
		_ = jsonTo(w, u.receiver.take(d))
		return true
	}
	return false
}
