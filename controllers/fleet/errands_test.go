package fleet

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// notes is a clerk that writes down what it is asked, and answers err.
type notes struct {
	asked []string
	err   error
}

func (n *notes) Confirm(_ context.Context, _ Room, session string) error {
	n.asked = append(n.asked, "confirm "+session)
	return n.err
}

func (n *notes) Repair(context.Context, Room) error {
	n.asked = append(n.asked, "repair")
	return n.err
}

// followed runs a test of a fleet that follows one room without a pod to call. Its clock
// goes on when everybody waits.
func followed(t *testing.T, clerk Clerk, test func(t *testing.T, f *Fleet, n *follower)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := New(nil, clerk, clock.RealClock{}, logr.Discard())
		f.begin()
		defer f.errands.ShutDown()
		n := &follower{fleet: f, claim: Claim{Room: roomNamed("r"), RoomUID: "uid", Epoch: 1}, cancel: func() {}, turn: make(chan struct{}), met: func() {}}
		close(n.turn)
		f.followers["uid"], f.uids[roomNamed("r")] = n, "uid"
		test(t, f, n)
	})
}

func member(id uint32, status room.Status) room.Member {
	return room.Member{ID: id, Subject: "key:k:" + string(rune('a'+id)), Session: string(rune('a' + id)), Status: status}
}

func event(seq uint64, kind room.EventType, m room.Member) mediaapi.Frame {
	return mediaapi.Frame{Event: &room.Event{Epoch: 1, Seq: seq, Type: kind, Member: &m}}
}

// next runs the errand that is due.
func next(t *testing.T, f *Fleet) (done bool) {
	t.Helper()
	e, shutdown := f.errands.Get()
	if shutdown {
		t.Fatal("no errand")
	}
	defer f.errands.Done(e)
	return f.do(t.Context(), e)
}

