package groupchat

import (
	"errors"
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

const (
	countEvery  = 30 * time.Second       // while a room is bound; its own news come at once
	resyncEvery = 5 * time.Minute        // otherwise
	retryFirst  = 500 * time.Millisecond // after the first failure
	retryMost   = 15 * time.Second
	giveUpAfter = time.Minute // on a provider that is being deleted and does not answer

	// Changes of nothing but the number of members are written this often for one
	// group, and for all of them: rooms tell their own members sooner.
	writeEvery      = time.Second
	writesPerSecond = 10
)

// conclude derives the Ready condition from what the steps ended with. Problems
// are retried sooner or later; other errors are the work queue's.
func (r *Reconciler) conclude(gc *v1alpha1.GroupChat, err error) (ctrl.Result, error) {
	if errors.Is(err, errOpening) {
		return ctrl.Result{RequeueAfter: retryFirst}, nil
	}
	var p *problem
	if err != nil && !errors.As(err, &p) {
		return ctrl.Result{}, err
	}
	ready := metav1.Condition{Type: v1alpha1.ConditionReady, ObservedGeneration: gc.Generation, LastTransitionTime: metav1.NewTime(r.Now())}
	switch {
	case p != nil:
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, p.reason, p.message
	case !gc.DeletionTimestamp.IsZero():
		return ctrl.Result{}, nil
	default:
		ready.Status, ready.Reason, ready.Message = metav1.ConditionTrue, v1alpha1.ReasonGroupCreated, "The group exists at its chat provider."
	}
	meta.SetStatusCondition(&gc.Status.Conditions, ready)
	switch {
	case p != nil:
		return ctrl.Result{RequeueAfter: r.patience(gc)}, nil
	case gc.Status.BoundRoom != nil:
		return ctrl.Result{RequeueAfter: countEvery}, nil
	}
	return ctrl.Result{RequeueAfter: resyncEvery}, nil
}

// patience grows with the time that the group has not been ready: retries come
// about twice as far apart each time. What can be watched (the ChatProvider, the
// room) does not wait for it.
func (r *Reconciler) patience(gc *v1alpha1.GroupChat) time.Duration {
	since := meta.FindStatusCondition(gc.Status.Conditions, v1alpha1.ConditionReady).LastTransitionTime
	return min(max(r.Now().Sub(since.Time), retryFirst), retryMost)
}

// writeAgainIn is how long a new number of members, and nothing else, must wait
// for its turn to be written. 0: write now.
func (r *Reconciler) writeAgainIn(stored, gc *v1alpha1.GroupChat) time.Duration {
	rest := *stored.Status.DeepCopy()
	rest.Members = gc.Status.Members
	if stored.Status.Members == gc.Status.Members || !equality.Semantic.DeepEqual(rest, gc.Status) {
		return 0
	}
	return r.pace.wait(gc.UID, r.Now())
}

// pace remembers which groups' status was written within the last second. Safe
// for concurrent use.
type pace struct {
	mu   sync.Mutex
	last map[types.UID]time.Time
	all  *rate.Limiter
}

func (p *pace) wrote(uid types.UID, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.last, func(_ types.UID, at time.Time) bool { return now.Sub(at) >= writeEvery })
	if p.last == nil {
		p.last = map[types.UID]time.Time{}
	}
	p.last[uid] = now
}

// wait is how long until a number of the group's may be written. With 0, its turn
// is taken.
func (p *pace) wait(uid types.UID, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last, ok := p.last[uid]; ok && now.Sub(last) < writeEvery {
		return writeEvery - now.Sub(last)
	}
	if p.all == nil {
		p.all = rate.NewLimiter(writesPerSecond, writesPerSecond)
	}
	turn := p.all.ReserveN(now, 1)
	wait := turn.DelayFrom(now)
	if wait > 0 {
		turn.CancelAt(now)
	}
	return wait
}
