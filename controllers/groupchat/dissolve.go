package groupchat

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
)

// dissolve removes the group from its provider, unless it is to be kept, and
// lets the resource go. A provider that cannot be reached is waited for; one
// whose ChatProvider is gone for good is not, so that it blocks no namespace.
func (c *Controller) dissolve(ctx context.Context, gc *v1alpha1.GroupChat) error {
	if !controllerutil.ContainsFinalizer(gc, v1alpha1.Finalizer) {
		return nil
	}
	if gc.Spec.DeletionPolicy == v1alpha1.DeletionRetain {
		return c.release(ctx, gc)
	}
	_, provider, err := c.provider(ctx, gc)
	if err == nil {
		err = c.remove(ctx, gc, provider)
	}
	var p *problem
	switch {
	case err == nil:
		c.Events.Eventf(gc, nil, corev1.EventTypeNormal, v1alpha1.ReasonDissolved, "Dissolve",
			"The group was dissolved at ChatProvider %q.", gc.Spec.Provider)
		return c.release(ctx, gc)
	case errors.As(err, &p) && p.reason == v1alpha1.ReasonProviderNotFound:
		return c.abandon(ctx, gc)
	case errors.As(err, &p):
		return &problem{v1alpha1.ReasonDissolveFailed, "The group could not be dissolved yet: " + p.message}
	}
	return err
}

// remove deletes the group. One whose ID was never written down is found by its
// key.
func (c *Controller) remove(ctx context.Context, gc *v1alpha1.GroupChat, provider chat.Provider) error {
	ids := []string{gc.Status.GroupID}
	if gc.Status.GroupID == "" {
		groups, err := provider.ListGroups(ctx, c.key(gc))
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
// which: Sweeper removes it if a ChatProvider of this name comes back.
func (c *Controller) abandon(ctx context.Context, gc *v1alpha1.GroupChat) error {
	err := c.Live.Get(ctx, client.ObjectKey{Name: gc.Spec.Provider}, &v1alpha1.ChatProvider{})
	switch {
	case err == nil: // the cache is behind
		return &problem{v1alpha1.ReasonDissolveFailed, fmt.Sprintf("spec.provider: ChatProvider %q has just come back.", gc.Spec.Provider)}
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("getting the ChatProvider: %w", err)
	}
	orphan := Orphan{UID: gc.UID, Provider: gc.Spec.Provider, GroupID: gc.Status.GroupID, Key: c.key(gc), ReleasedAt: c.Now().UTC()}
	if err := c.Orphans.Record(ctx, orphan); err != nil {
		return err
	}
	ctrl.LoggerFrom(ctx).Info("Released a GroupChat without dissolving its group", "provider", orphan.Provider, "groupID", orphan.GroupID, "key", orphan.Key)
	c.Events.Eventf(gc, nil, corev1.EventTypeWarning, v1alpha1.ReasonReleasedWithoutOwner, "Release",
		"ChatProvider %q is gone: the group %q was left where it is and recorded in the ConfigMap %s/%s.",
		orphan.Provider, orphan.GroupID, c.Orphans.Namespace, OrphansConfigMap)
	return c.release(ctx, gc)
}

// release removes the finalizer: nothing outside the cluster is ours any more.
func (c *Controller) release(ctx context.Context, gc *v1alpha1.GroupChat) error {
	stored := gc.DeepCopy()
	controllerutil.RemoveFinalizer(gc, v1alpha1.Finalizer)
	err := c.Client.Patch(ctx, gc, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing the finalizer: %w", err)
	}
	return nil
}
