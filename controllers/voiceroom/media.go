package voiceroom

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

const (
	// putTimeout bounds the handing over of a room to its pod.
	putTimeout = 500 * time.Millisecond
	// putRetry is when a pod that refused us, not the room, is asked again.
	putRetry = time.Second
	// podRetry is when a room without a pod looks for one if no pod's event woke it.
	podRetry = 5 * time.Second
)

// ensureMedia gives the room a media pod that holds it (step 4 of the flow: it is
// the owner's token that opens the room there). It owns MediaReady.
func (r *Reconciler) ensureMedia(ctx context.Context, vr *v1alpha1.VoiceRoom) (ctrl.Result, error) {
	switch {
	case closed(vr), asleep(vr):
		return ctrl.Result{}, nil
	case vr.Status.GroupID == "":
		r.set(vr, v1alpha1.ConditionMediaReady, metav1.ConditionFalse, v1alpha1.ReasonGroupPending, "waits for the room's group")
		return ctrl.Result{}, nil
	}
	pod, err := r.claimedPod(ctx, vr)
	if err != nil {
		return ctrl.Result{}, err
	}
	replica := r.Fleet.Replica(vr.UID)
	lost := replica.Lost && int64(replica.Epoch) == epoch(vr)
	switch {
	case pod == nil || lost:
		return r.choose(ctx, vr)
	case !meta.IsStatusConditionTrue(vr.Status.Conditions, v1alpha1.ConditionMediaReady):
		return r.handOver(ctx, vr, pod)
	}
	r.Fleet.Follow(claimOf(vr), nil)
	if !live(vr, replica) {
		return ctrl.Result{}, nil // the fleet wakes us
	}
	return r.keep(ctx, vr, pod, replica.State)
}

// live says whether a replica is the room's state now.
func live(vr *v1alpha1.VoiceRoom, replica fleet.Replica) bool {
	return replica.Live && replica.State != nil && int64(replica.Epoch) == epoch(vr) && int64(replica.State.Epoch) == epoch(vr)
}

// claimOf is the room's claim as the fleet follows it.
func claimOf(vr *v1alpha1.VoiceRoom) fleet.Claim {
	m := vr.Status.Media
	return fleet.Claim{Room: client.ObjectKeyFromObject(vr), RoomUID: vr.UID, Epoch: uint64(m.Epoch), PodUID: m.PodUID, Endpoint: m.Endpoint}
}

// claimedPod returns the pod that the room claims; nil if it has none that may
// still hold it.
func (r *Reconciler) claimedPod(ctx context.Context, vr *v1alpha1.VoiceRoom) (*corev1.Pod, error) {
	m := claim(vr)
	if m == nil {
		return nil, nil
	}
	pod := &corev1.Pod{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.MediaNamespace, Name: m.Pod}, pod)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("getting media pod %s: %w", m.Pod, err)
	case string(pod.UID) != m.PodUID, pod.DeletionTimestamp != nil, fleet.Ended(pod):
		return nil, nil
	}
	return pod, nil
}