func take(t *testing.T, n *follower, frames ...mediaapi.Frame) {
	t.Helper()
	for _, f := range frames {
		if err := n.take(f); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAssociatedSessionsAreConfirmed(t *testing.T) {
	clerk := &notes{}
	followed(t, clerk, func(t *testing.T, f *Fleet, n *follower) {
		take(t, n, mediaapi.Frame{Snapshot: &room.State{Epoch: 1, Seq: 1, Members: []room.Member{member(1, room.Associated), member(2, room.Entered)}}},
			event(2, room.EventMember, member(3, room.Associated)))
		synctest.Wait()
		if f.errands.Len() != 0 {
			t.Fatal("a client's own feedback was not waited for")
		}
		time.Sleep(confirmAfter)
		next(t, f)
		next(t, f)
		if diff := cmp.Diff([]string{"confirm b", "confirm d"}, sorted(clerk.asked)); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
	})
}

func sorted(s []string) []string {
	if len(s) == 2 && s[0] > s[1] {
		s[0], s[1] = s[1], s[0]
	}
	return s
}

// TestConfirmedMeanwhile: feedback came after all, or the client went.
func TestConfirmedMeanwhile(t *testing.T) {
	clerk := &notes{}
	followed(t, clerk, func(t *testing.T, f *Fleet, n *follower) {
		take(t, n, mediaapi.Frame{Snapshot: &room.State{Epoch: 1, Seq: 1, Members: []room.Member{member(1, room.Associated)}}},
			event(2, room.EventMember, member(1, room.Entered)))
		time.Sleep(confirmAfter)
		if done := next(t, f); !done || len(clerk.asked) > 0 {
			t.Errorf("done %v, asked %v", done, clerk.asked)
		}
	})
}

func TestFailedErrandsAreRunAgain(t *testing.T) {
	clerk := &notes{err: errors.New("chat is away")}
	followed(t, clerk, func(t *testing.T, f *Fleet, n *follower) {
		take(t, n, mediaapi.Frame{Snapshot: &room.State{Epoch: 1, Seq: 1, Members: []room.Member{member(1, room.Associated)}}})
		time.Sleep(confirmAfter)
		if next(t, f) {
			t.Error("a confirmation that failed counts as done")
		}
		n.lose(mediaapi.ErrUnreachable)
		asked := len(clerk.asked)
		if e := (errand{room: "uid", session: "b"}); f.do(t.Context(), e) || len(clerk.asked) > asked {
			t.Error("an errand at a lost pod is not kept until the pod answers: a watch that goes on brings no snapshot")
		}
	})
}

// TestDeparturesAreRepairedTogether: everybody who leaves within a while costs one
// comparison.
func TestDeparturesAreRepairedTogether(t *testing.T) {
	clerk := &notes{}
	followed(t, clerk, func(t *testing.T, f *Fleet, n *follower) {
		take(t, n, mediaapi.Frame{Snapshot: &room.State{Epoch: 1, Seq: 1, Members: []room.Member{member(1, room.Entered), member(2, room.Entered)}}},
			event(2, room.EventLeft, member(1, room.Entered)), event(3, room.EventLeft, member(2, room.Entered)))
		time.Sleep(repairAfter)
		next(t, f)
		if diff := cmp.Diff([]string{"repair"}, clerk.asked); diff != "" || f.errands.Len() != 0 {
			t.Errorf("%d errands left, asked (-want +got):\n%s", f.errands.Len(), diff)
		}
	})
}

// TestListsAreComparedAgain: after a departure, or where one may not have been seen, chat may
// remove the member long after its caller gave up.
func TestListsAreComparedAgain(t *testing.T) {
	for name, frame := range map[string]mediaapi.Frame{
		"departure": event(2, room.EventLeft, member(1, room.Entered)),
		"snapshot":  {Snapshot: &room.State{Epoch: 1, Seq: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			clerk := &notes{}
			followed(t, clerk, func(t *testing.T, f *Fleet, n *follower) {
				n.learn(&room.State{Epoch: 1, Seq: 1, Members: []room.Member{member(1, room.Entered)}})
				take(t, n, frame)
				time.Sleep(repairAfter)
				next(t, f)
				time.Sleep(repairAgain)
				next(t, f)
				if diff := cmp.Diff([]string{"repair", "repair"}, clerk.asked); diff != "" {
					t.Errorf("asked (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestReplicaFollowsItsEvents(t *testing.T) {
	followed(t, &notes{}, func(t *testing.T, f *Fleet, n *follower) {
		take(t, n, mediaapi.Frame{Snapshot: &room.State{Epoch: 1, Seq: 4}}, event(5, room.EventMember, member(1, room.Entered)))
		before := f.Replica("uid")
		take(t, n, event(6, room.EventLeft, member(1, room.Entered)), mediaapi.Frame{})
		if len(before.State.Members) != 1 || len(f.Replica("uid").State.Members) != 0 {
			t.Errorf("given out %+v, now %+v: what was given out must not change", before.State, f.Replica("uid").State)
		}
		n.learn(&room.State{Epoch: 1, Seq: 2}) // an answer that the watch has overtaken
		if seq := f.Replica("uid").State.Seq; seq != 6 || n.seen() != 6 {
			t.Errorf("the replica went back to %d, the watch goes on after %d", seq, n.seen())
		}
		n.learn(&room.State{Epoch: 1, Seq: 8, Members: []room.Member{member(4, room.Entered)}}) // one that has overtaken the watch
		if n.seen() != 6 {
			t.Errorf("the watch goes on after %d: it has not brought that yet", n.seen())
		}
		take(t, n, event(7, room.EventMember, member(3, room.Entered)), event(8, room.EventLeft, member(3, room.Entered)))
		if s := f.Replica("uid").State; s.Seq != 8 || len(s.Members) != 1 || s.Members[0].ID != 4 || n.seen() != 8 {
			t.Errorf("what was held already was applied again: %+v; the watch goes on after %d", s, n.seen())
		}
		if err := n.take(event(10, room.EventMember, member(2, room.Entered))); !errors.Is(err, errGap) || n.seen() != 0 {
			t.Errorf("an event after a gap: %v, want the watch to start anew; it goes on after %d", err, n.seen())
		}
	})
}

// TestReplicaTakesWholeCommands: a seed that shows a command half done would be a room that
// never was, such as one whose owner has entered and which nobody activated.
func TestReplicaTakesWholeCommands(t *testing.T) {
	followed(t, &notes{}, func(t *testing.T, f *Fleet, n *follower) {
		first := event(5, room.EventMember, member(1, room.Entered))
		first.Event.More = true
		take(t, n, mediaapi.Frame{Snapshot: &room.State{Epoch: 1, Seq: 4}}, first)
		if s := f.Replica("uid").State; s.Seq != 4 || len(s.Members) != 0 || n.held() != 4 || n.seen() != 5 {
			t.Errorf("half a command is in %+v; %d is acknowledged, the watch goes on after %d", s, n.held(), n.seen())
		}
		take(t, n, event(6, room.EventMember, member(2, room.Entered)))
		if s := f.Replica("uid").State; s.Seq != 6 || len(s.Members) != 2 || n.held() != 6 {
			t.Errorf("after the command: %+v", s)
		}
		take(t, n, mediaapi.Frame{Event: &room.Event{Epoch: 1, Seq: 7, Type: room.EventLeft, Member: first.Event.Member, More: true}})
		if err := n.take(event(9, room.EventLeft, member(2, room.Entered))); !errors.Is(err, errGap) {
			t.Errorf("a gap within a command: %v", err)
		}
		if s := f.Replica("uid").State; s.Seq != 6 || len(s.Members) != 2 {
			t.Errorf("a gap within a command left %+v", s)
		}
	})
}

func TestLost(t *testing.T) {
	followed(t, &notes{}, func(t *testing.T, f *Fleet, n *follower) {
		take(t, n, mediaapi.Frame{Snapshot: &room.State{Epoch: 1}})
		refused := &room.Error{Code: mediaapi.Unauthenticated}
		for _, step := range []struct {
			what string
			do   func()
			lost bool
			left time.Duration
		}{
			{"watched", func() {}, false, 0},
			{"just lost", func() { n.lose(mediaapi.ErrUnreachable) }, false, lostAfter},
			{"does not answer again", func() { time.Sleep(lostAfter - 1); n.lose(mediaapi.ErrUnreachable) }, false, 1},
			{"lost for long", func() { time.Sleep(time.Nanosecond) }, true, 0},
			{"found", func() { take(t, n, mediaapi.Frame{}) }, false, 0},
			{"refuses our token", func() {
				time.Sleep(time.Hour)
				n.lose(refused)
				time.Sleep(lostAfter - 1)
				n.lose(refused)
				time.Sleep(lostAfter - 1)
			}, false, 1},
		} {
			step.do()
			if r := f.Replica("uid"); r.Lost != step.lost || r.Patience != step.left {
				t.Errorf("%s: lost is %v, and it is waited for for another %v", step.what, r.Lost, r.Patience)
			}
		}
	})
}
