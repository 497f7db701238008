package voiceroom

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	// sealTimeout bounds the calls to pods that the room leaves: with one that does not
	// answer, the move is a fail-over.
	sealTimeout = 300 * time.Millisecond
	// sealRetry is when a pod that did not answer is asked again. Whether it is lost, the
	// fleet says.
	sealRetry = 250 * time.Millisecond
)

// migrate takes the room out of a pod that has to go, make before break: with the next pod
// in hand it seals this one, which goes on forwarding, and claims that, which is step (a).
// From there on it is a hand-over like any other; its seed is what this pod says then. It
// is false if the room stays for now, and sets Draining to why.
func (r *Reconciler) migrate(ctx context.Context, vr *v1alpha1.VoiceRoom, state *room.State) (bool, ctrl.Result, error) {
	if state.Phase != room.Sealed { // what has begun goes on
		if wait := r.turns.take(client.ObjectKeyFromObject(vr), r.Clock.Now()); wait > 0 {
			return false, after(wait), nil
		}
	}
	next, short, err := r.take(ctx, vr)
	if err != nil {
		return false, ctrl.Result{}, err
	}
	if next != nil {
		if short, err = r.unfit(ctx, vr, next); err != nil {
			return false, ctrl.Result{}, err
		}
	}
	if short != nil {
		r.turns.end(client.ObjectKeyFromObject(vr))
		r.draining(vr, short.reason, "pod %s has to go, but there is none to move the room to, which goes on there: %s", vr.Status.Media.Pod, short.message)
		return false, after(podRetry), nil
	}
	m := vr.Status.Media
	call, cancel := context.WithTimeout(ctx, sealTimeout)
	defer cancel()
	sealed, err := seal(call, r.Dialer.Pod(m.Endpoint, m.PodUID), uint64(m.Epoch))
	if err != nil {
		ctrl.LoggerFrom(ctx).Info("media pod not sealed yet", "pod", m.Pod, "reason", err.Error())
		return false, after(sealRetry), nil
	}
	r.Fleet.Follow(claimOf(vr), sealed) // the seed, should this pod be lost from here on
	why := "pod " + m.Pod + " has to go"
	if c := meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionDraining); c != nil && c.Reason == v1alpha1.ReasonMigrating {
		why, _, _ = strings.Cut(c.Message, "; ")
	}
	r.Events.Eventf(vr, nil, corev1.EventTypeNormal, v1alpha1.ReasonMigrating, "Migrate", "%s; the room moves from pod %s to pod %s", why, m.Pod, next.Name)
	r.claim(vr, next)
	r.draining(vr, v1alpha1.ReasonMigrating, "%s; the room moves to another pod", why) // it may have said that there is none
	r.set(vr, v1alpha1.ConditionMediaReady, metav1.ConditionTrue, v1alpha1.ReasonMigrating, "moving the room to pod %s", next.Name)
	return true, ctrl.Result{}, nil
}

// unfit says why the next pod could not take the room, as far as that can be known before
// this one is sealed: what every pod would be refused for, or refuses. A pod that does not
// answer is left to the hand-over, which then takes another.
func (r *Reconciler) unfit(ctx context.Context, vr *v1alpha1.VoiceRoom, next *corev1.Pod) (*shortage, error) {
	advertise, err := r.advertise(ctx, vr, next)
	switch {
	case err != nil:
		return nil, err
	case len(advertise) == 0:
		return noAddress(vr, next), nil
	}
	call, cancel := context.WithTimeout(ctx, sealTimeout)
	defer cancel()
	if _, err := r.Dialer.Pod(fleet.Endpoint(next), string(next.UID)).Get(call, 0); fleet.Misconfigured(err) {
		return distrust(next, err), nil
	}
	return nil, nil
}

// seal ends a room in a pod, but not its calls, and returns its last state. It may be
// called again.
func seal(ctx context.Context, pod *mediaapi.Client, epoch uint64) (*room.State, error) {
	state, err := pod.Get(ctx, epoch)
	if err != nil || state.Phase == room.Sealed {
		return state, err
	}
	done, err := pod.Command(ctx, epoch, "", room.Seal{})
	if err != nil {
		return nil, err
	}
	if done.Seq == state.Seq+1 {
		return state, nil // nothing happened in between; a pod that is empty may have ended by now
	}
	return pod.Get(ctx, epoch)
}

// predecessors are the pods of the room's earlier claims, whose calls may go on.
func (r *Reconciler) predecessors(ctx context.Context, vr *v1alpha1.VoiceRoom) ([]corev1.Pod, error) {
	if epoch(vr) == 1 {
		return nil, nil
	}
	pods, err := r.podsOf(ctx, vr)
	return others(types.UID(vr.Status.Media.PodUID), pods), err
}

// sealPredecessors seals the room where it was before, if somebody answers there, and
// returns the newest state of those pods; nil if none does. There is none newer: once
// sealed, a pod takes no commands.
func (r *Reconciler) sealPredecessors(ctx context.Context, vr *v1alpha1.VoiceRoom) (*room.State, error) {
	pods, err := r.predecessors(ctx, vr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, sealTimeout)
	defer cancel()
	var newest *room.State
	for i := range pods {
		if r.departures.of(pods[i].UID, r.Clock.Now()).mute() {
			continue
		}
		state, err := r.sealPredecessor(ctx, &pods[i])
		if err != nil {
			ctrl.LoggerFrom(ctx).V(1).Info("an earlier pod of the room was not sealed", "pod", pods[i].Name, "reason", err.Error())
			continue
		}
		if state.Phase != room.Closed && newer(state, newest) {
			newest = state
		}
	}
	return newest, nil
}

func (r *Reconciler) sealPredecessor(ctx context.Context, pod *corev1.Pod) (*room.State, error) {
	e, err := epochOf(pod)
	if err != nil {
		return nil, err
	}
	state, err := seal(ctx, r.Dialer.Pod(fleet.Endpoint(pod), string(pod.UID)), e)
	if err == nil && state.Epoch != e { // nobody may pass for the newest by saying so
		return nil, fmt.Errorf("pod %s was claimed under epoch %d and tells of epoch %d", pod.Name, e, state.Epoch)
	}
	return state, err
}

// epochOf is the epoch under which a pod was claimed.
func epochOf(pod *corev1.Pod) (uint64, error) {
	e, err := strconv.ParseUint(pod.Annotations[v1alpha1.AnnotationEpoch], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("annotation %s of pod %s: %w", v1alpha1.AnnotationEpoch, pod.Name, err)
	}
	return e, nil
}

// newer says whether a is a newer state than b, which may be nil.
func newer(a, b *room.State) bool {
	return b == nil || a.Epoch > b.Epoch || a.Epoch == b.Epoch && a.Seq > b.Seq
}
