package voiceroom

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/fleet"
	"voiceroom.dev/voiceroom/controllers/pace"
	"voiceroom.dev/voiceroom/controllers/signingkeys"
	"voiceroom.dev/voiceroom/mediaapi"
)

// +kubebuilder:rbac:groups=voiceroom.dev,resources=voicerooms,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=voiceroom.dev,resources=voicerooms/status,verbs=patch
// +kubebuilder:rbac:groups=voiceroom.dev,resources=groupchats,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=voiceroom.dev,resources=groupchats/status,verbs=patch
// +kubebuilder:rbac:groups=voiceroom.dev,resources=mediapools,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=create;patch
// +kubebuilder:rbac:groups="",resources=nodes,verbs=get;list;watch
// +kubebuilder:rbac:groups="",namespace=voiceroom-media,resources=pods,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconciler keeps VoiceRooms. All fields are required but GatewayURL.
type Reconciler struct {
	Client    client.Client
	Fleet     *fleet.Fleet
	Allocator *fleet.Allocator
	Dialer    *mediaapi.Dialer
	Keyring   *signingkeys.Keyring
	// Tickets signs host tickets.
	Tickets *signingkeys.Tickets
	Events  events.EventRecorder
	Metrics *Metrics
	Clock   clock.PassiveClock
	// MediaNamespace is where media pods live.
	MediaNamespace string
	// GatewayURL is the public address of the gateway, without a trailing slash; empty:
	// not known.
	GatewayURL string
	// Summaries spaces the writes that only follow comings and goings.
	Summaries *pace.Pacer

	journeys   journeys
	turns      turns
	departures departures
	outlook    outlook
	quotas     quotas
}

// keysRetry is how soon a room asks again for keys that are still being read.
const keysRetry = 100 * time.Millisecond

// step takes the room one move further. It changes the room's status in memory and
// returns when it wants to be asked again.
type step func(context.Context, *v1alpha1.VoiceRoom) (ctrl.Result, error)

// Reconcile takes a room one move further.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	vr := &v1alpha1.VoiceRoom{}
	err := r.Client.Get(ctx, req.NamespacedName, vr)
	if apierrors.IsNotFound(err) || err == nil && vr.DeletionTimestamp != nil {
		r.journeys.gone(req.NamespacedName, r.Clock.Now())
		r.Fleet.Deleted(req.NamespacedName)
		r.wantsNothing(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("getting the room: %w", err)
	}
	if !r.Keyring.Ready() {
		return after(keysRetry), nil // without keys every pod looks lost
	}
	if closed(vr) { // as stored: a write that fails takes nothing back
		r.Fleet.End(idOf(vr), vr.Status.ClosedAt.Time, string(vr.Status.CloseReason), vr.Status.CloseMessage)
	}
	ctx = r.journeys.enter(ctx, vr, r.Clock.Now())
	silent := r.Fleet.Replica(vr.UID).Lost
	stored := vr.DeepCopy()
	result, err := runSteps(ctx, vr, r.observe, r.live, r.drain, r.ensureGroup, r.ensureTicket, r.ensureMedia, r.end)
	switch {
	case errors.Is(err, errGroupMade):
		return after(groupSoon), nil
	case apierrors.IsConflict(err): // somebody else has written what was to be written: look again
		result, err = after(conflictRetry), nil
	}
	r.conclude(vr)
	// Also after an error: what was done must not be lost.
	wait, writeErr := r.writeStatus(ctx, stored, vr)
	if wait == 0 && writeErr == nil {
		r.journeys.follow(stored, vr, silent, r.Clock.Now(), r.Metrics)
	}
	return sooner(result, ctrl.Result{RequeueAfter: wait}), errors.Join(err, writeErr)
}

// runSteps runs steps in order until one fails.
func runSteps(ctx context.Context, vr *v1alpha1.VoiceRoom, steps ...step) (ctrl.Result, error) {
	var result ctrl.Result
	for _, s := range steps {
		next, err := s(ctx, vr)
		if err != nil {
			return ctrl.Result{}, err
		}
		result = sooner(result, next)
	}
	return result, nil
}

func sooner(a, b ctrl.Result) ctrl.Result {
	if a.RequeueAfter == 0 || b.RequeueAfter != 0 && b.RequeueAfter < a.RequeueAfter {
		return b
	}
	return a
}

func after(d time.Duration) ctrl.Result { return ctrl.Result{RequeueAfter: d} }

func closed(vr *v1alpha1.VoiceRoom) bool { return vr.Status.ClosedAt != nil }
func asleep(vr *v1alpha1.VoiceRoom) bool { return vr.Status.Phase == v1alpha1.RoomAsleep }

// claim returns the pod that the room claims; nil: none.
func claim(vr *v1alpha1.VoiceRoom) *v1alpha1.RoomMediaStatus {
	if m := vr.Status.Media; m != nil && m.PodUID != "" {
		return m
	}
	return nil
}

// epoch of the room's newest claim; 0 if there was none.
func epoch(vr *v1alpha1.VoiceRoom) int64 {
	if vr.Status.Media == nil {
		return 0
	}
	return vr.Status.Media.Epoch
}

// podsOf lists the pods that carry the room's labels.
func (r *Reconciler) podsOf(ctx context.Context, vr *v1alpha1.VoiceRoom) ([]corev1.Pod, error) {
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.InNamespace(r.MediaNamespace), client.MatchingFields{podsByRoom: string(vr.UID)}); err != nil {
		return nil, fmt.Errorf("listing the pods of the room: %w", err)
	}
	return pods.Items, nil
}
