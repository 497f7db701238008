package joinrequest

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/token"
)

const fieldOwner = client.FieldOwner("voiceroom-joinrequest")

// grant mints a ticket into the request's Secret. Cut short before the status is
// written, it is repeated and the Secret holds the newer ticket, which is as good.
func (r *Reconciler) grant(ctx context.Context, jr *v1alpha1.JoinRequest, vr *v1alpha1.VoiceRoom) (ctrl.Result, error) {
	// Whole seconds, as both the token and the status carry it.
	expires := r.Now().Add(time.Duration(jr.Spec.TicketSeconds) * time.Second).Truncate(time.Second)
	ticket, key, err := r.Tickets.Mint(token.Ticket{
		Purpose: token.PurposeJoin, Subject: jr.Spec.User, Name: jr.Spec.DisplayName,
		Room: vr.Namespace + "/" + vr.Name, RoomUID: string(vr.UID), Role: string(roleOf(jr.Spec.Role)), ExpiresAt: expires,
	})
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.Client.Apply(ctx, ticketSecret(jr, ticket), fieldOwner, client.ForceOwnership); err != nil {
		return ctrl.Result{}, fmt.Errorf("applying the ticket's Secret: %w", err)
	}
	jr.Status.TicketSecret, jr.Status.TicketKey, jr.Status.ExpiresAt = secretName(jr), key, &metav1.Time{Time: expires}
	r.set(jr, verdict{v1alpha1.JoinGranted, "", fmt.Sprintf("The ticket is in the Secret %s.", secretName(jr))})
	return ctrl.Result{RequeueAfter: followEvery}, nil
}

// secretName holds the UID, so that it never names somebody else's Secret and
// always fits.
func secretName(jr *v1alpha1.JoinRequest) string { return "ticket-" + string(jr.UID) }

// ticketSecret is the Secret that carries the ticket; it goes with the request.
func ticketSecret(jr *v1alpha1.JoinRequest, ticket string) *corev1ac.SecretApplyConfiguration {
	return corev1ac.Secret(secretName(jr), jr.Namespace).
		WithOwnerReferences(metav1ac.OwnerReference().
			WithAPIVersion(v1alpha1.GroupVersion.String()).WithKind("JoinRequest").
			WithName(jr.Name).WithUID(jr.UID).WithController(true)).
		WithData(map[string][]byte{v1alpha1.TicketKey: []byte(ticket)})
}

// finish is set for the phases that are final.
func (r *Reconciler) finish(jr *v1alpha1.JoinRequest, v verdict) {
	now := metav1.NewTime(r.Now())
	jr.Status.FinishedAt = &now
	r.set(jr, v)
}

// set writes the verdict into the status. Ready means that the ticket can be, or
// was, used.
func (r *Reconciler) set(jr *v1alpha1.JoinRequest, v verdict) {
	jr.Status.Phase, jr.Status.Reason = v.phase, string(v.code)
	ready := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Message: v.message,
		ObservedGeneration: jr.Generation, LastTransitionTime: metav1.NewTime(r.Now()),
	}
	switch v.phase {
	case v1alpha1.JoinGranted, v1alpha1.JoinJoined:
		ready.Status, ready.Reason = metav1.ConditionTrue, v1alpha1.ReasonGranted
	case v1alpha1.JoinPending:
		ready.Reason = cmp.Or(reasons[v.code], v1alpha1.ReasonPending)
	default:
		ready.Reason = cmp.Or(reasons[v.code], v1alpha1.ReasonDenied)
	}
	meta.SetStatusCondition(&jr.Status.Conditions, ready)
}
