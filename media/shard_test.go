package media

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const testTick = 20 * time.Millisecond

// onATick runs a test with a forwarder that has shards, in a bubble of time.
func onATick(t *testing.T, test func(t *testing.T, f *forwarder)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newForwarder(testTick, 2, noBatch)
		defer f.stop()
		test(t, f)
	})
}

// Who is on a microphone is served at once, the audience on the next tick, and nobody loses a packet by
// changing sides.
func TestTiers(t *testing.T) {
	onATick(t, func(t *testing.T, f *forwarder) {
		bob, _ := listen(t, f, "bob", 2)
		cy, cyWire := listen(t, f, "cy", 2)
		_, annWire := listen(t, f, "ann", 2)
		bobs, cys := grant{session: bob, member: 2, number: 2}, grant{session: cy, member: 3, number: 3}
		f.setGrants([]grant{bobs, cys}, nil, time.Now())
		talk := newTalk(bob, 30)
		for n := 1; n <= 3; n++ {
			talk.next(f)
			talk.next(f)
			if got := cyWire.heard(2); got != 2*n {
				t.Errorf("on a microphone %d of %d packets were heard at once", got, 2*n)
			}
			if got := annWire.heard(2); got != 2*(n-1) {
				t.Errorf("in the audience %d packets were heard before the tick, want %d", got, 2*(n-1))
			}
			time.Sleep(testTick)
			synctest.Wait()
			if got := annWire.heard(2); got != 2*n {
				t.Errorf("in the audience %d packets were heard after the tick, want %d", got, 2*n)
			}
		}
		f.setGrants([]grant{bobs}, nil, time.Now())
		talk.next(f)
		if got := cyWire.heard(2); got != 6 {
			t.Errorf("who left the microphone has heard %d packets before the tick, want 6", got)
		}
		f.setGrants([]grant{bobs, cys}, nil, time.Now())
		if got := cyWire.heard(2); got != 7 {
			t.Errorf("who took the microphone has heard %d packets, want 7", got)
		}
	})
}

// While nobody talks no shard wakes up.
func TestShardsSleep(t *testing.T) {
	onATick(t, func(t *testing.T, f *forwarder) {
		bob, _ := listen(t, f, "bob", 2)
		_, wire := listen(t, f, "ann", 2)
		f.setGrants([]grant{{session: bob, member: 2, number: 2}}, nil, time.Now())
		time.Sleep(testTick)
		synctest.Wait()
		talk := newTalk(bob, 30)
		for range 3 {
			for _, s := range f.shards {
				if s.due.Load() {
					t.Error("a tick is due although nobody talks")
				}
			}
			time.Sleep(time.Hour)
			talk.next(f)
			time.Sleep(testTick)
			synctest.Wait()
		}
		if got := wire.heard(2); got != 3 {
			t.Errorf("heard %d packets, want 3", got)
		}
	})
}

// What waits for a tick when its grant is revoked is never sent; the slot ends in silence.
func TestRevokedBeforeTheTick(t *testing.T) {
	onATick(t, func(t *testing.T, f *forwarder) {
		bob, _ := listen(t, f, "bob", 2)
		_, wire := listen(t, f, "ann", 2)
		grants := []grant{{session: bob, member: 2, number: 2}}
		f.setGrants(grants, nil, time.Now())
		talk := newTalk(bob, 30)
		talk.next(f)
		time.Sleep(testTick)
		synctest.Wait()
		talk.next(f)
		f.setGrants(nil, nil, time.Now())
		grants[0].number = 3
		f.setGrants(grants, nil, time.Now().Add(-time.Second))
		time.Sleep(testTick)
		synctest.Wait()
		if got := wire.heard(2); got != 1 {
			t.Errorf("%d packets were heard, want the 1 from before", got)
		}
		if got := wire.heard(0); got != 3 {
			t.Errorf("%d packets of silence, want 3", got)
		}
	})
}

// Whoever comes and goes while shards serve, who stays misses nothing.
func TestAudienceComesAndGoes(t *testing.T) {
	onATick(t, func(t *testing.T, f *forwarder) {
		const packets = 1000
		var wires []*wire
		for range 3 * batchOf {
			_, w := listen(t, f, "stays", 1)
			wires = append(wires, w)
		}
		bob, _ := listen(t, f, "bob", 1)
		f.setGrants([]grant{{session: bob, member: 2, number: 2}}, nil, time.Now())
		var passers sync.WaitGroup
		var over atomic.Bool
		for range 4 {
			passers.Go(func() {
				for !over.Load() {
					s, _ := listen(t, f, "passes by", 1)
					time.Sleep(testTick / 7)
					f.leave(s, time.Now())
				}
			})
		}
		talk := newTalk(bob, 30)
		for range packets {
			talk.next(f)
			time.Sleep(testTick / 5)
		}
		over.Store(true)
		passers.Wait()
		time.Sleep(2 * testTick) // who was missed has the next tick
		synctest.Wait()
		for i, w := range wires {
			if got := w.heard(2); got != packets {
				t.Fatalf("listener %d heard %d packets of %d", i, got, packets)
			}
		}
	})
}
