package voiceroom

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/drain"
	"voiceroom.dev/voiceroom/controllers/fleet"
)

// Indexes of the cache.
const (
	podsByRoom   = "room.uid"                    // pods by the UID of their room
	roomsByPool  = "spec.media.pool"             // rooms by their pool
	roomsByGroup = "spec.chat.groupChatRef.name" // rooms by the group that they refer to
)

const (
	// workers reconcile at once: each may wait for a media pod.
	workers = 16
	// Errors back off between these.
	retryMin, retryMax = 20 * time.Millisecond, 15 * time.Second
)

// SetupWithManager registers the controller and its indexes.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	for _, index := range []struct {
		of   client.Object
		name string
		key  func(client.Object) string
	}{
		{&corev1.Pod{}, podsByRoom, func(o client.Object) string { return o.GetLabels()[v1alpha1.LabelRoomUID] }},
		{&v1alpha1.VoiceRoom{}, roomsByPool, func(o client.Object) string { return o.(*v1alpha1.VoiceRoom).Spec.Media.Pool }},
		{&v1alpha1.VoiceRoom{}, roomsByShare, func(o client.Object) string {
			if vr := o.(*v1alpha1.VoiceRoom); !closed(vr) {
				return shareOf(vr)
			}
			return ""
		}},
		{&v1alpha1.VoiceRoom{}, roomsByGroup, func(o client.Object) string { return groupRef(o.(*v1alpha1.VoiceRoom)) }},
	} {
		err := mgr.GetFieldIndexer().IndexField(ctx, index.of, index.name, func(o client.Object) []string {
			if k := index.key(o); k != "" {
				return []string{k}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("indexing %T by %s: %w", index.of, index.name, err)
		}
	}
	// Filled with the other caches, not when the first room asks for its pod's node.
	if _, err := mgr.GetCache().GetInformer(ctx, &corev1.Node{}); err != nil {
		return fmt.Errorf("following nodes: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.VoiceRoom{}).
		Owns(&v1alpha1.GroupChat{}, builder.WithPredicates(madeNews)).
		Watches(&v1alpha1.GroupChat{}, handler.EnqueueRequestsFromMapFunc(r.roomsOfGroup)).
		Watches(&v1alpha1.VoiceRoom{}, handler.EnqueueRequestsFromMapFunc(r.roomsAfter), builder.WithPredicates(ended)).
		Watches(&v1alpha1.VoiceRoom{}, handler.EnqueueRequestsFromMapFunc(r.roomsOfShare), builder.WithPredicates(shareFreed)).
		// Its spec, not its counts: those change with every pod, and would wake every room that waits.
		Watches(&v1alpha1.MediaPool{}, handler.EnqueueRequestsFromMapFunc(r.roomsOfPool), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.MediaPool{}, handler.EnqueueRequestsFromMapFunc(r.roomsInPool), builder.WithPredicates(termsChanged)).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.roomsOfPod)).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(r.roomsOnNode), builder.WithPredicates(predicate.Or[client.Object](drain.NodeChanged, addressesChanged))).
		WatchesRawSource(r.Fleet.Source()).
		WatchesRawSource(source.Channel(r.Keyring.Changed(), handler.EnqueueRequestsFromMapFunc(r.roomsWithTickets))).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers,
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retryMin, retryMax)}).
		Complete(r)
}

// roomsOfPod are the room that holds a pod or, when the pod has just become free,
// the room that has waited longest for one.
func (r *Reconciler) roomsOfPod(_ context.Context, o client.Object) []reconcile.Request {
	pod := o.(*corev1.Pod)
	if fleet.Assigned(pod) {
		return []reconcile.Request{{NamespacedName: roomOf(pod)}}
	}
	if !fleet.Idle(pod) || r.Allocator.Promised(pod.UID) {
		return nil
	}
	if room, ok := r.Allocator.Next(pod.Labels[v1alpha1.LabelPool]); ok {
		return []reconcile.Request{{NamespacedName: room}}
	}
	return nil
}

// roomOf is the room that a pod was given to.
func roomOf(pod *corev1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Labels[v1alpha1.LabelRoomNamespace], Name: pod.Labels[v1alpha1.LabelRoomName]}
}

// roomsOfPool are the rooms that a change of a pool may help.
func (r *Reconciler) roomsOfPool(ctx context.Context, pool client.Object) []reconcile.Request {
	return r.rooms(ctx, client.MatchingFields{roomsByPool: pool.GetName()})
}

