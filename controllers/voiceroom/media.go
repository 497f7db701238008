package voiceroom

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
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

// errNoAddress says that there is no address to tell clients.
var errNoAddress = errors.New("the node has no address")

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
	case pod == nil:
		return r.choose(ctx, vr)
	case lost:
		return r.failOver(ctx, vr, pod, replica)
	case !settled(vr):
		return r.handOver(ctx, vr, pod)
	}
	r.Fleet.Follow(claimOf(vr), nil)
	if !live(vr, replica) {
		return after(replica.Patience), nil // the fleet wakes us if the pod answers
	}
	sealed := sealed(vr, replica)
	var soon ctrl.Result
	if sealed || mustMove(vr) {
		var moves bool
		if moves, soon, err = r.migrate(ctx, vr, replica.State); moves || sealed || err != nil {
			return soon, err
		}
	}
	result, err := r.keep(ctx, vr, pod, replica.State)
	return sooner(result, soon), err
}

// live says whether a replica is the room's state now.
func live(vr *v1alpha1.VoiceRoom, replica fleet.Replica) bool {
	return replica.Live && replica.State != nil && int64(replica.Epoch) == epoch(vr) && int64(replica.State.Epoch) == epoch(vr)
}

// sealed says whether the room's pod takes no commands any more, for good: its move has begun.
func sealed(vr *v1alpha1.VoiceRoom, replica fleet.Replica) bool {
	s := replica.State
	return s != nil && int64(s.Epoch) == epoch(vr) && s.Phase == room.Sealed
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
	case string(pod.UID) != m.PodUID, fleet.Ended(pod):
		return nil, nil
	case pod.DeletionTimestamp != nil && !settled(vr):
		return nil, nil // one that holds the room goes on for a while: it is moved out of there
	}
	return pod, nil
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
	seed, err := r.seed(ctx, vr)
	if err != nil {
		return ctrl.Result{}, err
	}
	spec, err := r.specFor(ctx, vr, seed)
	if err != nil {
		return ctrl.Result{}, err
	}
	state, err := r.put(ctx, vr, pod, spec, seed)
	switch {
	case errors.Is(err, errNoAddress):
		short := noAddress(vr, pod)
		r.lacks(vr, short.reason, "%s", short.message)
		return after(podRetry), nil
	case err != nil && apierrors.ReasonForError(err) != metav1.StatusReasonUnknown:
		return ctrl.Result{}, err // of the API server, not the pod
	case err != nil && fleet.Misconfigured(err):
		short := distrust(pod, err)
		r.lacks(vr, short.reason, "%s", short.message)
		return after(putRetry), nil
	case err != nil:
		ctrl.LoggerFrom(ctx).Info("media pod did not take the room", "pod", pod.Name, "epoch", epoch(vr), "reason", err.Error())
		return r.choose(ctx, vr)
	}
	r.Allocator.Release(client.ObjectKeyFromObject(vr))
	r.Fleet.Follow(claimOf(vr), state)
	summarize(vr, state)
	r.holds(vr, pod, state, nil)
	meta.RemoveStatusCondition(&vr.Status.Conditions, v1alpha1.ConditionDraining)
	pods, err := r.predecessors(ctx, vr)
	if err != nil {
		return ctrl.Result{}, err
	}
	return r.usher(ctx, vr, state, pods), nil // they are not told before there is where to go
}

// bind writes the claim on the pod, unless it is there; false if the pod belongs to
// another room. The pod no longer goes with its pool: calls outlive that. Nor does the
// cluster autoscaler take its node away.
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
	metav1.SetMetaDataAnnotation(&pod.ObjectMeta, fleet.SafeToEvict, "false")
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
func (r *Reconciler) put(ctx context.Context, vr *v1alpha1.VoiceRoom, pod *corev1.Pod, spec room.Spec, seed *room.State) (*room.State, error) {
	advertise, err := r.advertise(ctx, vr, pod)
	switch {
	case err != nil:
		return nil, err
	case len(advertise) == 0 && !settled(vr): // later it knows
		return nil, errNoAddress
	}
	ctx, end := within(ctx, "put")
	defer end()
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	return r.Dialer.Pod(vr.Status.Media.Endpoint, vr.Status.Media.PodUID).Put(ctx, mediaapi.PutRequest{
		ID: idOf(vr), Epoch: uint64(epoch(vr)), Spec: spec, Seed: seed, Advertise: advertise})
}

