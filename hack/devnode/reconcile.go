package devnode

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/hack/controlplane/child"
)

// Reconcile moves one pod a step on: bind, start, report, terminate, finalise.
func (n *Node) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pod := &corev1.Pod{}
	err := n.client.Get(ctx, req.NamespacedName, pod)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("read the pod: %w", err)
	}
	if apierrors.IsNotFound(err) { // finalised, or deleted by force
		return ctrl.Result{}, n.discard(req.NamespacedName)
	}
	box := n.box(req.NamespacedName)
	if box != nil && box.uid != pod.UID { // deleted by force, and another pod has its name
		if err := n.discard(req.NamespacedName); err != nil {
			return ctrl.Result{}, err
		}
		box = nil
	}
	if box.isCut() {
		return ctrl.Result{}, nil // Heal has us look again
	}
	switch {
	case pod.Spec.NodeName == "":
		return ctrl.Result{}, n.schedule(ctx, pod)
	case pod.Spec.NodeName != n.opts.Name:
		return ctrl.Result{}, n.discard(req.NamespacedName) // another node was faster
	case pod.DeletionTimestamp != nil:
		return n.finish(ctx, pod, box)
	case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		return ctrl.Result{}, n.discard(req.NamespacedName)
	case box == nil:
		return ctrl.Result{}, n.start(ctx, pod)
	default:
		return n.keep(ctx, pod, box)
	}
}

// schedule binds a pod to this node if it may run here and its host ports are free.
func (n *Node) schedule(ctx context.Context, pod *corev1.Pod) error {
	if pod.DeletionTimestamp != nil || len(pod.Spec.SchedulingGates) > 0 ||
		!n.opts.Selector.Matches(labels.Set(pod.Labels)) ||
		!labels.SelectorFromSet(pod.Spec.NodeSelector).Matches(labels.Set(n.labels())) {
		return nil
	}
	var self corev1.Node
	err := n.client.Get(ctx, client.ObjectKey{Name: n.opts.Name}, &self)
	if client.IgnoreNotFound(err) != nil { // it may not be registered yet
		return fmt.Errorf("read the node: %w", err)
	}
	if self.Spec.Unschedulable {
		return n.report(ctx, pod, unschedulableStatus(pod, "node "+n.opts.Name+" is cordoned"))
	}
	if err := n.ports.reserve(pod); err != nil {
		return n.report(ctx, pod, unschedulableStatus(pod, fmt.Sprintf("node %s: %v", n.opts.Name, err)))
	}
	binding := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: n.opts.Name},
	}
	err = n.client.SubResource("binding").Create(ctx, pod, binding)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // bound or deleted already: the watch will tell
	}
	if err != nil {
		return fmt.Errorf("bind the pod: %w", err)
	}
	return nil
}

// start starts a pod that this node has no process for.
func (n *Node) start(ctx context.Context, pod *corev1.Pod) error {
	if what := unsupported(&pod.Spec); what != "" {
		return n.report(ctx, pod, failedStatus(pod, ReasonUnsupported, "a development node cannot do this: "+what))
	}
	if pod.Status.Phase == corev1.PodRunning {
		return n.report(ctx, pod, failedStatus(pod, ReasonNodeRestarted, "the node was restarted and its processes ended with it"))
	}
	if err := n.ports.reserve(pod); err != nil {
		return n.report(ctx, pod, failedStatus(pod, ReasonNodePorts, err.Error()))
	}
	box, err := n.launch(ctx, pod)
	if want := (*wanting)(nil); errors.As(err, &want) {
		return n.report(ctx, pod, waitingStatus(pod, &wanting{want.reason, err.Error()}))
	}
	if err != nil {
		return fmt.Errorf("start the pod: %w", err)
	}
	return n.report(ctx, pod, n.status(pod, box))
}

// launch makes the pod's sandbox and starts its process there. A process that cannot be started is the sandbox's
// outcome; an error means that there is no sandbox.
func (n *Node) launch(ctx context.Context, pod *corev1.Pod) (box *sandbox, err error) {
	container := &pod.Spec.Containers[0]
	binary, ok := n.opts.Binaries[container.Image]
	if !ok {
		return nil, &wanting{"ErrImageNeverPull", fmt.Sprintf("there is no local binary for image %q", container.Image)}
	}
	ip, inner, err := n.takeAddresses()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			n.freeAddresses(ip, inner)
		}
	}()
	projector := n.projector(pod, inner)
	content, err := projector.payloads(ctx)
	if err != nil {
		return nil, err
	}
	box, err = newSandbox(filepath.Join(n.dir, string(pod.UID)), pod.UID, ip, inner, &pod.Spec, content)
	if err != nil {
		return nil, err
	}
	cmd, err := projector.command(ctx, binary, box.work(), box.mounts(container))
	if err != nil {
		return nil, errors.Join(err, box.stop(0))
	}
	if inner != ip {
		if box.relay, err = newRelay(ip, inner, container); err != nil {
			return nil, errors.Join(err, box.stop(0))
		}
	}
	key := client.ObjectKeyFromObject(pod)
	box.output = &podOutput{mux: n.output, prefix: key.String() + " | "}
	cmd.Stdout, cmd.Stderr = box.output, box.output
	box.health.started = metav1.Now()
	box.health.readyChanged = box.health.started
	if box.process, err = child.Start(cmd); err != nil {
		box.notStarted(err)
	} else {
		box.watch(container, func() { n.enqueue(key) })
	}
	n.setBox(key, box)
	return box, nil
}

