// Package joinrequest reconciles JoinRequest: a way in for callers that speak
// only Kubernetes. A request is granted with a ticket in a Secret of its
// namespace, or denied with the code that the HTTP API would have answered.
//
// A ticket says who may ask; it is no place in the room. The room's media pod
// decides about places when the ticket is used, so what is refused here is what
// is already known to be hopeless.
package joinrequest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/fleet"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

const (
	followEvery = 5 * time.Second // while a ticket is out; changes of the room come at once
	retryEvery  = 5 * time.Second // while chat does not answer
	patience    = time.Hour       // for a room that does not come
)

// Rooms is what is known of live rooms; *fleet.Fleet has it.
type Rooms interface {
	Replica(roomUID types.UID) fleet.Replica
}

// Tickets signs tickets, and tells of keys that did so whether they were revoked;
// *signingkeys.Tickets has it.
type Tickets interface {
	Mint(t token.Ticket) (ticket, key string, err error)
	Revoked(key string) bool
}

// Count asks chat how many members the room's group has (step 7 of the flow), and
// compares with the pod before it calls the room full. Errors are *admission.Error.
type Count func(ctx context.Context, vr *v1alpha1.VoiceRoom) error

// Reconciler reconciles JoinRequest. All fields are required.
type Reconciler struct {
	Client  client.Client
	Rooms   Rooms
	Tickets Tickets
	Count   Count
	Now     func() time.Time
}

// +kubebuilder:rbac:groups=voiceroom.dev,resources=joinrequests,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=voiceroom.dev,resources=joinrequests/status,verbs=patch
// +kubebuilder:rbac:groups=voiceroom.dev,resources=voicerooms,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=create;patch

// Reconcile implements reconcile.ObjectReconciler.
func (r *Reconciler) Reconcile(ctx context.Context, jr *v1alpha1.JoinRequest) (ctrl.Result, error) {
	if !jr.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // nothing of ours lies outside the cluster
	}
	stored := jr.DeepCopy()
	result, err := r.advance(ctx, jr)
	if err != nil || equality.Semantic.DeepEqual(stored.Status, jr.Status) {
		return result, err
	}
	// Optimistic: a stale cache must not turn a finished request back.
	err = r.Client.Status().Patch(ctx, jr, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{}))
	switch {
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: time.Second}, nil
	case client.IgnoreNotFound(err) != nil:
		return ctrl.Result{}, fmt.Errorf("writing the status: %w", err)
	}
	return result, nil
}

// advance takes the request one step further.
func (r *Reconciler) advance(ctx context.Context, jr *v1alpha1.JoinRequest) (ctrl.Result, error) {
	switch jr.Status.Phase {
	case v1alpha1.JoinDenied, v1alpha1.JoinJoined, v1alpha1.JoinExpired:
		return r.remove(ctx, jr)
	case v1alpha1.JoinGranted:
		return r.follow(ctx, jr)
	}
	return r.answer(ctx, jr)
}

// answer grants or denies, or waits for the room.
func (r *Reconciler) answer(ctx context.Context, jr *v1alpha1.JoinRequest) (ctrl.Result, error) {
	vr, err := r.room(ctx, jr)
	if err != nil {
		return ctrl.Result{}, err
	}
	var state *room.State
	if vr != nil {
		state = r.Rooms.Replica(vr.UID).State
	}
	v := decide(jr, vr, state)
	if v.phase == v1alpha1.JoinGranted {
		if err := r.Count(ctx, vr); err != nil {
			v = notCounted(err, vr)
		}
	}
	waited := r.Now().Sub(jr.CreationTimestamp.Time)
	switch {
	case v.phase == v1alpha1.JoinGranted:
		return r.grant(ctx, jr, vr)
	case v.phase == v1alpha1.JoinPending && waited >= patience:
		r.finish(jr, verdict{v1alpha1.JoinExpired, v.code, v.message})
	case v.phase == v1alpha1.JoinPending:
		r.set(jr, v)
		if v.code == admission.ChatUnavailable {
			return ctrl.Result{RequeueAfter: retryEvery}, nil
		}
		return ctrl.Result{RequeueAfter: patience - waited}, nil
	default:
		r.finish(jr, v)
	}
	return r.remove(ctx, jr)
}

