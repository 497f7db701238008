package devnode

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons of pods that this node fails or does not take, as status.reason or as the reason of PodScheduled.
const (
	// ReasonUnsupported: the pod asks for something that a development node cannot do.
	ReasonUnsupported = "Unsupported"
	// ReasonNodePorts: the pod was put here by its nodeName although its hostPort is taken. As kubelet says it.
	ReasonNodePorts = "NodePorts"
	// ReasonNodeRestarted: the node that ran the pod has stopped, and its processes ended with it.
	ReasonNodeRestarted = "NodeRestarted"
)

// waitingStatus is the status of a pod that is bound but cannot start yet.
func waitingStatus(pod *corev1.Pod, why *wanting) corev1.PodStatus {
	status := *pod.Status.DeepCopy()
	status.Phase = corev1.PodPending
	status.ContainerStatuses = containerStatus(pod, corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: why.reason, Message: why.message},
	})
	return status
}

// unschedulableStatus is the status of a pod that nobody has bound, for the reason given.
func unschedulableStatus(pod *corev1.Pod, message string) corev1.PodStatus {
	status := *pod.Status.DeepCopy()
	setCondition(&status, corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Now(),
		Reason: corev1.PodReasonUnschedulable, Message: message,
	})
	return status
}

// failedStatus is the status of a pod that is not run, or not any more, for a reason that is not its process's end.
func failedStatus(pod *corev1.Pod, reason, message string) corev1.PodStatus {
	status := *pod.Status.DeepCopy()
	status.Phase, status.Reason, status.Message = corev1.PodFailed, reason, message
	for i := range status.ContainerStatuses {
		container := &status.ContainerStatuses[i]
		container.Ready = false
		container.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: 137, Reason: "ContainerStatusUnknown", Message: message, ContainerID: container.ContainerID,
		}}
	}
	for _, kind := range []corev1.PodConditionType{corev1.ContainersReady, corev1.PodReady} {
		setCondition(&status, corev1.PodCondition{
			Type: kind, Status: corev1.ConditionFalse, Reason: "PodFailed", LastTransitionTime: metav1.Now(),
		})
	}
	return status
}

// runStatus is the status of a pod that has a process, or had one.
func runStatus(pod *corev1.Pod, hostIP, podIP netip.Addr, pid int, h health) corev1.PodStatus {
	status := *pod.Status.DeepCopy()
	status.Reason, status.Message = "", h.unhealthy
	status.HostIP, status.HostIPs = hostIP.String(), []corev1.HostIP{{IP: hostIP.String()}}
	status.PodIP, status.PodIPs = podIP.String(), []corev1.PodIP{{IP: podIP.String()}}
	if status.StartTime == nil {
		status.StartTime = &h.started
	}
	id := fmt.Sprintf("process://%d", pid)
	running := h.running()
	state := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: h.started}}
	status.Phase = corev1.PodRunning
	if !running {
		state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: h.exitCode, Reason: h.reason, Message: h.message,
			StartedAt: h.started, FinishedAt: h.ended, ContainerID: id,
		}}
		status.Phase = corev1.PodFailed
		if h.exitCode == 0 {
			status.Phase = corev1.PodSucceeded
		}
	}
	status.ContainerStatuses = containerStatus(pod, state)
	container := &status.ContainerStatuses[0]
	container.ContainerID, container.Started, container.Ready = id, &running, h.ready
	setRunConditions(pod, &status, h)
	return status
}

func setRunConditions(pod *corev1.Pod, status *corev1.PodStatus, h health) {
	setCondition(status, corev1.PodCondition{
		Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: h.started,
	})
	ready := corev1.PodCondition{Status: corev1.ConditionTrue, LastTransitionTime: h.readyChanged}
	switch {
	case h.ready:
	case h.running():
		ready.Status, ready.Reason = corev1.ConditionFalse, "ContainersNotReady"
	case h.exitCode == 0:
		ready.Status, ready.Reason = corev1.ConditionFalse, "PodCompleted"
	default:
		ready.Status, ready.Reason = corev1.ConditionFalse, "PodFailed"
	}
	ready.Type = corev1.ContainersReady
	setCondition(status, ready)
	ready.Type = corev1.PodReady
	if h.ready && !gatesOpen(pod) {
		ready.Status, ready.Reason = corev1.ConditionFalse, "ReadinessGatesNotReady"
	}
	setCondition(status, ready)
}

// gatesOpen tells whether every readiness gate's condition is true.
func gatesOpen(pod *corev1.Pod) bool {
	for _, gate := range pod.Spec.ReadinessGates {
		open := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == gate.ConditionType && c.Status == corev1.ConditionTrue
		})
		if !open {
			return false
		}
	}
	return true
}

func containerStatus(pod *corev1.Pod, state corev1.ContainerState) []corev1.ContainerStatus {
	container := &pod.Spec.Containers[0]
	started := false
	return []corev1.ContainerStatus{{
		Name: container.Name, Image: container.Image, ImageID: container.Image, State: state, Started: &started,
	}}
}

// setCondition adds or replaces a condition; the transition time of one whose status stays is kept.
func setCondition(status *corev1.PodStatus, condition corev1.PodCondition) {
	if condition.LastTransitionTime.IsZero() {
		condition.LastTransitionTime = metav1.Now()
	}
	for i := range status.Conditions {
		old := &status.Conditions[i]
		if old.Type != condition.Type {
			continue
		}
		if old.Status == condition.Status {
			condition.LastTransitionTime = old.LastTransitionTime
		}
		condition.ObservedGeneration = old.ObservedGeneration
		*old = condition
		return
	}
	status.Conditions = append(status.Conditions, condition)
}
