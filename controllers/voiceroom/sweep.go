package voiceroom

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/fleet"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

const (
	// closeTimeout bounds the goodbye of a pod that is about to be deleted.
	closeTimeout = time.Second
	// sweepGrace is the seconds that a pod has from there on: nobody needs it any more.
	sweepGrace = 5
	// moveTime is how long a pod is left alone whose room has moved, for its members to
	// follow. It says goodbye to all of them sooner than that.
	moveTime = 15 * time.Second
	// moveRetry is how soon it is looked at again.
	moveRetry = time.Second
)

// Sweeper deletes pods that carry a room's labels and that their room does not
// claim: it moved, sleeps, ended or is gone. All fields are required.
type Sweeper struct {
	Client client.Client
	// Live reads the API server, not a cache: a claim that is not in the cache yet must
	// not cost a call its pod. A claim is written before its pod is labelled, so
	// whoever has seen the label reads the claim or what came after it.
	Live   client.Reader
	Dialer *mediaapi.Dialer
	Clock  clock.PassiveClock

	leaving leaving
}

// leaving is since when pods are left alone. The zero value is ready to use. Safe for
// concurrent use.
type leaving struct {
	mu    sync.Mutex
	since map[types.UID]time.Time
}

// left is how much of moveTime a pod has left; it begins when it is first asked for.
func (l *leaving) left(pod types.UID, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since == nil {
		l.since = map[types.UID]time.Time{}
	}
	maps.DeleteFunc(l.since, func(_ types.UID, since time.Time) bool { return now.Sub(since) > 4*moveTime }) // deleted by now
	if _, known := l.since[pod]; !known {
		l.since[pod] = now
	}
	return moveTime - now.Sub(l.since[pod])
}

// SetupWithManager registers the controller. It needs the indexes of Reconciler.
func (s *Sweeper) SetupWithManager(mgr ctrl.Manager) error {
	assigned := predicate.NewPredicateFuncs(func(o client.Object) bool { return fleet.Assigned(o.(*corev1.Pod)) })
	return ctrl.NewControllerManagedBy(mgr).
		Named("sweeper").
		For(&corev1.Pod{}, builder.WithPredicates(assigned)).
		Watches(&v1alpha1.VoiceRoom{}, handler.EnqueueRequestsFromMapFunc(s.podsOfRoom), builder.WithPredicates(claimChanged)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8}). // each may wait for a pod that does not answer
		Complete(reconcile.AsReconciler(s.Client, s))
}

// claimChanged passes rooms that let go of a pod.
var claimChanged = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false }, // the pods' own events come
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, now := claim(e.ObjectOld.(*v1alpha1.VoiceRoom)), claim(e.ObjectNew.(*v1alpha1.VoiceRoom))
		gone := e.ObjectOld.GetDeletionTimestamp() == nil && e.ObjectNew.GetDeletionTimestamp() != nil
		return gone || before != nil && (now == nil || now.PodUID != before.PodUID)
	},
}

func (s *Sweeper) podsOfRoom(ctx context.Context, o client.Object) []reconcile.Request {
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, client.MatchingFields{podsByRoom: string(o.GetUID())}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing the pods of a room", "room", client.ObjectKeyFromObject(o))
		return nil
	}
	requests := make([]reconcile.Request, len(pods.Items))
	for i := range pods.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&pods.Items[i])
	}
	return requests
}

// Reconcile deletes the pod if its room does not claim it.
func (s *Sweeper) Reconcile(ctx context.Context, pod *corev1.Pod) (ctrl.Result, error) {
	vr, err := s.room(ctx, s.Client, pod)
	if err == nil && !claims(vr, pod) {
		vr, err = s.room(ctx, s.Live, pod)
	}
	if err != nil || claims(vr, pod) {
		return ctrl.Result{}, err
	}
	reason := farewell(vr)
	if reason == "" {
		if wait := s.patience(ctx, vr, pod); wait > 0 {
			return after(wait), nil
		}
	}
	s.close(ctx, pod, reason)
	if grace := pod.DeletionGracePeriodSeconds; grace != nil && *grace <= sweepGrace {
		return ctrl.Result{}, nil // else it may take less time than who deleted it gave it
	}
	err = s.Client.Delete(ctx, pod, client.Preconditions{UID: &pod.UID}, client.GracePeriodSeconds(sweepGrace))
	if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		return ctrl.Result{}, fmt.Errorf("deleting pod %s, which no room claims: %w", pod.Name, err)
	}
	return ctrl.Result{}, nil
}

// patience is how long a pod is left alone whose room goes on elsewhere, or will: its calls
// go on until their people have followed. 0: they have, or nobody answers there.
func (s *Sweeper) patience(ctx context.Context, vr *v1alpha1.VoiceRoom, pod *corev1.Pod) time.Duration {
	if fleet.Ended(pod) || !s.talkedIn(ctx, pod) {
		return 0
	}
	if !settled(vr) { // they have nowhere to go yet
		return moveRetry
	}
	return min(s.leaving.left(pod.UID, s.Clock.Now()), moveRetry)
}

// talkedIn says whether there are people in a pod that was sealed for the room to move.
func (s *Sweeper) talkedIn(ctx context.Context, pod *corev1.Pod) bool {
	e, err := epochOf(pod)
	if err != nil || pod.Status.PodIP == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, sealTimeout)
	defer cancel()
	state, err := s.Dialer.Pod(fleet.Endpoint(pod), string(pod.UID)).Get(ctx, e)
	return err == nil && state.Phase == room.Sealed &&
		slices.ContainsFunc(state.Members, func(m room.Member) bool { return m.Status == room.Entered || m.Status == room.Associated })
}

// room returns the room that the pod was given to; nil if it is gone.
func (s *Sweeper) room(ctx context.Context, reader client.Reader, pod *corev1.Pod) (*v1alpha1.VoiceRoom, error) {
	vr := &v1alpha1.VoiceRoom{}
	err := reader.Get(ctx, roomOf(pod), vr)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return nil, fmt.Errorf("getting the room of pod %s: %w", pod.Name, err)
	case err != nil, vr.DeletionTimestamp != nil, string(vr.UID) != pod.Labels[v1alpha1.LabelRoomUID]:
		return nil, nil
	}
	return vr, nil
}

func claims(vr *v1alpha1.VoiceRoom, pod *corev1.Pod) bool {
	if vr == nil {
		return false
	}
	m := claim(vr)
	return m != nil && m.PodUID == string(pod.UID)
}

// farewell is why a room that let go of its pod is over there; empty: it goes on
// elsewhere.
func farewell(vr *v1alpha1.VoiceRoom) string {
	switch {
	case vr == nil:
		return "Deleted"
	case closed(vr):
		return string(vr.Status.CloseReason)
	case asleep(vr):
		return v1alpha1.ReasonAsleep
	}
	return ""
}

// close lets the pod tell its members that the room is over, at once and not when
// the kubelet comes to it. It is a courtesy: deleting the pod does the rest.
func (s *Sweeper) close(ctx context.Context, pod *corev1.Pod, reason string) {
	if reason == "" || fleet.Ended(pod) || pod.Status.PodIP == "" {
		return
	}
	e, err := epochOf(pod)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	err = s.Dialer.Pod(fleet.Endpoint(pod), string(pod.UID)).Delete(ctx, e, reason)
	if err != nil && !errors.Is(err, &room.Error{Code: mediaapi.NoRoom}) {
		ctrl.LoggerFrom(ctx).Info("the room was not closed at its pod", "pod", pod.Name, "reason", err.Error())
	}
}
