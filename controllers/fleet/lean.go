package fleet

import (
	corev1 "k8s.io/api/core/v1"
)

// Lean keeps of a pod what the operator reads: it is the transform of a cache that holds
// ten thousand.
//
// What is patched is the difference of two such copies, so that nothing is taken from the
// pod that is left out here. An update or an apply of a copy would do that: there is none.
func Lean(o any) (any, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil // the last that was known of one that is gone
	}
	lean := &corev1.Pod{ObjectMeta: pod.ObjectMeta,
		Spec: corev1.PodSpec{NodeName: pod.Spec.NodeName, Tolerations: pod.Spec.Tolerations},
		Status: corev1.PodStatus{Phase: pod.Status.Phase, Reason: pod.Status.Reason, Message: pod.Status.Message,
			Conditions: pod.Status.Conditions, PodIP: pod.Status.PodIP, HostIP: pod.Status.HostIP, StartTime: pod.Status.StartTime}}
	lean.ManagedFields = nil
	for _, c := range pod.Spec.Containers {
		lean.Spec.Containers = append(lean.Spec.Containers, corev1.Container{Name: c.Name, Image: c.Image, Ports: onHost(c.Ports)})
	}
	for _, s := range pod.Status.ContainerStatuses {
		lean.Status.ContainerStatuses = append(lean.Status.ContainerStatuses, corev1.ContainerStatus{Name: s.Name, Ready: s.Ready, State: s.State})
	}
	return lean, nil
}

// onHost are the ports that clients reach.
func onHost(ports []corev1.ContainerPort) []corev1.ContainerPort {
	var kept []corev1.ContainerPort
	for _, p := range ports {
		if p.HostPort != 0 {
			kept = append(kept, p)
		}
	}
	return kept
}
