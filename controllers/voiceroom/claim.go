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
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/drain"
	"voiceroom.dev/voiceroom/controllers/fleet"
)

// choose claims another pod: step (a), which the status write at the end of this
// reconcile completes. The epoch goes up even if it was never handed over.
func (r *Reconciler) choose(ctx context.Context, vr *v1alpha1.VoiceRoom) (ctrl.Result, error) {
	if m := claim(vr); m != nil {
		r.Fleet.Rest(vr.UID) // the lease of the pod before ends
		r.Events.Eventf(vr, nil, corev1.EventTypeWarning, "MediaPodLost", "Claim", "media pod %s is lost or was never reached; claiming another", m.Pod)
		vr.Status.Media = &v1alpha1.RoomMediaStatus{Epoch: m.Epoch}
	}
	pod, short, err := r.take(ctx, vr)
	if err != nil {
		return ctrl.Result{}, err
	}
	if pod == nil {
		r.lacks(vr, short.reason, "%s", short.message)
		return after(short.retry), nil
	}
	r.claim(vr, pod)
	if !moves(vr) { // or calls go on meanwhile
		r.set(vr, v1alpha1.ConditionMediaReady, metav1.ConditionFalse, v1alpha1.ReasonPending, "handing the room over to pod %s", pod.Name)
	}
	return ctrl.Result{}, nil // our own write of the status brings us back
}

// claim is step (a).
func (r *Reconciler) claim(vr *v1alpha1.VoiceRoom, pod *corev1.Pod) {
	r.journeys.claims(vr.UID, r.Clock.Now())
	vr.Status.Media = &v1alpha1.RoomMediaStatus{Pod: pod.Name, PodUID: string(pod.UID), Node: pod.Spec.NodeName,
		Endpoint: fleet.Endpoint(pod), Epoch: epoch(vr) + 1}
}

// shortage is why there is no pod for a room: a condition's reason and message.
type shortage struct {
	reason, message string
	retry           time.Duration // 0: what ends it wakes the room
}

// noAddress is why a room cannot be in a pod whose node nobody can be told an address of.
func noAddress(vr *v1alpha1.VoiceRoom, pod *corev1.Pod) *shortage {
	return &shortage{reason: v1alpha1.ReasonNodeWithoutAddress, message: fmt.Sprintf(
		"node %s, where pod %s is, has no ExternalIP and no InternalIP, so that clients cannot be told where to connect: set network.advertise of MediaPool %s",
		pod.Spec.NodeName, pod.Name, vr.Spec.Media.Pool)}
}

// distrust is why a room cannot be in a pod that answers the operator, but not as one that
// trusts it or speaks its language.
func distrust(pod *corev1.Pod, err error) *shortage {
	return &shortage{reason: v1alpha1.ReasonPodUnreachable, message: fmt.Sprintf("pod %s refuses the operator: %v", pod.Name, err)}
}

// lacks says what the room has no media for, and tells it in an Event if it is news and
// somebody has to do something about it: a pod that is on its way comes by itself.
func (r *Reconciler) lacks(vr *v1alpha1.VoiceRoom, reason, format string, args ...any) {
	before := meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionMediaReady)
	if reason != v1alpha1.ReasonWaitingForPod && (before == nil || before.Reason != reason) {
		r.Events.Eventf(vr, nil, corev1.EventTypeWarning, reason, "Claim", format, args...)
	}
	r.set(vr, v1alpha1.ConditionMediaReady, metav1.ConditionFalse, reason, format, args...)
}

// take has the room promised a pod of its pool. Without one it says why. One that has had
// a pod is held to no quota: it keeps its caps.
func (r *Reconciler) take(ctx context.Context, vr *v1alpha1.VoiceRoom) (*corev1.Pod, *shortage, error) {
	pool, short, err := r.pool(ctx, vr)
	if pool == nil || err != nil {
		return nil, short, err
	}
	if granted(vr) == (caps{}) {
		if short, err := r.overQuota(ctx, vr); short != nil || err != nil {
			return nil, short, err
		}
	}
	var pods corev1.PodList
	err = r.Client.List(ctx, &pods, client.InNamespace(r.MediaNamespace), client.MatchingLabels{v1alpha1.LabelPool: pool.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, nil, fmt.Errorf("listing the pods of pool %s: %w", pool.Name, err)
	}
	nodes, err := drain.Nodes(ctx, r.Client, pods.Items, fleet.Idle)
	if err != nil {
		return nil, nil, err
	}
	if pod := r.Allocator.Take(pool, client.ObjectKeyFromObject(vr), pods.Items, nodes, r.Clock.Now()); pod != nil {
		return pod, nil, nil
	}
	reason, message := numbers(pool, pods.Items)
	return nil, &shortage{reason, message, podRetry}, nil
}

// pool returns the room's pool; nil, and why, if it may not have a pod of it.
func (r *Reconciler) pool(ctx context.Context, vr *v1alpha1.VoiceRoom) (*v1alpha1.MediaPool, *shortage, error) {
	pool := &v1alpha1.MediaPool{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: vr.Spec.Media.Pool}, pool)
	switch {
	case apierrors.IsNotFound(err):
		return nil, &shortage{reason: v1alpha1.ReasonPoolNotFound, message: "media.pool: there is no MediaPool " + vr.Spec.Media.Pool}, nil
	case err != nil:
		return nil, nil, fmt.Errorf("getting MediaPool %s: %w", vr.Spec.Media.Pool, err)
	}
	if allowed := pool.Spec.AllowedNamespaces; !slices.Contains(allowed, "*") && !slices.Contains(allowed, vr.Namespace) {
		return nil, &shortage{reason: v1alpha1.ReasonPoolNotAllowed,
			message: fmt.Sprintf("media.pool: MediaPool %s does not allow namespace %s", pool.Name, vr.Namespace)}, nil
	}
	return pool, nil, nil
}

// numbers say why no pod can be claimed now.
func numbers(pool *v1alpha1.MediaPool, pods []corev1.Pod) (reason, message string) {
	var assigned, starting, promised int
	for i := range pods {
		switch pod := &pods[i]; {
		case fleet.Assigned(pod):
			assigned++
		case fleet.Idle(pod):
			promised++ // or the room would have it
		case pod.DeletionTimestamp == nil && !fleet.Ended(pod):
			starting++
		}
	}
	message = fmt.Sprintf("MediaPool %s has no pod free: %d assigned, %d being claimed, %d starting, %d of at most %d",
		pool.Name, assigned, promised, starting, len(pods), pool.Spec.MaxPods)
	if c := meta.FindStatusCondition(pool.Status.Conditions, v1alpha1.ConditionProgressing); c != nil && c.Status != metav1.ConditionTrue {
		message += "; " + c.Message // what keeps new pods, also of a pool that is to have no warm ones
	}
	if starting > 0 || len(pods) < int(pool.Spec.MaxPods) {
		return v1alpha1.ReasonWaitingForPod, message
	}
	return v1alpha1.ReasonPoolExhausted, message
}
