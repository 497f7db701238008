package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/go-logr/logr"
	testclock "k8s.io/utils/clock/testing"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

func TestMomentous(t *testing.T) {
	for name, tt := range map[string]struct {
		frame mediaapi.Frame
		want  bool
	}{
		"heartbeat": {mediaapi.Frame{}, false},
		"snapshot":  {mediaapi.Frame{Snapshot: &room.State{}}, true},
		"kick":      {mediaapi.Frame{Event: &room.Event{Record: &room.Record{}}}, true},
		"lock":      {mediaapi.Frame{Event: &room.Event{Settings: &room.Settings{}}}, true},
		"opened":    {mediaapi.Frame{Event: &room.Event{Room: &room.Summary{}}}, true},
		"join":      {mediaapi.Frame{Event: &room.Event{Member: &room.Member{}}}, false},
		"mic":       {mediaapi.Frame{Event: &room.Event{Mic: &room.Mic{}}}, false},
	} {
		if got := momentous(tt.frame); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// gathering is a clock that stands still, and tells when acknowledgements begin to be
// gathered.
type gathering struct {
	*testclock.FakeClock
	begun chan struct{}
}

func newGathering() gathering {
	return gathering{testclock.NewFakeClock(time.Now()), make(chan struct{}, 100)}
}

func (g gathering) After(d time.Duration) <-chan time.Time {
	c := g.FakeClock.After(d)
	if d == acknowledgeAfter {
		g.begun <- struct{}{}
	}
	return c
}

var durable = room.Spec{Generation: 1, Owner: "key:k:ann", MaxMembers: 9, MaxMics: 1, Access: room.Public, MicPolicy: room.Auto}

// TestKicksAreDurable: what moderators do is durable once the replica has it, on a clock
// that stands still so that no periodic renewal can have brought it about; and it is not
// while nobody holds a replica.
func TestKicksAreDurable(t *testing.T) {
	p, clk := startPod(t, "pod"), newGathering()
	f := New(p.dialer, &notes{}, clk, logr.Discard())
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- f.Start(ctx) }()
	client, claim := p.dialer.Pod(p.endpoint, "pod"), Claim{Room: roomNamed("r"), RoomUID: "uid", Epoch: 1, PodUID: "pod", Endpoint: p.endpoint}
	state, err := client.Put(ctx, mediaapi.PutRequest{ID: room.ID{UID: "uid", Name: "r"}, Epoch: 1, Spec: durable})
	must(t, err)
	must(t, client.Renew(ctx, 1, 0))
	place, err := client.Reserve(ctx, mediaapi.ReserveRequest{Epoch: 1, Reserve: room.Reserve{Subject: "key:k:ann", Session: "s"}})
	must(t, err)
	lock := func(locked bool) *mediaapi.CommandResult {
		t.Helper()
		result, err := client.CommandDurably(context.WithoutCancel(ctx), 1, "", room.LockMic{Locked: locked})
		must(t, err)
		return result
	}
	if lock(true).Durable {
		t.Error("durable before anybody holds a replica")
	}

	f.Follow(claim, state)
	<-clk.begun // with the snapshot
	clk.Step(acknowledgeAfter)
	kicked := make(chan *mediaapi.CommandResult, 1)
	go func() {
		result, _ := client.CommandDurably(ctx, 1, "", room.Kick{Member: place.Member.ID})
		kicked <- result
	}()
	<-clk.begun
	until(t, "the replica has all of the kick", func() bool { return len(f.Replica("uid").State.Members) == 0 })
	clk.Step(acknowledgeAfter)
	result, held := <-kicked, f.Replica("uid").State
	if result == nil || !result.Durable || held.Seq < result.Seq || held.Record("key:k:ann").Kicked == nil {
		t.Errorf("the kick came to %+v; the replica is at %d with records %+v", result, held.Seq, held.Records)
	}

	cancel()
	must(t, <-stopped)
	if lock(false).Durable {
		t.Error("durable although the operator has stopped")
	}
}

// TestAcknowledgementsAreGathered: a storm of events costs one renewal.
func TestAcknowledgementsAreGathered(t *testing.T) {
	p, clk := startPod(t, "pod"), newGathering()
	f := New(p.dialer, &notes{}, clk, logr.Discard())
	n := &follower{fleet: f, claim: Claim{Room: roomNamed("r"), Epoch: 1}, pod: p.dialer.Pod(p.endpoint, "pod"), urgent: make(chan struct{}, 1), turn: make(chan struct{})}
	close(n.turn)
	ctx, cancel := context.WithCancel(t.Context())
	f.wg.Go(func() { n.renew(ctx) })
	t.Cleanup(func() { cancel(); f.wg.Wait(); p.dialer.Close() })
	for range 3 {
		n.acknowledge()
		<-clk.begun
		for range 100 {
			n.acknowledge()
		}
		if len(n.urgent) != 1 || len(clk.begun) != 0 {
			t.Fatal("another one is on its way before the first was sent")
		}
		clk.Step(acknowledgeAfter)
		<-clk.begun // what came meanwhile is next
		clk.Step(acknowledgeAfter)
	}
}
