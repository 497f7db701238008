package voiceroom

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/drain"
)

// drain finds out whether the room's pod has to go, and what the room's drain policy makes
// of that. It owns Draining; the room is moved by ensureMedia. A room that has not been
// handed over yet is let be: it is moved once it has.
func (r *Reconciler) drain(ctx context.Context, vr *v1alpha1.VoiceRoom) (ctrl.Result, error) {
	switch {
	case closed(vr), asleep(vr):
		r.stays(vr)
		return ctrl.Result{}, nil
	case !settled(vr):
		return ctrl.Result{}, nil
	}
	verdict, err := r.judge(ctx, vr)
	if err != nil {
		return ctrl.Result{}, err
	}
	sealed := sealed(vr, r.Fleet.Replica(vr.UID))
	if !verdict.MustGo() {
		if !sealed {
			r.stays(vr)
		}
		return after(verdict.Again), nil
	}
	policy := vr.Spec.Media.Drain
	switch {
	case policy.Policy == v1alpha1.DrainClose:
		vr.Status.CloseMessage = "its media pod had to go: " + verdict.Message
		r.shut(vr, v1alpha1.CloseDrained)
		r.stays(vr)
		return ctrl.Result{}, nil
	case policy.Policy == v1alpha1.DrainWait && !verdict.Urgent && !sealed:
		due := drainingSince(vr, verdict, r.Clock.Now()).Add(waitOf(policy))
		if left := due.Sub(r.Clock.Now()); left > 0 {
			r.draining(vr, v1alpha1.ReasonWaitingForEnd, "%s; the room goes on there until it ends, and is moved at %s if it has not",
				verdict.Message, due.UTC().Format(time.RFC3339))
			return sooner(after(left), after(verdict.Again)), nil
		}
	}
	if !waitsForPod(vr) { // else it says so until a pod is found
		r.draining(vr, v1alpha1.ReasonMigrating, "%s; the room moves to another pod", verdict.Message)
	}
	return after(verdict.Again), nil
}

// judge asks whether the room's pod has to go. One that is not there any more has gone.
func (r *Reconciler) judge(ctx context.Context, vr *v1alpha1.VoiceRoom) (drain.Verdict, error) {
	pod, err := r.claimedPod(ctx, vr)
	if pod == nil || err != nil {
		return drain.Verdict{}, err
	}
	node, pool := &corev1.Node{}, &v1alpha1.MediaPool{}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: pod.Spec.NodeName}, node); client.IgnoreNotFound(err) != nil {
		return drain.Verdict{}, fmt.Errorf("getting node %s: %w", pod.Spec.NodeName, err)
	} else if err != nil {
		node = nil
	}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: vr.Spec.Media.Pool}, pool); client.IgnoreNotFound(err) != nil {
		return drain.Verdict{}, fmt.Errorf("getting MediaPool %s: %w", vr.Spec.Media.Pool, err)
	} else if err != nil {
		pool = nil
	}
	return drain.Judge(pod, node, pool, r.Clock.Now()), nil
}

// drainingSince is when a room's pod began to have to go: as written down by who wants
// that, else by us.
func drainingSince(vr *v1alpha1.VoiceRoom, verdict drain.Verdict, now time.Time) time.Time {
	if !verdict.Since.IsZero() {
		return verdict.Since
	}
	if c := meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionDraining); c != nil {
		return c.LastTransitionTime.Time
	}
	return now
}

// waitOf is how long a room that waits may go on. The default is the API's own, for a room
// that was stored without one.
func waitOf(d v1alpha1.RoomDrain) time.Duration {
	if d.Deadline == nil {
		return time.Hour
	}
	return d.Deadline.Duration
}

// draining sets Draining, and tells in an Event what is new in it.
func (r *Reconciler) draining(vr *v1alpha1.VoiceRoom, reason, format string, args ...any) {
	before := meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionDraining)
	known := before != nil && before.Reason == reason
	r.set(vr, v1alpha1.ConditionDraining, metav1.ConditionTrue, reason, format, args...)
	if !known && reason != v1alpha1.ReasonMigrating { // that is told when it has found a pod: see migrate
		r.Events.Eventf(vr, nil, corev1.EventTypeWarning, reason, "Drain", format, args...)
	}
}

// mustMove says whether the room is to leave its pod now.
func mustMove(vr *v1alpha1.VoiceRoom) bool {
	c := meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionDraining)
	return c != nil && c.Reason != v1alpha1.ReasonWaitingForEnd
}

// waitsForPod says whether a room that is to move has found no pod to move to.
func waitsForPod(vr *v1alpha1.VoiceRoom) bool {
	c := meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionDraining)
	return mustMove(vr) && c.Reason != v1alpha1.ReasonMigrating
}

// stays notes that nothing is against the room's pod.
func (r *Reconciler) stays(vr *v1alpha1.VoiceRoom) {
	if meta.RemoveStatusCondition(&vr.Status.Conditions, v1alpha1.ConditionDraining) {
		r.Allocator.Release(client.ObjectKeyFromObject(vr))
		r.turns.end(client.ObjectKeyFromObject(vr))
	}
}
