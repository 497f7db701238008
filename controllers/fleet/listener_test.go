package fleet

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// ears write down what they hear.
type ears struct {
	mu     sync.Mutex
	begun  []uint64 // seq of snapshots
	events []room.Event
	ended  []string
}

func (e *ears) Snapshot(s *room.State) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun = append(e.begun, s.Seq)
}

func (e *ears) Event(_ room.ID, ev room.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, ev)
}

func (e *ears) Ended(id room.ID, _ time.Time, reason, message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = append(e.ended, fmt.Sprint(id.UID, " ", id.GroupID, " ", reason, message))
}

func (e *ears) heard() (begun []uint64, events []room.Event, ended []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]uint64(nil), e.begun...), append([]room.Event(nil), e.events...), append([]string(nil), e.ended...)
}

// TestListener hears everything of a room at a real pod, in order, and what the pod
// remembers can be had again.
func TestListener(t *testing.T) {
	p, heard := startPod(t, "pod"), &ears{}
	f := New(p.dialer, &notes{}, clock.RealClock{}, logr.Discard())
	f.Tell(heard)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- f.Start(ctx) }()
	defer func() { cancel(); must(t, <-stopped) }()

	client, claim := p.dialer.Pod(p.endpoint, "pod"), Claim{Room: roomNamed("r"), RoomUID: "uid", Epoch: 1, PodUID: "pod", Endpoint: p.endpoint}
	spec := room.Spec{Generation: 1, Owner: "key:k:ann", MaxMembers: 2, MaxMics: 1, Access: room.Public, MicPolicy: room.Auto}
	put := mediaapi.PutRequest{ID: room.ID{UID: "uid", Namespace: "default", Name: "r", GroupID: "g"}, Epoch: 1, Spec: spec}
	state, err := client.Put(ctx, put)
	must(t, err)
	f.Follow(claim, state)
	until(t, "the watch began", func() bool { begun, _, _ := heard.heard(); return len(begun) == 1 })
	for range 5 {
		put.Spec.Generation++
		put.Spec.DisplayName += "r"
		state, err = client.Put(ctx, put)
		must(t, err)
		f.Follow(claim, state) // the replica is ahead of the watch; the listener misses nothing
	}
	var begun []uint64
	var events []room.Event
	until(t, "all events came", func() bool {
		begun, events, _ = heard.heard()
		return len(events) > 0 && events[len(events)-1].Seq == state.Seq
	})
	for i, e := range events {
		if e.Seq != begun[0]+uint64(i)+1 {
			t.Fatalf("event %d is %d after a beginning at %d", i, e.Seq, begun[0])
		}
	}
	if f.State("uid").Seq < state.Seq {
		t.Error("the state is older than what the listener was told")
	}
	again, err := f.Since(ctx, "uid", 1, events[1].Seq, events[3].Seq)
	must(t, err)
	if diff := cmp.Diff(events[2:4], again); diff != "" {
		t.Errorf("events 3 and 4 again (-want +got):\n%s", diff)
	}
	for name, ask := range map[string][3]uint64{"an epoch to come": {2, 1, 2}, "an old event": {1, 0, 2}, "nothing": {1, 2, 2}} {
		if got, err := f.Since(ctx, "uid", ask[0], ask[1], ask[2]); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	f.Deleted(roomNamed("other"))
	f.Rest("uid")
	f.End(put.ID, time.Now(), "Empty", "")
	f.End(put.ID, time.Now(), "Empty", "")
	f.Deleted(claim.Room) // nobody follows it any more
	f.Follow(claim, state)
	f.Deleted(claim.Room)
	if _, _, ended := heard.heard(); !cmp.Equal(ended, []string{"uid g Empty", "uid g Empty", "uid g Deleted"}) {
		t.Errorf("heard %q", ended)
	}
	if _, err := f.Since(ctx, "uid", 1, 1, 2); err == nil {
		t.Error("a room that is gone remembers events")
	}
}
