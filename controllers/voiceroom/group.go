package voiceroom

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// groupSoon is how long a room that has just made its group waits for news of it
// before it writes its first status: usually the ID is there by then, which saves
// every room a write.
const groupSoon = time.Second

var errGroupMade = errors.New("the room's group was just made")

// groupRef names the group that the room refers to; empty: it has one of its own.
func groupRef(vr *v1alpha1.VoiceRoom) string {
	if ref := vr.Spec.Chat.GroupChatRef; ref != nil {
		return ref.Name
	}
	return ""
}

// ensureGroup gives the room its instant-messaging group (steps 1 and 2 of the
// flow): one of its own, or the one that it refers to. It owns ChatReady.
func (r *Reconciler) ensureGroup(ctx context.Context, vr *v1alpha1.VoiceRoom) (ctrl.Result, error) {
	if closed(vr) {
		return ctrl.Result{}, nil
	}
	find := r.ownGroup
	if groupRef(vr) != "" {
		find = r.referredGroup
	}
	group, err := find(ctx, vr)
	if group == nil || err != nil {
		return ctrl.Result{}, err
	}
	vr.Status.GroupChat = group.Name
	if group.Status.GroupID != "" && vr.Status.GroupID == "" {
		vr.Status.GroupID = group.Status.GroupID
	}
	ready := meta.FindStatusCondition(group.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case group.Status.GroupID != vr.Status.GroupID:
		r.set(vr, v1alpha1.ConditionChatReady, metav1.ConditionFalse, v1alpha1.ReasonGroupConflict,
			"GroupChat %s holds another group than the room was made with", group.Name)
	case ready == nil:
		r.set(vr, v1alpha1.ConditionChatReady, metav1.ConditionFalse, v1alpha1.ReasonGroupPending, "GroupChat %s is being made", group.Name)
	case ready.Status != metav1.ConditionTrue: // the message names a field of the group's
		r.set(vr, v1alpha1.ConditionChatReady, metav1.ConditionFalse, ready.Reason, "GroupChat %s: %s", group.Name, ready.Message)
	default:
		r.set(vr, v1alpha1.ConditionChatReady, ready.Status, ready.Reason, "%s", ready.Message)
	}
	return ctrl.Result{}, nil
}

// ownGroup returns the room's own GroupChat, made if it was never there. Without
// one it says why in ChatReady and returns nil.
func (r *Reconciler) ownGroup(ctx context.Context, vr *v1alpha1.VoiceRoom) (*v1alpha1.GroupChat, error) {
	want := groupFor(vr)
	have := &v1alpha1.GroupChat{}
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(want), have)
	switch {
	case apierrors.IsNotFound(err) && vr.Status.GroupID != "":
		r.set(vr, v1alpha1.ConditionChatReady, metav1.ConditionFalse, v1alpha1.ReasonGroupNotFound,
			"GroupChat %s was deleted, and the group with it; make another room", want.Name)
		return nil, nil
	case apierrors.IsNotFound(err):
		if err := r.Client.Create(ctx, want); err != nil {
			return nil, fmt.Errorf("creating GroupChat %s: %w", want.Name, err)
		}
		return nil, errGroupMade
	case err != nil:
		return nil, fmt.Errorf("getting GroupChat %s: %w", want.Name, err)
	case !metav1.IsControlledBy(have, vr) && have.DeletionTimestamp != nil:
		r.set(vr, v1alpha1.ConditionChatReady, metav1.ConditionFalse, v1alpha1.ReasonGroupPending,
			"waits for the end of GroupChat %s, which is another room's", want.Name)
		return nil, nil
	case !metav1.IsControlledBy(have, vr):
		r.set(vr, v1alpha1.ConditionChatReady, metav1.ConditionFalse, v1alpha1.ReasonGroupConflict,
			"GroupChat %s exists and is not this room's; delete it, or refer to it by chat.groupChatRef", want.Name)
		return nil, nil
	}
	return have, r.updateGroup(ctx, have, want)
}

// updateGroup follows the room's later edits.
func (r *Reconciler) updateGroup(ctx context.Context, have, want *v1alpha1.GroupChat) error {
	stored := have.DeepCopy()
	have.Spec.Name, have.Spec.DeletionPolicy = want.Spec.Name, want.Spec.DeletionPolicy
	have.Spec.MaxMembers, have.Spec.MaxMics = want.Spec.MaxMembers, want.Spec.MaxMics
	if have.Spec == stored.Spec || have.DeletionTimestamp != nil {
		return nil
	}
	if err := r.Client.Patch(ctx, have, client.MergeFrom(stored)); err != nil {
		return fmt.Errorf("updating GroupChat %s: %w", have.Name, err)
	}
	return nil
}

