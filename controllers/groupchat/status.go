package groupchat

import (
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

const (
	resyncEvery = 5 * time.Minute        // without news of the room or the provider
	retryFirst  = 500 * time.Millisecond // after the first failure
	retryMost   = 15 * time.Second
	giveUpAfter = time.Minute // on a provider that is being deleted and does not answer
)

// CountEvery is how often a change of nothing but the number of members is written for one
// group: nothing waits for that number, and the room tells its own sooner.
const CountEvery = 30 * time.Second

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
	if p != nil {
		return ctrl.Result{RequeueAfter: r.patience(gc)}, nil
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
	return r.Counts.Wait(gc.UID, r.Now())
}
