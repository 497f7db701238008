package gateway_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/gateway"
	"voiceroom.dev/voiceroom/room"
)

// counted is a pod that counts how often it is asked for the whole room.
type counted struct {
	gateway.Pod
	states *atomic.Int64
}

func (p counted) Get(ctx context.Context, epoch uint64) (*room.State, error) {
	p.states.Add(1)
	return p.Pod.Get(ctx, epoch)
}

// Nobody can ask much of a pod, be it only to be refused, and who is slowed down costs it
// nothing.
func TestWhoIsSlowedDownCostsThePodNothing(t *testing.T) {
	t.Parallel()
	var states atomic.Int64
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 4, MaxMics: 3}, func(c *gateway.Config) {
		dial := c.Dial
		c.Dial = func(life context.Context, endpoint, podUID string) gateway.Pod {
			return counted{dial(life, endpoint, podUID), &states}
		}
		now := time.Now() // stands still: what is used up stays so
		c.Now = func() time.Time { return now }
	})
	ann := w.enter(w.hostTicket(), "Ann")
	guest, _ := w.guest("Eve")
	for _, test := range []struct {
		name  string
		call  call
		burst int
		each  int64 // how often a call that is not slowed down asks for the whole room
	}{
		{"a stranger invites", call{method: "POST", path: w.path("/invites"), bearer: guest}, 40, 1},
		{"a session looks", call{method: "GET", path: w.path("/state"), bearer: ann.Grant.Token}, 10, 1},
		{"a session asks who was removed", call{method: "GET", path: w.path("/removed"), bearer: ann.Grant.Token}, 0, 0}, // the same bound
		{"the owner looks", call{method: "GET", path: w.path("/state"), bearer: w.hostTicket()}, 10, 2},
		{"the owner commands", call{method: "POST", path: w.path("/commands/clear-hands"), bearer: w.hostTicket()}, 30, 1}, // it looked ten times
	} {
		before := states.Load()
		for i := range test.burst + 5 {
			a := w.do(test.call)
			if limited := a.code == "rate-limited" && a.status == 429; limited != (i >= test.burst) {
				t.Errorf("%s for the %dth time: %d %s", test.name, i+1, a.status, a.code)
			}
		}
		if got, want := states.Load()-before, int64(test.burst)*test.each; got != want {
			t.Errorf("%s: the pod was asked for the whole room %d times, want %d", test.name, got, want)
		}
	}
}
