package fleet

import (
	"crypto/tls"
	"errors"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// Ports of a media pod on its own address. No MediaPool's port range may include them.
const (
	ControlPort = 9443 // mediaapi, TLS
	HealthPort  = 9090 // /healthz, /readyz, /metrics
)

// SafeToEvict is the annotation that tells the cluster autoscaler whether it may evict a pod.
const SafeToEvict = "cluster-autoscaler.kubernetes.io/safe-to-evict"

// Assigned says whether the pod was given to a room. It stays so for ever.
func Assigned(pod *corev1.Pod) bool { return pod.Labels[v1alpha1.LabelRoomUID] != "" }

// Ended says whether the kubelet reported that the pod's processes are gone.
func Ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// Ready says whether the pod is up and is meant to stay.
func Ready(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning || pod.Status.PodIP == "" {
		return false
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Idle says whether the pod can be given to a room.
func Idle(pod *corev1.Pod) bool { return Ready(pod) && !Assigned(pod) }

// Endpoint is the address of the pod's control API, host:port.
func Endpoint(pod *corev1.Pod) string {
	return net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(ControlPort))
}

// MediaPort is the port on which clients reach the pod, on its node and in the pod
// alike; 0 if the pod has none.
func MediaPort(pod *corev1.Pod) int32 {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.HostPort != 0 && p.Protocol == corev1.ProtocolUDP {
				return p.HostPort
			}
		}
	}
	return 0
}

// Misconfigured says whether a call to a pod failed because of keys, certificates
// or a request that no pod would take: another pod would answer the same, so that
// it is no reason to give this one up.
func Misconfigured(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok || errors.Is(err, token.ErrNoKey) {
		return true
	}
	refusal, ok := errors.AsType[*room.Error](err)
	if !ok {
		return false
	}
	switch refusal.Code {
	case mediaapi.Unauthenticated, mediaapi.Forbidden, mediaapi.BadRequest, mediaapi.TooLarge, mediaapi.NotFound, room.StaleSpec, room.BadCommand:
		return true
	}
	return false
}
