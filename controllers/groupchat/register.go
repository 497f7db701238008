package groupchat

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// byProvider indexes GroupChats.
const byProvider = "spec.provider"

// SetupWithManager registers the controller and its index.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.GroupChat{}, byProvider, func(o client.Object) []string {
		return []string{o.(*v1alpha1.GroupChat).Spec.Provider}
	})
	if err != nil {
		return fmt.Errorf("indexing GroupChats: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("groupchat").
		For(&v1alpha1.GroupChat{}, builder.WithPredicates(predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, bound))).
		Watches(&v1alpha1.ChatProvider{}, handler.EnqueueRequestsFromMapFunc(r.waiting), builder.WithPredicates(providerNews)).
		Watches(&v1alpha1.VoiceRoom{}, roomNews).
		WithOptions(controller.Options{MaxConcurrentReconciles: 16}). // each waits for the chat back end
		Complete(reconcile.AsReconciler(r.Client, r))
	if err != nil {
		return fmt.Errorf("registering the GroupChat controller: %w", err)
	}
	return nil
}

// waiting are the groups that a provider's news concern: all that are not as
// they should be.
func (r *Reconciler) waiting(ctx context.Context, o client.Object) []reconcile.Request {
	list := &v1alpha1.GroupChatList{}
	if err := r.Client.List(ctx, list, client.MatchingFields{byProvider: o.GetName()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing the groups of a ChatProvider", "provider", o.GetName())
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		gc := &list.Items[i]
		if !gc.DeletionTimestamp.IsZero() || !meta.IsStatusConditionTrue(gc.Status.Conditions, v1alpha1.ConditionReady) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(gc)})
		}
	}
	return requests
}

// bound passes a group that was just bound to its room.
var bound = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false }, // passes anyway
	DeleteFunc: func(event.DeleteEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		old, now := e.ObjectOld.(*v1alpha1.GroupChat), e.ObjectNew.(*v1alpha1.GroupChat)
		return !equality.Semantic.DeepEqual(old.Status.BoundRoom, now.Status.BoundRoom)
	},
}

// providerNews passes providers that came, went, became ready or stopped being so.
var providerNews = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		old, now := e.ObjectOld.(*v1alpha1.ChatProvider), e.ObjectNew.(*v1alpha1.ChatProvider)
		return old.Generation != now.Generation ||
			meta.IsStatusConditionTrue(old.Status.Conditions, v1alpha1.ConditionReady) !=
				meta.IsStatusConditionTrue(now.Status.Conditions, v1alpha1.ConditionReady)
	},
}

// roomNews brings a group back at once when its room was activated, and in a while when
// the number of members there has changed: people come and go one after the other.
var roomNews = handler.Funcs{
	UpdateFunc: func(_ context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		old, now := e.ObjectOld.(*v1alpha1.VoiceRoom), e.ObjectNew.(*v1alpha1.VoiceRoom)
		if now.Status.GroupChat == "" {
			return
		}
		group := reconcile.Request{NamespacedName: client.ObjectKey{Namespace: now.Namespace, Name: now.Status.GroupChat}}
		switch {
		case meta.IsStatusConditionTrue(old.Status.Conditions, v1alpha1.ConditionActivated) != meta.IsStatusConditionTrue(now.Status.Conditions, v1alpha1.ConditionActivated):
			q.Add(group)
		case old.Status.Members != now.Status.Members:
			q.AddAfter(group, CountEvery)
		}
	},
}
