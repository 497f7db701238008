package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

var errKilled = errors.New("the operator was killed")

// guillotine lets a number of writes through and then nothing more in either
// direction, as when the process is killed. With answered, the last write still
// reaches the API server; its answer reaches nobody.
type guillotine struct {
	next     http.RoundTripper
	answered bool
	counts   func(*http.Request) bool // which writes; nil: all

	mu   sync.Mutex
	left int
	fell chan struct{}
}

func (g *guillotine) RoundTrip(r *http.Request) (*http.Response, error) {
	g.mu.Lock()
	write := r.Method != http.MethodGet && (g.counts == nil || g.counts(r))
	if write && g.left > 0 {
		g.left--
	} else if write {
		g.left = -1
	}
	dead, last := g.left < 0, write && g.left == 0
	if dead {
		select {
		case <-g.fell:
		default:
			close(g.fell)
		}
	}
	g.mu.Unlock()
	if dead {
		return nil, errKilled
	}
	resp, err := g.next.RoundTrip(r)
	if err == nil && last && g.answered {
		_ = resp.Body.Close()
		g.mu.Lock()
		g.left = -1
		g.mu.Unlock()
		return nil, errKilled
	}
	return resp, err
}

// TestKilledAtAnyWrite kills an operator before and after each of the writes that
// make a room. Its successor must end up with one room that works, on one pod,
// with one group; and nothing may be left once that room is deleted.
func TestKilledAtAnyWrite(t *testing.T) {
	startOperator(t, nil)() // keys and certificates exist from here on
	var rooms []*v1alpha1.VoiceRoom
	for _, answered := range []bool{false, true} {
		for n := 0; ; n++ {
			g := &guillotine{answered: answered, left: n, fell: make(chan struct{})}
			if answered {
				g.left++
			}
			vr, finished := killedAfter(t, fmt.Sprintf("killed-%t-%d", answered, n), g)
			rooms = append(rooms, vr)
			if finished {
				break
			}
		}
	}
	startOperator(t, nil)
	for _, vr := range rooms {
		must(t, cluster.Delete(t.Context(), vr))
	}
	for _, vr := range rooms {
		removeRoom(t, vr)
	}
}

// killedAfter makes a room. It says whether that was ready before its first
// operator was killed.
func killedAfter(t *testing.T, name string, g *guillotine) (vr *v1alpha1.VoiceRoom, finished bool) {
	t.Helper()
	stop := startOperator(t, func(rt http.RoundTripper) http.RoundTripper { g.next = rt; return g })
	vr = newRoom(t, name)
	until(t, "the operator was killed, or finished "+name, func() (bool, error) {
		select {
		case <-g.fell:
			return true, nil
		default:
		}
		err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr)
		finished = vr.Status.Phase == v1alpha1.RoomReady
		return finished, err
	})
	stop()

	stop = startOperator(t, nil)
	waitReady(t, vr)
	all, err := groupsOf(t.Context(), name)
	must(t, err)
	if len(all) != 1 || all[0].ID != vr.Status.GroupID {
		t.Errorf("%s: groups %v, the room's is %s", name, all, vr.Status.GroupID)
	}
	until(t, "exactly the claimed pod carries the labels of "+name, func() (bool, error) { return onePod(t.Context(), vr) })
	stop()
	return vr, finished
}

func onePod(ctx context.Context, vr *v1alpha1.VoiceRoom) (bool, error) {
	if err := cluster.Get(ctx, client.ObjectKeyFromObject(vr), vr); err != nil {
		return false, err
	}
	pods, err := podsOf(ctx, vr)
	return len(pods) == 1 && vr.Status.Media != nil && string(pods[0].UID) == vr.Status.Media.PodUID, err
}

// TestDeletedWhileTheOperatorIsDown: nothing holds up the deletion, and what is
// left is swept when an operator is back.
func TestDeletedWhileTheOperatorIsDown(t *testing.T) {
	stop := startOperator(t, nil)
	vr := newRoom(t, "deleted")
	waitReady(t, vr)
	stop()
	must(t, cluster.Delete(t.Context(), vr))
	until(t, "the room is gone", func() (bool, error) {
		err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr)
		return err != nil, client.IgnoreNotFound(err)
	})
	pods, err := podsOf(t.Context(), vr)
	must(t, err)
	if len(pods) != 1 {
		t.Fatalf("%d pods without an operator to sweep them, want 1", len(pods))
	}
	startOperator(t, nil)
	removeRoom(t, vr)
}
