// Package chatprovider reconciles ChatProvider: it opens the back end, says
// whether it can be reached and what it can do, and holds the resource while
// groups live there.
package chatprovider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
)

const (
	checkEvery   = 10 * time.Second       // while all is well
	checkTimeout = 5 * time.Second        // for one answer
	retryFirst   = 500 * time.Millisecond // after the first failure
)

// Opener keeps the open providers in step with the resources.
type Opener interface {
	// Open makes the provider of the resource's name be what the resource says, with
	// today's credentials. It does not wait for the back end. Errors wrap
	// registry.ErrCredentials or chat.ErrInvalid where those are the cause.
	Open(ctx context.Context, cp *v1alpha1.ChatProvider) error
	// Forget closes the provider of this name.
	Forget(name string) error
}

// Providers gives the open provider of a name.
type Providers interface {
	Get(name string) (chat.Provider, error)
}

// Reconciler reconciles ChatProvider. All fields are required.
type Reconciler struct {
	Client    client.Client
	Live      client.Reader // reads the API server, not a cache
	Opener    Opener
	Providers Providers
	Now       func() time.Time
}

// +kubebuilder:rbac:groups=voiceroom.dev,resources=chatproviders,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=voiceroom.dev,resources=chatproviders/status,verbs=patch
// +kubebuilder:rbac:groups=voiceroom.dev,resources=groupchats,verbs=get;list;watch
// +kubebuilder:rbac:groups="",namespace=voiceroom-system,resources=secrets,verbs=get

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("chatprovider").
		For(&v1alpha1.ChatProvider{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.GroupChat{}, handler.EnqueueRequestsFromMapFunc(providerOf), builder.WithPredicates(gone)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4}). // one that hangs must not delay all
		Complete(r)
	if err != nil {
		return fmt.Errorf("registering the ChatProvider controller: %w", err)
	}
	return nil
}

// gone passes groups that no longer hold their provider.
var gone = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	UpdateFunc:  func(event.UpdateEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
}

func providerOf(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: o.(*v1alpha1.GroupChat).Spec.Provider}}}
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (_ ctrl.Result, err error) {
	cp := &v1alpha1.ChatProvider{}
	if err := r.Client.Get(ctx, req.NamespacedName, cp); err != nil {
		if apierrors.IsNotFound(err) { // also when its finalizer was taken away by force
			return ctrl.Result{}, r.Opener.Forget(req.Name)
		}
		return ctrl.Result{}, fmt.Errorf("getting the ChatProvider: %w", err)
	}
	if !cp.DeletionTimestamp.IsZero() {
		done, err := r.release(ctx, cp)
		if done || err != nil {
			return ctrl.Result{}, err
		}
	} else if err := r.hold(ctx, cp); err != nil {
		return ctrl.Result{}, err
	}
	stored := cp.DeepCopy()
	defer func() {
		if !equality.Semantic.DeepEqual(stored.Status, cp.Status) {
			err = errors.Join(err, client.IgnoreNotFound(r.Client.Status().Patch(ctx, cp, client.MergeFrom(stored))))
		}
	}()
	return r.check(ctx, cp), nil
}

// hold adds the finalizer.
func (r *Reconciler) hold(ctx context.Context, cp *v1alpha1.ChatProvider) error {
	stored := cp.DeepCopy()
	if !controllerutil.AddFinalizer(cp, v1alpha1.Finalizer) {
		return nil
	}
	if err := r.Client.Patch(ctx, cp, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("adding the finalizer: %w", err)
	}
	return nil
}

// release lets a deleted provider go once no group lives there. Until then it is
// checked like any other: its groups still need it.
func (r *Reconciler) release(ctx context.Context, cp *v1alpha1.ChatProvider) (done bool, err error) {
	if !controllerutil.ContainsFinalizer(cp, v1alpha1.Finalizer) {
		return true, nil
	}
	used, err := r.inUse(ctx, cp.Name)
	if used || err != nil {
		return false, err
	}
	stored := cp.DeepCopy()
	controllerutil.RemoveFinalizer(cp, v1alpha1.Finalizer)
	err = r.Client.Patch(ctx, cp, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("removing the finalizer: %w", err)
	}
	return true, r.Opener.Forget(cp.Name)
}

// inUse says whether a GroupChat may have a group at the provider. The cache can
// cheaply say that one does; only the API server can say that none does.
func (r *Reconciler) inUse(ctx context.Context, provider string) (bool, error) {
	list := &v1alpha1.GroupChatList{}
	if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("listing the groups of ChatProvider %s: %w", provider, err)
	}
	if anyAt(list, provider) {
		return true, nil
	}
	for next := ""; ; {
		list = &v1alpha1.GroupChatList{}
		if err := r.Live.List(ctx, list, client.Limit(500), client.Continue(next)); err != nil {
			return false, fmt.Errorf("listing the groups of ChatProvider %s: %w", provider, err)
		}
		if next = list.Continue; anyAt(list, provider) || next == "" {
			return anyAt(list, provider), nil
		}
	}
}

// anyAt says whether one of the GroupChats may have a group at the provider: each
// has its finalizer before it has a group.
func anyAt(list *v1alpha1.GroupChatList, provider string) bool {
	return slices.ContainsFunc(list.Items, func(gc v1alpha1.GroupChat) bool {
		return gc.Spec.Provider == provider && controllerutil.ContainsFinalizer(&gc, v1alpha1.Finalizer)
	})
}