// seed is the newest known state of an epoch before: what an earlier pod says that still
// lives, or the replica, else what the status has kept. A room that nobody entered needs
// none.
func (r *Reconciler) seed(ctx context.Context, vr *v1alpha1.VoiceRoom) (*room.State, error) {
	s := r.Fleet.Replica(vr.UID).State
	sealed, err := r.sealPredecessors(ctx, vr)
	if err != nil {
		return nil, err
	}
	if s == nil || s.Phase == room.Closed || sealed != nil && newer(sealed, s) {
		s = sealed
	}
	if s == nil {
		return seedFromStatus(vr), nil
	}
	seed := *s
	seed.EmptySince = nil // that time starts anew
	if int64(s.Epoch) < epoch(vr)-1 {
		recall(&seed, &vr.Status)
	}
	return &seed, nil
}

// keep holds a pod that has the room to the room's newer spec, and frees the held
// places of members whose old pods are proven dead.
func (r *Reconciler) keep(ctx context.Context, vr *v1alpha1.VoiceRoom, pod *corev1.Pod, state *room.State) (ctrl.Result, error) {
	if wait, err := r.edit(ctx, vr, pod, state); wait || err != nil {
		return after(putRetry), err
	}
	if epoch(vr) == 1 {
		return ctrl.Result{}, nil
	}
	pods, err := r.podsOf(ctx, vr)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !alone(vr, pod, pods) { // another may still forward calls; the pods' events wake us
		return r.usher(ctx, vr, state, others(pod.UID, pods)), nil
	}
	r.turns.end(client.ObjectKeyFromObject(vr))
	if err := r.Fleet.ReleaseHeld(ctx, vr.UID); err != nil {
		ctrl.LoggerFrom(ctx).Info("held places not released yet", "reason", err.Error())
		return after(putRetry), nil
	}
	return ctrl.Result{}, nil
}

// edit puts the room's newer spec to its pod, unless its quota forbids that. It is true if
// the pod has to be asked again.
func (r *Reconciler) edit(ctx context.Context, vr *v1alpha1.VoiceRoom, pod *corev1.Pod, state *room.State) (bool, error) {
	if state.Settings.Generation >= vr.Generation {
		r.holds(vr, pod, state, nil)
		return false, nil
	}
	short, err := r.overQuota(ctx, vr)
	if err != nil {
		return false, err
	}
	if short == nil {
		if state, err = r.put(ctx, vr, pod, specOf(vr), nil); err != nil {
			ctrl.LoggerFrom(ctx).Info("media pod did not take the newer spec", "pod", pod.Name, "reason", err.Error())
			return true, nil
		}
		r.Fleet.Follow(claimOf(vr), state)
		summarize(vr, state)
	}
	r.holds(vr, pod, state, short)
	return false, nil
}

// holds says in MediaReady that the pod holds the room, and what of the spec is not so in
// there: the newest edits, if their quota is short, or the mix.
func (r *Reconciler) holds(vr *v1alpha1.VoiceRoom, pod *corev1.Pod, state *room.State, short *shortage) {
	reason, more := v1alpha1.ReasonPodClaimed, ""
	switch {
	case short != nil:
		reason, more = short.reason, "; the newer spec is not applied: "+short.message
	case vr.Spec.Audience == v1alpha1.AudienceMix && state.Settings.Audience != room.Mix:
		reason, more = v1alpha1.ReasonMixUnavailable,
			"; it cannot mix, as its image has no Opus encoder or is of an earlier version: the room's audience hears microphones each by itself (Forward)"
	}
	r.set(vr, v1alpha1.ConditionMediaReady, metav1.ConditionTrue, reason, "pod %s holds the room under epoch %d%s", pod.Name, epoch(vr), more)
}

// alone says whether pod, which was read before pods, is the only one that can hold the room.
// The cache shows a room's pods in the order in which they were bound: until it shows the
// newest bind, a pod that was bound before it may be missing among pods.
func alone(vr *v1alpha1.VoiceRoom, pod *corev1.Pod, pods []corev1.Pod) bool {
	return bound(vr, pod) && len(others(pod.UID, pods)) == 0
}

// others are the pods but one whose end was not reported.
func others(pod types.UID, pods []corev1.Pod) []corev1.Pod {
	return slices.DeleteFunc(slices.Clone(pods), func(p corev1.Pod) bool { return p.UID == pod || fleet.Ended(&p) })
}