// keep looks after a pod that was started: its volumes, its probes' verdict, its status.
func (n *Node) keep(ctx context.Context, pod *corev1.Pod, box *sandbox) (ctrl.Result, error) {
	var result ctrl.Result
	if h := box.snapshot(); h.running() {
		content, err := n.projector(pod, box.inner).payloads(ctx)
		if want := (*wanting)(nil); errors.As(err, &want) {
			// What is missing now was there at the start; the pod keeps what it has, as on kubelet.
			ctrl.LoggerFrom(ctx).Info("volumes stay as they are", "why", err.Error())
		} else if err != nil {
			return ctrl.Result{}, err
		} else if err := box.project(content); err != nil {
			return ctrl.Result{}, err
		}
		if h.unhealthy != "" {
			result.RequeueAfter = box.terminate(time.Now(), gracePeriod(pod))
		}
	}
	return result, n.report(ctx, pod, n.status(pod, box))
}

// finish ends a pod that is being deleted: SIGTERM, SIGKILL after the grace period, the last status, and then the
// deletion of the object, which the API server leaves to the node.
func (n *Node) finish(ctx context.Context, pod *corev1.Pod, box *sandbox) (ctrl.Result, error) {
	if box != nil {
		if h := box.snapshot(); h.running() {
			again := box.terminate(time.Now(), gracePeriod(pod))
			return ctrl.Result{RequeueAfter: again}, n.report(ctx, pod, n.status(pod, box))
		}
		if err := n.report(ctx, pod, n.status(pod, box)); err != nil {
			return ctrl.Result{}, err
		}
		if err := n.discard(client.ObjectKeyFromObject(pod)); err != nil {
			return ctrl.Result{}, err
		}
	}
	err := n.client.Delete(ctx, pod, client.GracePeriodSeconds(0), client.Preconditions{UID: &pod.UID})
	if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) { // a conflict: another pod has its name
		return ctrl.Result{}, fmt.Errorf("finalise the deletion: %w", err)
	}
	return ctrl.Result{}, nil
}

// gracePeriod is the time from SIGTERM to SIGKILL: that of the deletion if there is one.
func gracePeriod(pod *corev1.Pod) time.Duration {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	switch {
	case pod.DeletionGracePeriodSeconds != nil:
		seconds = *pod.DeletionGracePeriodSeconds
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		seconds = *pod.Spec.TerminationGracePeriodSeconds
	}
	return time.Duration(seconds) * time.Second
}

// report patches the pod's status if it differs. The patch names the UID, so that it can never land on a successor.
func (n *Node) report(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) error {
	status.ObservedGeneration = pod.Generation
	if equality.Semantic.DeepEqual(pod.Status, status) {
		return nil
	}
	base := pod.DeepCopy()
	base.UID = ""
	changed := pod.DeepCopy()
	changed.Status = status
	err := n.client.Status().Patch(ctx, changed, client.StrategicMergeFrom(base))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("report the pod's status: %w", err)
	}
	return nil
}

func (n *Node) status(pod *corev1.Pod, box *sandbox) corev1.PodStatus {
	pid := 0
	if box.process != nil {
		pid = box.process.PID()
	}
	return runStatus(pod, n.opts.Address, box.ip, pid, box.snapshot())
}

func (n *Node) projector(pod *corev1.Pod, ip netip.Addr) *projector {
	return &projector{client: n.client, pod: pod, facts: facts{pod: pod, hostIP: n.opts.Address, podIP: ip}}
}

// discard removes everything this node has of a pod, its process included, and lets those try again who wait for
// one of its ports.
func (n *Node) discard(key types.NamespacedName) error {
	var err error
	if box := n.box(key); box != nil {
		err = box.stop(0)
		n.freeAddresses(box.ip, box.inner)
		n.mu.Lock()
		delete(n.boxes, key)
		n.mu.Unlock()
	}
	for _, waiting := range n.ports.release(key) {
		n.enqueue(waiting)
	}
	return err
}

// takeAddresses returns a pod's address and its process's.
func (n *Node) takeAddresses() (ip, inner netip.Addr, err error) {
	if ip, err = n.addresses.take(); err != nil || !n.opts.Partitions {
		return ip, ip, err
	}
	if inner, err = n.addresses.take(); err != nil {
		n.addresses.free(ip)
	}
	return ip, inner, err
}

func (n *Node) freeAddresses(ip, inner netip.Addr) {
	n.addresses.free(ip)
	n.addresses.free(inner)
}

func (n *Node) box(key types.NamespacedName) *sandbox {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.boxes[key]
}

func (n *Node) setBox(key types.NamespacedName, box *sandbox) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.boxes[key] = box
}
