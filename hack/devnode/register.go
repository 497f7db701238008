package devnode

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

const (
	heartbeatEvery = 10 * time.Second
	retryEvery     = time.Second
	leaseSeconds   = 40 // as kubelet's
	podCapacity    = 250
)

// heartbeat keeps the Node and its Lease in being until ctx ends. An API server that is away is asked again.
func (n *Node) heartbeat(ctx context.Context) error {
	for {
		created, err := n.beat(ctx, time.Now())
		if err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Error(err, "heartbeat")
		}
		pause := heartbeatEvery
		if err != nil || created { // a new node has a taint that only an update removes
			pause = retryEvery
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// beat brings the Node and its Lease up to date, and tells whether it had to create the Node.
func (n *Node) beat(ctx context.Context, now time.Time) (created bool, err error) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.opts.Name}}
	result, err := controllerutil.CreateOrPatch(ctx, n.client, node, func() error {
		n.describe(node, metav1.NewTime(now))
		return nil
	})
	if err != nil && !apierrors.IsAlreadyExists(err) { // the cache did not know it yet
		return false, fmt.Errorf("register the node: %w", err)
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: n.opts.Name, Namespace: corev1.NamespaceNodeLease}}
	_, err = controllerutil.CreateOrPatch(ctx, n.client, lease, func() error {
		seconds, renewed := int32(leaseSeconds), metav1.NewMicroTime(now)
		lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds, lease.Spec.RenewTime = &n.opts.Name, &seconds, &renewed
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("renew the node's lease: %w", err)
	}
	return result == controllerutil.OperationResultCreated, nil
}

// describe puts what is true of this node into its object.
func (n *Node) describe(node *corev1.Node, now metav1.Time) {
	if node.Labels == nil {
		node.Labels = map[string]string{}
	}
	for name, value := range n.labels() {
		node.Labels[name] = value
	}
	// Admission taints every new node until a controller, which does not run here, sees it ready.
	node.Spec.Taints = slices.DeleteFunc(node.Spec.Taints, func(taint corev1.Taint) bool {
		return taint.Key == corev1.TaintNodeNotReady
	})
	node.Status.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: n.opts.Address.String()},
		{Type: corev1.NodeHostName, Address: n.opts.Name},
	}
	node.Status.Capacity = capacity()
	node.Status.Allocatable = node.Status.Capacity
	node.Status.NodeInfo.OperatingSystem = runtime.GOOS
	node.Status.NodeInfo.Architecture = runtime.GOARCH
	node.Status.NodeInfo.KubeletVersion = "devnode"
	ready := corev1.NodeCondition{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "DevNodeReady",
		Message: "runs pods as local processes", LastHeartbeatTime: now, LastTransitionTime: now,
	}
	for _, old := range node.Status.Conditions {
		if old.Type == ready.Type && old.Status == ready.Status {
			ready.LastTransitionTime = old.LastTransitionTime
		}
	}
	node.Status.Conditions = []corev1.NodeCondition{ready}
}

func (n *Node) labels() map[string]string {
	all := map[string]string{
		corev1.LabelHostname:   n.opts.Name,
		corev1.LabelOSStable:   runtime.GOOS,
		corev1.LabelArchStable: runtime.GOARCH,
	}
	for name, value := range n.opts.Labels {
		all[name] = value
	}
	return all
}

// capacity is what the machine has; nobody divides it up here. Memory is not known portably and left out.
func capacity() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:  *resource.NewQuantity(int64(runtime.NumCPU()), resource.DecimalSI),
		corev1.ResourcePods: *resource.NewQuantity(podCapacity, resource.DecimalSI),
	}
}
