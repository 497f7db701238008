package groupchat

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
)

// dissolve removes the group from its provider, unless it is to be kept, and
// lets the resource go. A provider that cannot be reached is waited for; one
// whose ChatProvider is gone for good, or being deleted, is not, so that it blocks
// no namespace.
func (r *Reconciler) dissolve(ctx context.Context, gc *v1alpha1.GroupChat) error {
	if !controllerutil.ContainsFinalizer(gc, v1alpha1.Finalizer) {
		return nil
	}
	if gc.Spec.DeletionPolicy == v1alpha1.DeletionRetain {
		return r.release(ctx, gc)
	}
	cp, provider, err := r.provider(ctx, gc)
	if err == nil {
		err = r.remove(ctx, gc, provider)
	}
	var p *problem
	switch {
	case err == nil: // no Event: it would outlive what it is about, and a deleted namespace takes none
		return r.release(ctx, gc)
	case errors.As(err, &p) && (p.reason == v1alpha1.ReasonProviderNotFound || r.givenUp(gc, cp)):
		return r.abandon(ctx, gc)
	case errors.As(err, &p):
		return &problem{v1alpha1.ReasonDissolveFailed, "The group could not be dissolved yet: " + p.message}
	}
	return err
}

// givenUp says whether a provider that does not answer is not waited for any longer:
// somebody deletes it, while it is held by this very group.
func (r *Reconciler) givenUp(gc *v1alpha1.GroupChat, cp *v1alpha1.ChatProvider) bool {
	return cp != nil && !cp.DeletionTimestamp.IsZero() && r.Now().Sub(gc.DeletionTimestamp.Time) >= giveUpAfter
}

// remove deletes the group. One whose ID was never written down is found by its
// key.
func (r *Reconciler) remove(ctx context.Context, gc *v1alpha1.GroupChat, provider chat.Provider) error {
	ids := []string{gc.Status.GroupID}
	if gc.Status.GroupID == "" {
		groups, err := provider.ListGroups(ctx, r.key(gc))
		if err != nil {
			return chatProblem(gc, err)
		}
		ids = ids[:0]
		for _, group := range groups {
			ids = append(ids, group.ID)
		}
	}
	for _, id := range ids {
		if err := provider.DeleteGroup(ctx, id); err != nil {
			return chatProblem(gc, err)
		}
	}
	return nil
}

// abandon lets the resource go although its group may live on, and writes down
// which: Sweeper removes it if a ChatProvider of this name comes back. A group that
// was made but never written down needs no record: nobody can have entered it, and
// Sweeper removes such groups anyway.
func (r *Reconciler) abandon(ctx context.Context, gc *v1alpha1.GroupChat) error {
	cp := &v1alpha1.ChatProvider{}
	err := r.Live.Get(ctx, client.ObjectKey{Name: gc.Spec.Provider}, cp)
	switch {
	case err == nil && cp.DeletionTimestamp.IsZero(): // the cache is behind
		return &problem{v1alpha1.ReasonDissolveFailed, fmt.Sprintf("spec.provider: ChatProvider %q has just come back.", gc.Spec.Provider)}
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("getting the ChatProvider: %w", err)
	case gc.Status.GroupID == "":
		return r.release(ctx, gc)
	}
	orphan := Orphan{UID: gc.UID, Provider: gc.Spec.Provider, GroupID: gc.Status.GroupID, Key: r.key(gc), ReleasedAt: r.Now().UTC()}
	where, err := fmt.Sprintf("recorded in the ConfigMap %s/%s", r.Orphans.Namespace, OrphansConfigMap), r.Orphans.Record(ctx, orphan)
	switch {
	case errors.Is(err, errOrphansFull): // must not block the namespace either
		where = "not recorded: " + err.Error()
	case err != nil:
		return err
	}
	ctrl.LoggerFrom(ctx).Info("Released a GroupChat without dissolving its group", "provider", orphan.Provider, "groupID", orphan.GroupID,
		"key", orphan.Key, "record", where)
	r.Events.Eventf(gc, nil, corev1.EventTypeWarning, v1alpha1.ReasonReleasedWithoutOwner, "Release",
		"ChatProvider %q is gone: the group %s was left there and %s.", orphan.Provider, orphan.GroupID, where)
	return r.release(ctx, gc)
}

// release removes the finalizer: nothing outside the cluster is ours any more.
func (r *Reconciler) release(ctx context.Context, gc *v1alpha1.GroupChat) error {
	stored := gc.DeepCopy()
	controllerutil.RemoveFinalizer(gc, v1alpha1.Finalizer)
	err := r.Client.Patch(ctx, gc, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing the finalizer: %w", err)
	}
	return nil
}
