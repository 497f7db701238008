package controllers

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/fleet"
)

// uncached are read live, by name: the operator lists neither Secrets nor
// ConfigMaps anywhere.
var uncached = []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}

// Scheme returns the kinds that the operator knows.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	return s
}

// ManagerOptions are the options of the operator's manager that its controllers
// depend on: what is cached, from where, and what is left out of it.
func ManagerOptions(o Options) manager.Options {
	return manager.Options{
		Scheme: Scheme(),
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&corev1.Pod{}:  {Namespaces: map[string]cache.Config{o.MediaNamespace: {}}, Transform: fleet.Lean},
				&corev1.Node{}: {Transform: onlyWhatMatters},
			},
		},
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: uncached}},
		// An operator that does not lead fills its caches, so as to take over at once.
		Controller: config.Controller{EnableWarmup: ptr.To(true)},
	}
}

// onlyWhatMatters keeps of a node what the operator needs of it: where it is reached, and
// whether its pods have to go.
func onlyWhatMatters(o any) (any, error) {
	node, ok := o.(*corev1.Node)
	if !ok {
		return o, nil
	}
	kept := &corev1.Node{
		Spec:   corev1.NodeSpec{Unschedulable: node.Spec.Unschedulable, Taints: node.Spec.Taints},
		Status: corev1.NodeStatus{Addresses: node.Status.Addresses},
	}
	kept.Name, kept.UID, kept.ResourceVersion, kept.DeletionTimestamp = node.Name, node.UID, node.ResourceVersion, node.DeletionTimestamp
	return kept, nil
}

// consistentClient is mgr's client with reads from the cache that wait until the
// cache has seen what the client wrote before. So a pool that has just made pods
// counts them, and a room that has just claimed one knows it.
func consistentClient(mgr ctrl.Manager) (client.Client, error) {
	c, err := client.New(mgr.GetConfig(), client.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		Cache: &client.CacheOptions{Reader: mgr.GetCache(), DisableFor: uncached, EnableReadYourWritesConsistency: ptr.To(true)},
	})
	if err != nil {
		return nil, fmt.Errorf("making the client of rooms and pools: %w", err)
	}
	return c, nil
}