// groupFor is the group of a room that has its own. It carries the finalizer from
// the start, and is bound to the room by its owner reference.
func groupFor(vr *v1alpha1.VoiceRoom) *v1alpha1.GroupChat {
	return &v1alpha1.GroupChat{
		ObjectMeta: metav1.ObjectMeta{Namespace: vr.Namespace, Name: vr.Name, Finalizers: []string{v1alpha1.Finalizer},
			OwnerReferences: []metav1.OwnerReference{ownedBy(vr)}},
		Spec: v1alpha1.GroupChatSpec{Provider: vr.Spec.Chat.Provider, Name: displayName(vr), Owner: vr.Spec.Owner,
			MaxMembers: vr.Spec.MaxMembers, MaxMics: vr.Spec.MaxMics, DeletionPolicy: vr.Spec.Chat.DeletionPolicy},
	}
}

func ownedBy(vr *v1alpha1.VoiceRoom) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "VoiceRoom", Name: vr.Name, UID: vr.UID,
		Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(false)}
}

func displayName(vr *v1alpha1.VoiceRoom) string {
	if vr.Spec.DisplayName != "" {
		return vr.Spec.DisplayName
	}
	return vr.Name
}

// referredGroup returns the GroupChat that the room refers to, once it is bound to
// this room. Without that it says why in ChatReady and returns nil.
func (r *Reconciler) referredGroup(ctx context.Context, vr *v1alpha1.VoiceRoom) (*v1alpha1.GroupChat, error) {
	group := &v1alpha1.GroupChat{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: vr.Namespace, Name: groupRef(vr)}, group)
	refuse := func(reason, format string, args ...any) (*v1alpha1.GroupChat, error) {
		r.set(vr, v1alpha1.ConditionChatReady, metav1.ConditionFalse, reason, format, args...)
		return nil, nil
	}
	switch {
	case apierrors.IsNotFound(err):
		return refuse(v1alpha1.ReasonGroupNotFound, "chat.groupChatRef: there is no GroupChat %s", groupRef(vr))
	case err != nil:
		return nil, fmt.Errorf("getting GroupChat %s: %w", groupRef(vr), err)
	case group.DeletionTimestamp != nil:
		return refuse(v1alpha1.ReasonGroupNotFound, "chat.groupChatRef: GroupChat %s is being deleted", group.Name)
	case vr.Spec.MaxMembers > group.Spec.MaxMembers || vr.Spec.MaxMics > group.Spec.MaxMics:
		return refuse(v1alpha1.ReasonCapsExceedGroup, "maxMembers %d and maxMics %d must fit GroupChat %s, which has %d and %d",
			vr.Spec.MaxMembers, vr.Spec.MaxMics, group.Name, group.Spec.MaxMembers, group.Spec.MaxMics)
	case metav1.GetControllerOf(group) != nil:
		return refuse(v1alpha1.ReasonGroupConflict, "chat.groupChatRef: GroupChat %s belongs to another room", group.Name)
	}
	if bound := group.Status.BoundRoom; bound != nil && bound.UID != string(vr.UID) {
		lives, err := r.lives(ctx, vr.Namespace, *bound)
		if err != nil {
			return nil, err
		}
		if lives {
			return refuse(v1alpha1.ReasonGroupConflict, "chat.groupChatRef: GroupChat %s is bound to room %s", group.Name, bound.Name)
		}
	}
	return group, r.bindGroup(ctx, vr, group)
}

// lives says whether a room that a group is bound to still goes on.
func (r *Reconciler) lives(ctx context.Context, namespace string, bound v1alpha1.BoundRoom) (bool, error) {
	other := &v1alpha1.VoiceRoom{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: bound.Name}, other)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("getting room %s: %w", bound.Name, err)
	}
	return err == nil && string(other.UID) == bound.UID && other.DeletionTimestamp == nil && !closed(other), nil
}

// bindGroup binds a group to the room, unless somebody has written the group since
// it was read: of two rooms that want it, one wins.
func (r *Reconciler) bindGroup(ctx context.Context, vr *v1alpha1.VoiceRoom, group *v1alpha1.GroupChat) error {
	want := v1alpha1.BoundRoom{Name: vr.Name, UID: string(vr.UID)}
	if group.Status.BoundRoom != nil && *group.Status.BoundRoom == want {
		return nil
	}
	stored := group.DeepCopy()
	group.Status.BoundRoom = &want
	err := r.Client.Status().Patch(ctx, group, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{}))
	if err != nil {
		return fmt.Errorf("binding GroupChat %s: %w", group.Name, err)
	}
	return nil
}