// notCounted is the verdict when the group's members could not be counted, or
// are too many.
func notCounted(err error, vr *v1alpha1.VoiceRoom) verdict {
	var refusal *admission.Error
	if !errors.As(err, &refusal) {
		refusal = &admission.Error{Code: admission.ChatUnavailable, Detail: "the room's chat cannot be asked"}
	}
	if refusal.Code == room.RoomFull || refusal.Code == admission.GroupGone {
		return denied(refusal.Code, refusal.Detail)
	}
	if vr.Spec.Chat.FailurePolicy == v1alpha1.ChatDegrade {
		return verdict{phase: v1alpha1.JoinGranted}
	}
	return pending(admission.ChatUnavailable, refusal.Detail)
}

// follow waits until the user came, or the ticket ran out.
func (r *Reconciler) follow(ctx context.Context, jr *v1alpha1.JoinRequest) (ctrl.Result, error) {
	vr, err := r.room(ctx, jr)
	if err != nil {
		return ctrl.Result{}, err
	}
	left := time.Duration(0)
	if jr.Status.ExpiresAt != nil {
		left = jr.Status.ExpiresAt.Sub(r.Now())
	}
	switch {
	case vr == nil, vr.Status.Phase == v1alpha1.RoomClosed:
		r.finish(jr, verdict{v1alpha1.JoinExpired, room.RoomClosed, "The room ended before the user came."})
	case r.entered(vr, jr.Spec.User):
		r.finish(jr, verdict{v1alpha1.JoinJoined, "", "The user is in the room."})
	case r.Tickets.Revoked(jr.Status.TicketKey):
		// Another one would be a younger invitation than the one that was asked for, and
		// pardon a kick since.
		r.finish(jr, verdict{v1alpha1.JoinExpired, room.KeyRevoked, "The key that signed the ticket is not trusted any more: make another request."})
	case left <= 0:
		r.finish(jr, verdict{v1alpha1.JoinExpired, room.Expired, "The ticket was not used in time."})
	default:
		return ctrl.Result{RequeueAfter: min(left, followEvery)}, nil
	}
	return r.remove(ctx, jr)
}

func (r *Reconciler) entered(vr *v1alpha1.VoiceRoom, subject string) bool {
	state := r.Rooms.Replica(vr.UID).State
	if state == nil {
		return false
	}
	m, ok := state.Subject(subject)
	return ok && (m.Status == room.Entered || m.Status == room.Away)
}

// remove deletes a finished request once its time is over.
func (r *Reconciler) remove(ctx context.Context, jr *v1alpha1.JoinRequest) (ctrl.Result, error) {
	if jr.Spec.TTLSecondsAfterFinished == nil || jr.Status.FinishedAt == nil {
		return ctrl.Result{}, nil
	}
	left := jr.Status.FinishedAt.Add(time.Duration(*jr.Spec.TTLSecondsAfterFinished) * time.Second).Sub(r.Now())
	if left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	err := r.Client.Delete(ctx, jr, client.Preconditions{UID: &jr.UID})
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("deleting a finished request: %w", err)
	}
	return ctrl.Result{}, nil
}

// room returns the room that is asked for, or nil if there is none.
func (r *Reconciler) room(ctx context.Context, jr *v1alpha1.JoinRequest) (*v1alpha1.VoiceRoom, error) {
	vr := &v1alpha1.VoiceRoom{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: jr.Namespace, Name: jr.Spec.Room.Name}, vr)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("getting the VoiceRoom: %w", err)
	}
	return vr, nil
}

var _ reconcile.ObjectReconciler[*v1alpha1.JoinRequest] = (*Reconciler)(nil)