// choose claims another pod: step (a), which the status write at the end of this
// reconcile completes. The epoch goes up even if it was never handed over.
func (r *Reconciler) choose(ctx context.Context, vr *v1alpha1.VoiceRoom) (ctrl.Result, error) {
	if m := claim(vr); m != nil {
		r.Fleet.Rest(vr.UID) // the lease of the pod before ends
		r.Events.Eventf(vr, nil, corev1.EventTypeWarning, "MediaPodLost", "Claim", "media pod %s is lost or was never reached; claiming another", m.Pod)
		vr.Status.Media = &v1alpha1.RoomMediaStatus{Epoch: m.Epoch}
	}
	pool, err := r.pool(ctx, vr)
	if pool == nil || err != nil {
		return ctrl.Result{}, err
	}
	var pods corev1.PodList
	err = r.Client.List(ctx, &pods, client.InNamespace(r.MediaNamespace), client.MatchingLabels{v1alpha1.LabelPool: pool.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("listing the pods of pool %s: %w", pool.Name, err)
	}
	nodes, err := drain.Nodes(ctx, r.Client, pods.Items, fleet.Idle)
	if err != nil {
		return ctrl.Result{}, err
	}
	pod := r.Allocator.Take(pool, client.ObjectKeyFromObject(vr), pods.Items, nodes, r.Clock.Now())
	if pod == nil {
		reason, message := shortage(pool, pods.Items)
		r.set(vr, v1alpha1.ConditionMediaReady, metav1.ConditionFalse, reason, "%s", message)
		return after(podRetry), nil
	}
	vr.Status.Media = &v1alpha1.RoomMediaStatus{Pod: pod.Name, PodUID: string(pod.UID), Node: pod.Spec.NodeName,
		Endpoint: fleet.Endpoint(pod), Epoch: epoch(vr) + 1}
	r.set(vr, v1alpha1.ConditionMediaReady, metav1.ConditionFalse, v1alpha1.ReasonPending, "handing the room over to pod %s", pod.Name)
	return ctrl.Result{}, nil // our own write of the status brings us back
}

// pool returns the room's pool. Without one it says why in MediaReady and returns nil.
func (r *Reconciler) pool(ctx context.Context, vr *v1alpha1.VoiceRoom) (*v1alpha1.MediaPool, error) {
	pool := &v1alpha1.MediaPool{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: vr.Spec.Media.Pool}, pool)
	switch {
	case apierrors.IsNotFound(err):
		r.set(vr, v1alpha1.ConditionMediaReady, metav1.ConditionFalse, v1alpha1.ReasonPoolNotFound, "media.pool: there is no MediaPool %s", vr.Spec.Media.Pool)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("getting MediaPool %s: %w", vr.Spec.Media.Pool, err)
	}
	if allowed := pool.Spec.AllowedNamespaces; !slices.Contains(allowed, "*") && !slices.Contains(allowed, vr.Namespace) {
		r.set(vr, v1alpha1.ConditionMediaReady, metav1.ConditionFalse, v1alpha1.ReasonPoolNotAllowed,
			"media.pool: MediaPool %s does not allow namespace %s", pool.Name, vr.Namespace)
		return nil, nil
	}
	return pool, nil
}

// shortage says with numbers why no pod can be claimed now.
func shortage(pool *v1alpha1.MediaPool, pods []corev1.Pod) (reason, message string) {
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
	numbers := fmt.Sprintf("MediaPool %s has no pod free: %d assigned, %d being claimed, %d starting, %d of at most %d",
		pool.Name, assigned, promised, starting, len(pods), pool.Spec.MaxPods)
	if c := meta.FindStatusCondition(pool.Status.Conditions, v1alpha1.ConditionReady); c != nil && c.Status != metav1.ConditionTrue {
		if _, obstacle, ok := strings.Cut(c.Message, "; "); ok { // after its own numbers: what keeps its pods
			numbers += "; " + obstacle
		}
	}
	if starting > 0 || len(pods) < int(pool.Spec.MaxPods) {
		return v1alpha1.ReasonWaitingForPod, numbers
	}
	return v1alpha1.ReasonPoolExhausted, numbers
}

// handOver makes the pod of a claim hold the room: steps (b) and (c).
func (r *Reconciler) handOver(ctx context.Context, vr *v1alpha1.VoiceRoom, pod *corev1.Pod) (ctrl.Result, error) {
	ours, err := r.bind(ctx, vr, pod)
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return after(conflictRetry), nil // it changed under us: look again
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("binding media pod %s: %w", pod.Name, err)
	case !ours:
		return r.choose(ctx, vr) // another room has it
	}
	state, err := r.put(ctx, vr, pod, r.seed(vr))
	switch {
	case err != nil && apierrors.ReasonForError(err) != metav1.StatusReasonUnknown:
		return ctrl.Result{}, err // of the API server, not the pod
	case err != nil && fleet.Misconfigured(err):
		r.set(vr, v1alpha1.ConditionMediaReady, metav1.ConditionFalse, v1alpha1.ReasonPodUnreachable, "pod %s refuses the operator: %v", pod.Name, err)
		return after(putRetry), nil
	case err != nil:
		ctrl.LoggerFrom(ctx).Info("media pod did not take the room", "pod", pod.Name, "epoch", epoch(vr), "reason", err.Error())
		return r.choose(ctx, vr)
	}
	r.Allocator.Release(client.ObjectKeyFromObject(vr))
	r.Fleet.Follow(claimOf(vr), state)
	summarize(vr, state)
	r.set(vr, v1alpha1.ConditionMediaReady, metav1.ConditionTrue, v1alpha1.ReasonPodClaimed, "pod %s holds the room under epoch %d", pod.Name, epoch(vr))
	return ctrl.Result{}, nil
}

