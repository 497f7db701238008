package voiceroom

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
)

// act is what a room's lifecycle demands.
type act int

const (
	goOn act = iota
	shut     // it ends, for good
	sleep
	wake
)

// verdict is what to do with a room now, and when time alone may change that.
type verdict struct {
	act    act
	reason v1alpha1.CloseReason // of shut
	wait   time.Duration        // of goOn; 0: for ever
}

// timer watches the durations of a lifecycle.
type timer struct {
	now  time.Time
	next time.Duration // until the first of them has passed; 0: none is running
}

// over says whether a duration that began at a time has passed. One that is not set,
// or has not begun, never has.
func (t *timer) over(began *metav1.Time, d *metav1.Duration) bool {
	if began == nil || d == nil {
		return false
	}
	left := began.Add(d.Duration).Sub(t.now)
	if left > 0 && (t.next == 0 || left < t.next) {
		t.next = left
	}
	return left <= 0
}

// decide judges a room that has not ended by its spec and status. known says that
// the status is how the room is now: its pod is being watched, or it has none.
// Without that, a room whose pod cannot be heard is not taken for an empty one.
func decide(vr *v1alpha1.VoiceRoom, known bool, now time.Time) verdict {
	l, s := vr.Spec.Lifecycle, vr.Status
	t := timer{now: now}
	if s.StartedAt == nil {
		if t.over(&vr.CreationTimestamp, l.UnclaimedTimeout) && known {
			return verdict{act: shut, reason: v1alpha1.CloseUnclaimed}
		}
		return verdict{wait: t.next}
	}
	switch {
	case t.over(s.StartedAt, l.MaxDuration):
		return verdict{act: shut, reason: v1alpha1.CloseMaxDuration}
	case asleep(vr) && wanted(vr):
		return verdict{act: wake}
	case !asleep(vr) && t.over(s.EmptySince, l.EmptyTimeout) && known:
		if l.WhenEmpty == v1alpha1.EmptySleep {
			return verdict{act: sleep}
		}
		return verdict{act: shut, reason: v1alpha1.CloseEmpty}
	}
	return verdict{wait: t.next}
}

// wanted says whether somebody asked for the room since it fell asleep.
func wanted(vr *v1alpha1.VoiceRoom) bool {
	at, err := time.Parse(time.RFC3339, vr.Annotations[v1alpha1.AnnotationWake])
	ready := meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionReady)
	return err == nil && ready != nil && !at.Before(ready.LastTransitionTime.Time)
}

// live ends the room, or puts it to sleep or wakes it, when its time has come.
func (r *Reconciler) live(_ context.Context, vr *v1alpha1.VoiceRoom) (ctrl.Result, error) {
	if closed(vr) {
		return ctrl.Result{}, nil
	}
	replica := r.Fleet.Replica(vr.UID)
	if s := replica.State; s != nil && int64(s.Epoch) == epoch(vr) && s.Phase == room.Closed {
		vr.Status.CloseMessage = s.CloseMessage
		r.shut(vr, v1alpha1.CloseByModerator)
		return ctrl.Result{}, nil
	}
	v := decide(vr, claim(vr) == nil || live(vr, replica), r.Clock.Now())
	switch v.act {
	case shut:
		r.shut(vr, v.reason)
	case sleep:
		r.Fleet.Rest(vr.UID)
		r.wantsNothing(client.ObjectKeyFromObject(vr))
		vr.Status.Phase = v1alpha1.RoomAsleep
		vr.Status.Media = &v1alpha1.RoomMediaStatus{Epoch: epoch(vr)}
		vr.Status.EffectiveMaxMembers, vr.Status.EffectiveMaxMics = 0, 0 // its share is others' meanwhile
		r.set(vr, v1alpha1.ConditionMediaReady, metav1.ConditionFalse, v1alpha1.ReasonAsleep, "the room gave its pod back")
	case wake:
		vr.Status.Phase, vr.Status.EmptySince = v1alpha1.RoomPending, nil
	}
	return after(v.wait), nil
}

// wantsNothing forgets what a room waits for and was promised: it ended, sleeps or is gone.
func (r *Reconciler) wantsNothing(room types.NamespacedName) {
	r.Allocator.Release(room)
	r.quotas.forget(room)
	r.turns.end(room)
}

// shut ends the room in its status. Its pod follows from that (see Sweeper), and
// the group from the pod's end (see end).
func (r *Reconciler) shut(vr *v1alpha1.VoiceRoom, reason v1alpha1.CloseReason) {
	now := metav1.NewTime(r.Clock.Now().Truncate(time.Second))
	vr.Status.ClosedAt, vr.Status.CloseReason = &now, reason
	vr.Status.Media, vr.Status.Members, vr.Status.Mics, vr.Status.OnMic = nil, 0, nil, ""
	r.set(vr, v1alpha1.ConditionChatReady, metav1.ConditionFalse, v1alpha1.ReasonClosed, "the room has ended")
	r.set(vr, v1alpha1.ConditionMediaReady, metav1.ConditionFalse, v1alpha1.ReasonClosed, "the room has ended")
	r.Events.Eventf(vr, nil, corev1.EventTypeNormal, "Closed", "Close", "the room has ended: %s", lastWords(vr))
}

// end clears up after a room that has ended: first its pod, then its group, unless
// that is to be kept, and the resource itself when its time is up.
func (r *Reconciler) end(ctx context.Context, vr *v1alpha1.VoiceRoom) (ctrl.Result, error) {
	if !closed(vr) {
		return ctrl.Result{}, nil
	}
	r.Fleet.Rest(vr.UID) // until this end is stored: see Reconcile
	r.wantsNothing(client.ObjectKeyFromObject(vr))
	pods, err := r.podsOf(ctx, vr)
	if err != nil {
		return ctrl.Result{}, err
	}
	if slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp == nil }) {
		return ctrl.Result{}, nil // the sweeper is at it; the pod's events bring us back
	}
	if err := r.dissolve(ctx, vr); err != nil {
		return ctrl.Result{}, err
	}
	if vr.Spec.Lifecycle.TTLSecondsAfterClosed == nil {
		return ctrl.Result{}, nil
	}
	left := vr.Status.ClosedAt.Add(time.Duration(*vr.Spec.Lifecycle.TTLSecondsAfterClosed) * time.Second).Sub(r.Clock.Now())
	if left > 0 {
		return after(left), nil
	}
	if err := r.Client.Delete(ctx, vr.DeepCopy(), client.Preconditions{UID: &vr.UID}); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("deleting the room: %w", err)
	}
	return ctrl.Result{}, nil
}

// dissolve deletes the group that was made for the room.
func (r *Reconciler) dissolve(ctx context.Context, vr *v1alpha1.VoiceRoom) error {
	if groupRef(vr) != "" || vr.Spec.Chat.DeletionPolicy == v1alpha1.DeletionRetain {
		return nil
	}
	group := &v1alpha1.GroupChat{}
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(vr), group)
	if apierrors.IsNotFound(err) || err == nil && (group.DeletionTimestamp != nil || !metav1.IsControlledBy(group, vr)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("getting GroupChat %s: %w", vr.Name, err)
	}
	if err := r.Client.Delete(ctx, group, client.Preconditions{UID: &group.UID}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting GroupChat %s: %w", vr.Name, err)
	}
	return nil
}