// termsChanged passes pools whose rooms may have to move, or may take an edit that was
// refused.
var termsChanged = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, now := e.ObjectOld.(*v1alpha1.MediaPool), e.ObjectNew.(*v1alpha1.MediaPool)
		return !equality.Semantic.DeepEqual(before.Status.Template, now.Status.Template) || !equality.Semantic.DeepEqual(before.Spec.Update, now.Spec.Update) ||
			!equality.Semantic.DeepEqual(before.Spec.NamespaceQuota, now.Spec.NamespaceQuota)
	},
	DeleteFunc: func(event.DeleteEvent) bool { return false },
}

// roomsInPool are all rooms of a pool.
func (r *Reconciler) roomsInPool(ctx context.Context, pool client.Object) []reconcile.Request {
	return r.roomsThat(ctx, func(*v1alpha1.VoiceRoom) bool { return true }, client.MatchingFields{roomsByPool: pool.GetName()})
}

// addressesChanged passes nodes that clients are told other addresses of.
var addressesChanged = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		return !equality.Semantic.DeepEqual(e.ObjectOld.(*corev1.Node).Status.Addresses, e.ObjectNew.(*corev1.Node).Status.Addresses)
	},
	DeleteFunc: func(event.DeleteEvent) bool { return false },
}

// roomsOnNode are the rooms whose pods are on a node.
func (r *Reconciler) roomsOnNode(ctx context.Context, node client.Object) []reconcile.Request {
	var pods corev1.PodList
	err := r.Client.List(ctx, &pods, client.InNamespace(r.MediaNamespace), client.MatchingFields{drain.PodsByNode: node.GetName()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing the pods of a node", "node", node.GetName())
		return nil
	}
	var requests []reconcile.Request
	for i := range pods.Items {
		if pod := &pods.Items[i]; fleet.Assigned(pod) {
			requests = append(requests, reconcile.Request{NamespacedName: roomOf(pod)})
		}
	}
	return requests
}

// madeNews passes what becomes of a group, not that it was made: its room did that.
var madeNews = predicate.Funcs{CreateFunc: func(event.CreateEvent) bool { return false }}

// ended passes rooms that let go of the group that they refer to.
var ended = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, now := e.ObjectOld.(*v1alpha1.VoiceRoom), e.ObjectNew.(*v1alpha1.VoiceRoom)
		return groupRef(now) != "" && (!closed(before) && closed(now) || before.DeletionTimestamp == nil && now.DeletionTimestamp != nil)
	},
	DeleteFunc: func(e event.DeleteEvent) bool { return groupRef(e.Object.(*v1alpha1.VoiceRoom)) != "" },
}

// roomsOfGroup are the rooms that refer to a group which they do not own, and the
// one whose own group cannot be made while another has its name.
func (r *Reconciler) roomsOfGroup(ctx context.Context, group client.Object) []reconcile.Request {
	requests := r.rooms(ctx, client.InNamespace(group.GetNamespace()), client.MatchingFields{roomsByGroup: group.GetName()})
	if metav1.GetControllerOf(group) == nil {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(group)})
	}
	return requests
}

// roomsAfter are the rooms that may have the group of one that ended.
func (r *Reconciler) roomsAfter(ctx context.Context, o client.Object) []reconcile.Request {
	return r.rooms(ctx, client.InNamespace(o.GetNamespace()), client.MatchingFields{roomsByGroup: groupRef(o.(*v1alpha1.VoiceRoom))})
}

// roomsWithTickets are those whose host ticket's key is gone.
func (r *Reconciler) roomsWithTickets(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.roomsThat(ctx, func(vr *v1alpha1.VoiceRoom) bool {
		return vr.Status.HostTicketSecret != "" && r.Tickets.Revoked(vr.Status.HostTicketKey)
	})
}

// rooms lists rooms that are not as they should be.
func (r *Reconciler) rooms(ctx context.Context, opts ...client.ListOption) []reconcile.Request {
	return r.roomsThat(ctx, func(vr *v1alpha1.VoiceRoom) bool {
		return !meta.IsStatusConditionTrue(vr.Status.Conditions, v1alpha1.ConditionReady)
	}, opts...)
}

// roomsThat lists rooms that go on.
func (r *Reconciler) roomsThat(ctx context.Context, matter func(*v1alpha1.VoiceRoom) bool, opts ...client.ListOption) []reconcile.Request {
	var list v1alpha1.VoiceRoomList
	if err := r.Client.List(ctx, &list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing rooms")
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		vr := &list.Items[i]
		if !closed(vr) && matter(vr) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(vr)})
		}
	}
	return requests
}
