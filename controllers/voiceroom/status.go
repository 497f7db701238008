package voiceroom

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// SummaryEvery is how often the status of one room follows its comings and goings.
const SummaryEvery = time.Second

// conflictRetry is when a room is looked at again that somebody else has written.
const conflictRetry = 20 * time.Millisecond

// set sets one of the room's conditions.
func (r *Reconciler) set(vr *v1alpha1.VoiceRoom, condition string, status metav1.ConditionStatus, reason, format string, args ...any) {
	meta.SetStatusCondition(&vr.Status.Conditions, metav1.Condition{Type: condition, Status: status, Reason: reason,
		Message: fmt.Sprintf(format, args...), ObservedGeneration: vr.Generation, LastTransitionTime: metav1.NewTime(r.Clock.Now())})
}

// conclude derives what the other conditions say together: Ready and the phase.
func (r *Reconciler) conclude(vr *v1alpha1.VoiceRoom) {
	if r.GatewayURL != "" {
		vr.Status.JoinURL = fmt.Sprintf("%s/r/%s/%s", r.GatewayURL, vr.Namespace, vr.Name)
	}
	activated := vr.Status.StartedAt != nil
	if activated {
		r.set(vr, v1alpha1.ConditionActivated, metav1.ConditionTrue, v1alpha1.ReasonOwnerAssociated, "the owner came in")
	} else {
		r.set(vr, v1alpha1.ConditionActivated, metav1.ConditionFalse, v1alpha1.ReasonWaitingForOwner, "the owner has not come in yet")
	}
	switch {
	case closed(vr):
		vr.Status.Phase = v1alpha1.RoomClosed
		r.set(vr, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonClosed, "the room has ended: %s", lastWords(vr))
		return
	case asleep(vr):
		r.set(vr, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAsleep, "the room is empty and sleeps until somebody joins")
		return
	}
	seen := vr.Generation
	for _, part := range []string{v1alpha1.ConditionChatReady, v1alpha1.ConditionMediaReady} {
		c := meta.FindStatusCondition(vr.Status.Conditions, part)
		if part == v1alpha1.ConditionChatReady && degraded(vr, c) {
			continue
		}
		if c == nil || c.Status != metav1.ConditionTrue {
			reason, message := v1alpha1.ReasonPending, "being prepared"
			if c != nil {
				reason, message = c.Reason, c.Message
			}
			vr.Status.Phase = v1alpha1.RoomPending
			r.set(vr, v1alpha1.ConditionReady, metav1.ConditionFalse, reason, "%s", message)
			return
		}
		seen = min(seen, c.ObservedGeneration)
	}
	phase, message := v1alpha1.RoomReady, "waits for its owner"
	if activated {
		phase, message = v1alpha1.RoomOpen, "people can join"
	}
	vr.Status.Phase = phase
	r.set(vr, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady, "%s", message)
	// An edit that the pod has not taken yet was not observed.
	meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionReady).ObservedGeneration = seen
}

// lastWords say why a room ended, with the words of who closed it.
func lastWords(vr *v1alpha1.VoiceRoom) string {
	if vr.Status.CloseMessage == "" {
		return string(vr.Status.CloseReason)
	}
	return fmt.Sprintf("%s: %s", vr.Status.CloseReason, vr.Status.CloseMessage)
}

// degraded says whether people can join although chat does not answer.
func degraded(vr *v1alpha1.VoiceRoom, chat *metav1.Condition) bool {
	if vr.Spec.Chat.FailurePolicy != v1alpha1.ChatDegrade || vr.Status.GroupID == "" || chat == nil {
		return false
	}
	return chat.Reason == v1alpha1.ReasonProviderUnavailable || chat.Reason == v1alpha1.ReasonProviderNotReady
}

// writeStatus patches the status if it changed, against the version that was read:
// a claim made on stale facts must not stand. A change of nothing but the summary
// may have to wait; then it returns how long.
func (r *Reconciler) writeStatus(ctx context.Context, stored, vr *v1alpha1.VoiceRoom) (time.Duration, error) {
	if equality.Semantic.DeepEqual(stored.Status, vr.Status) {
		return 0, nil
	}
	if onlySummary(stored, vr) {
		if wait := r.Summaries.Wait(vr.UID, r.Clock.Now()); wait > 0 {
			return wait, nil
		}
	} else {
		r.Summaries.Wrote(vr.UID, r.Clock.Now())
	}
	stored.ObjectMeta = *vr.ObjectMeta.DeepCopy() // only the status may differ
	err := r.Client.Status().Patch(ctx, vr, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) {
		return conflictRetry, nil
	}
	if client.IgnoreNotFound(err) != nil {
		return 0, fmt.Errorf("writing the room's status: %w", err)
	}
	return 0, nil
}

// onlySummary says whether nothing changed but what comings and goings change, or
// the words of a condition.
func onlySummary(stored, vr *v1alpha1.VoiceRoom) bool {
	rest := *stored.Status.DeepCopy()
	now := &vr.Status
	rest.Members, rest.Mics, rest.OnMic, rest.EmptySince = now.Members, now.Mics, now.OnMic, now.EmptySince
	rest.EffectiveMaxMembers, rest.EffectiveMaxMics, rest.InvitesResetAt = now.EffectiveMaxMembers, now.EffectiveMaxMics, now.InvitesResetAt
	rest.Host, rest.Banned, rest.Kicked, rest.Muted, rest.ChatMuted = now.Host, now.Banned, now.Kicked, now.Muted, now.ChatMuted
	for i := range rest.Conditions { // the numbers of a pool that a room waits for
		if c := meta.FindStatusCondition(vr.Status.Conditions, rest.Conditions[i].Type); c != nil {
			rest.Conditions[i].Message = c.Message
		}
	}
	return equality.Semantic.DeepEqual(rest, vr.Status)
}
