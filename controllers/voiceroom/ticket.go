package voiceroom

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

const (
	fieldManager = client.FieldOwner("voiceroom-room")
	// ticketLife is less than token.DefaultRotation.Retire: the key that signed a
	// ticket is verified for as long as the ticket may be used.
	ticketLife = 30 * 24 * time.Hour
	// remintBefore is how long before its end a ticket is replaced.
	remintBefore = 10 * 24 * time.Hour
)

func ticketSecretName(vr *v1alpha1.VoiceRoom) string { return vr.Name + "-host-ticket" }

// ensureTicket mints the owner's ticket once the room has a group (step 3 of the
// flow), again long before it expires, and at once when its key was revoked. Secrets
// of tenants are applied, never read; so the status says until when the ticket lives
// and what signed it.
func (r *Reconciler) ensureTicket(ctx context.Context, vr *v1alpha1.VoiceRoom) (ctrl.Result, error) {
	if closed(vr) || vr.Status.GroupID == "" {
		return ctrl.Result{}, nil
	}
	now := r.Clock.Now()
	if e := vr.Status.HostTicketExpiresAt; e != nil && e.Sub(now) > remintBefore && !r.Tickets.Revoked(vr.Status.HostTicketKey) {
		return after(e.Sub(now) - remintBefore), nil
	}
	expires := metav1.NewTime(now.Add(ticketLife).Truncate(time.Second))
	ticket, key, err := r.Tickets.Mint(token.Ticket{Purpose: token.PurposeHost, Subject: vr.Spec.Owner, Room: vr.Namespace + "/" + vr.Name,
		RoomUID: string(vr.UID), Role: string(room.Host), ExpiresAt: expires.Time})
	if err != nil {
		return ctrl.Result{}, err
	}
	secret := ticketSecret(vr, ticket)
	if err := r.Client.Apply(ctx, secret, fieldManager, client.ForceOwnership, client.DisableReadYourWritesConsistency); err != nil {
		return ctrl.Result{}, fmt.Errorf("applying the host ticket's Secret: %w", err)
	}
	vr.Status.HostTicketSecret, vr.Status.HostTicketExpiresAt, vr.Status.HostTicketKey = ticketSecretName(vr), &expires, key
	return after(ticketLife - remintBefore), nil
}

// ticketSecret carries the ticket; it goes with the room.
func ticketSecret(vr *v1alpha1.VoiceRoom, ticket string) *corev1ac.SecretApplyConfiguration {
	owner := ownedBy(vr)
	return corev1ac.Secret(ticketSecretName(vr), vr.Namespace).
		WithOwnerReferences(metav1ac.OwnerReference().WithAPIVersion(owner.APIVersion).WithKind(owner.Kind).WithName(owner.Name).
			WithUID(owner.UID).WithController(true).WithBlockOwnerDeletion(false)).
		WithData(map[string][]byte{v1alpha1.TicketKey: []byte(ticket)})
}