// bind writes the claim on the pod, unless it is there; false if the pod belongs to
// another room. The pod no longer goes with its pool: calls outlive that.
func (r *Reconciler) bind(ctx context.Context, vr *v1alpha1.VoiceRoom, pod *corev1.Pod) (bool, error) {
	if owner := pod.Labels[v1alpha1.LabelRoomUID]; owner != "" && owner != string(vr.UID) {
		return false, nil
	}
	if bound(vr, pod) {
		return true, nil
	}
	stored := pod.DeepCopy()
	metav1.SetMetaDataLabel(&pod.ObjectMeta, v1alpha1.LabelRoomNamespace, vr.Namespace)
	metav1.SetMetaDataLabel(&pod.ObjectMeta, v1alpha1.LabelRoomName, vr.Name)
	metav1.SetMetaDataLabel(&pod.ObjectMeta, v1alpha1.LabelRoomUID, string(vr.UID))
	metav1.SetMetaDataAnnotation(&pod.ObjectMeta, v1alpha1.AnnotationEpoch, strconv.FormatInt(epoch(vr), 10))
	pod.OwnerReferences = nil
	ctx, end := within(ctx, "bind")
	defer end()
	return true, r.Client.Patch(ctx, pod, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{}))
}

// bound says whether the room's claim is seen on its pod.
func bound(vr *v1alpha1.VoiceRoom, pod *corev1.Pod) bool {
	return pod.Labels[v1alpha1.LabelRoomUID] == string(vr.UID) && pod.Annotations[v1alpha1.AnnotationEpoch] == strconv.FormatInt(epoch(vr), 10)
}

// put hands the room, or its newer spec, to the pod.
func (r *Reconciler) put(ctx context.Context, vr *v1alpha1.VoiceRoom, pod *corev1.Pod, seed *room.State) (*room.State, error) {
	advertise, err := r.advertise(ctx, vr, pod)
	if err != nil {
		return nil, err
	}
	ctx, end := within(ctx, "put")
	defer end()
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	return r.Dialer.Pod(vr.Status.Media.Endpoint, vr.Status.Media.PodUID).Put(ctx, mediaapi.PutRequest{
		ID: idOf(vr), Epoch: uint64(epoch(vr)), Spec: specOf(vr), Seed: seed, Advertise: advertise})
}

// seed is the newest known state of the epoch before: the replica, else what the
// status has kept. A room that nobody entered needs none.
func (r *Reconciler) seed(vr *v1alpha1.VoiceRoom) *room.State {
	s := r.Fleet.Replica(vr.UID).State
	if s == nil || s.Phase == room.Closed {
		return seedFromStatus(vr)
	}
	seed := *s
	seed.EmptySince = nil // that time starts anew
	if int64(s.Epoch) < epoch(vr)-1 {
		recall(&seed, &vr.Status)
	}
	return &seed
}

// keep holds a pod that has the room to the room's newer spec, and frees the held
// places of members whose old pods are proven dead.
func (r *Reconciler) keep(ctx context.Context, vr *v1alpha1.VoiceRoom, pod *corev1.Pod, state *room.State) (ctrl.Result, error) {
	if state.Settings.Generation < vr.Generation {
		newer, err := r.put(ctx, vr, pod, nil)
		if err != nil {
			ctrl.LoggerFrom(ctx).Info("media pod did not take the newer spec", "pod", pod.Name, "reason", err.Error())
			return after(putRetry), nil
		}
		r.Fleet.Follow(claimOf(vr), newer)
		summarize(vr, newer)
	}
	r.set(vr, v1alpha1.ConditionMediaReady, metav1.ConditionTrue, v1alpha1.ReasonPodClaimed, "pod %s holds the room under epoch %d", pod.Name, epoch(vr))
	if epoch(vr) == 1 {
		return ctrl.Result{}, nil
	}
	pods, err := r.podsOf(ctx, vr)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !alone(vr, pod, pods) {
		return ctrl.Result{}, nil // another may still forward calls; the pods' events wake us
	}
	if err := r.Fleet.ReleaseHeld(ctx, vr.UID); err != nil {
		ctrl.LoggerFrom(ctx).Info("held places not released yet", "reason", err.Error())
		return after(putRetry), nil
	}
	return ctrl.Result{}, nil
}

// alone says whether pod, which was read before pods, is the only one that can hold the room.
// The cache shows a room's pods in the order in which they were bound: until it shows the
// newest bind, a pod that was bound before it may be missing among pods.
func alone(vr *v1alpha1.VoiceRoom, pod *corev1.Pod, pods []corev1.Pod) bool {
	return bound(vr, pod) && !slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.UID != pod.UID && !fleet.Ended(&p) })
}
