package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// nodeName is the node of all pods.
const nodeName = "fakefleet"

// node is scheduler and kubelet of the media namespace.
type node struct {
	client    client.Client
	pods      *pods
	namespace string
}

func (n *node) setup(mgr ctrl.Manager) error {
	if err := mgr.Add(n); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).For(&corev1.Pod{}).WithOptions(controller.Options{MaxConcurrentReconciles: 16}).Complete(n)
}

// Start registers the node. It implements manager.Runnable.
func (n *node) Start(ctx context.Context) error {
	err := n.client.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("registering the node: %w", err)
	}
	return nil
}

// Reconcile takes one pod a step further: bound, running, gone.
func (n *node) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pod := &corev1.Pod{}
	err := n.client.Get(ctx, req.NamespacedName, pod)
	switch {
	case apierrors.IsNotFound(err):
		n.pods.remove(req.Name)
		return ctrl.Result{}, nil
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("getting the pod: %w", err)
	case pod.DeletionTimestamp != nil:
		n.pods.remove(req.Name)
		err = n.client.Delete(ctx, pod, client.GracePeriodSeconds(0), client.Preconditions{UID: &pod.UID})
	case pod.Spec.NodeName == "":
		err = n.client.SubResource("binding").Create(ctx, pod, &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: nodeName}})
	case pod.Status.Phase == corev1.PodPending || pod.Status.Phase == "":
		err = n.run(ctx, pod)
	case pod.Status.Phase == corev1.PodRunning:
		n.pods.add(pod.Name, string(pod.UID), pod.Labels[v1alpha1.LabelPool], pod.Status.PodIP) // known, unless this process is new
	}
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return ctrl.Result{}, nil // its event brings us back
	}
	return ctrl.Result{}, err
}

// run makes the pod answer, and says so.
func (n *node) run(ctx context.Context, pod *corev1.Pod) error {
	ip := n.pods.add(pod.Name, string(pod.UID), pod.Labels[v1alpha1.LabelPool], "")
	stored := pod.DeepCopy()
	now := metav1.Now()
	pod.Status.Phase, pod.Status.StartTime = corev1.PodRunning, &now
	pod.Status.HostIP, pod.Status.PodIP, pod.Status.PodIPs = "127.0.0.1", ip, []corev1.PodIP{{IP: ip}}
	for _, kind := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	c := pod.Spec.Containers[0]
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: c.Name, Image: c.Image, Ready: true, Started: ptr.To(true),
		ContainerID: "fake://" + string(pod.UID), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}}}
	return n.client.Status().Patch(ctx, pod, client.MergeFrom(stored))
}
