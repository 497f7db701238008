package joinrequest

import (
	"context"
	"fmt"

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

// byRoom indexes JoinRequests.
const byRoom = "spec.room.name"

// SetupWithManager registers the controller and its index.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.JoinRequest{}, byRoom, func(o client.Object) []string {
		return []string{o.(*v1alpha1.JoinRequest).Spec.Room.Name}
	})
	if err != nil {
		return fmt.Errorf("indexing JoinRequests: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("joinrequest").
		For(&v1alpha1.JoinRequest{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.VoiceRoom{}, handler.EnqueueRequestsFromMapFunc(r.waiting), builder.WithPredicates(roomNews)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8}). // each may wait for the chat back end
		Complete(reconcile.AsReconciler(r.Client, r))
	if err != nil {
		return fmt.Errorf("registering the JoinRequest controller: %w", err)
	}
	return nil
}

// waiting are the requests that a room's news concern: all that are not finished.
func (r *Reconciler) waiting(ctx context.Context, o client.Object) []reconcile.Request {
	list := &v1alpha1.JoinRequestList{}
	err := r.Client.List(ctx, list, client.InNamespace(o.GetNamespace()), client.MatchingFields{byRoom: o.GetName()})
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing the requests for a VoiceRoom", "room", o.GetName())
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if jr := &list.Items[i]; jr.Status.FinishedAt == nil {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(jr)})
		}
	}
	return requests
}

// roomNews passes rooms that came, went, changed phase or number of members.
var roomNews = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		old, now := e.ObjectOld.(*v1alpha1.VoiceRoom), e.ObjectNew.(*v1alpha1.VoiceRoom)
		return old.Status.Phase != now.Status.Phase || old.Status.Members != now.Status.Members || old.Generation != now.Generation
	},
}
