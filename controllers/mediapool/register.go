package mediapool

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/drain"
	"voiceroom.dev/voiceroom/controllers/fleet"
)

// SetupWithManager registers the controller. It needs the index drain.PodsByNode.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.MediaPool{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Pod{}, podEvents{EventHandler: handler.EnqueueRequestsFromMapFunc(poolOf), see: r.see}).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(r.poolsOn), builder.WithPredicates(drain.NodeChanged)).
		WatchesRawSource(r.Starved).
		Complete(r)
}

// podEvents shows what happens to pods to see, and passes on what matters to their pools.
type podEvents struct {
	handler.EventHandler
	see func(before, now *corev1.Pod)
}

// Update implements handler.EventHandler.
func (p podEvents) Update(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	before, now := e.ObjectOld.(*corev1.Pod), e.ObjectNew.(*corev1.Pod)
	p.see(before, now)
	if settled(before) && settled(now) {
		return // an assigned pod stays that until it goes
	}
	p.EventHandler.Update(ctx, e, q)
}

func settled(pod *corev1.Pod) bool { return fleet.Assigned(pod) && pod.DeletionTimestamp == nil }

// see notes claims, and how long pods take to come up.
func (r *Reconciler) see(before, now *corev1.Pod) {
	pool := now.Labels[v1alpha1.LabelPool]
	switch {
	case pool == "":
	case !fleet.Assigned(before) && fleet.Assigned(now):
		r.memories.get(pool).claimed(r.Clock.Now())
	case !fleet.Ready(before) && fleet.Idle(now):
		r.memories.get(pool).cameUp(r.Clock.Now().Sub(now.CreationTimestamp.Time))
	}
}

func poolOf(_ context.Context, pod client.Object) []reconcile.Request {
	if pool := pod.GetLabels()[v1alpha1.LabelPool]; pool != "" {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: pool}}}
	}
	return nil
}

// poolsOn are the pools that have idle pods on a node.
func (r *Reconciler) poolsOn(ctx context.Context, node client.Object) []reconcile.Request {
	var pods corev1.PodList
	err := r.Client.List(ctx, &pods, client.InNamespace(r.Namespace), client.MatchingFields{drain.PodsByNode: node.GetName()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing the pods of a node", "node", node.GetName())
		return nil
	}
	var requests []reconcile.Request
	for i := range pods.Items {
		if idle(&pods.Items[i]) { // the queue takes each pool once
			requests = append(requests, poolOf(ctx, &pods.Items[i])...)
		}
	}
	return requests
}
