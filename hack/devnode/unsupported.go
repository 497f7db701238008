package devnode

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// unsupported says what a pod asks for that this node cannot do, or "" if there is nothing.
func unsupported(spec *corev1.PodSpec) string {
	switch {
	case spec.RestartPolicy != corev1.RestartPolicyNever:
		return fmt.Sprintf("restartPolicy %s: nothing is restarted here, it must be Never", spec.RestartPolicy)
	case len(spec.InitContainers) > 0:
		return "init containers"
	case len(spec.Containers) != 1:
		return fmt.Sprintf("%d containers: there must be one", len(spec.Containers))
	case spec.HostNetwork:
		return "hostNetwork"
	case spec.ActiveDeadlineSeconds != nil:
		return "activeDeadlineSeconds"
	}
	for _, volume := range spec.Volumes {
		if what := unsupportedVolume(volume.VolumeSource); what != "" {
			return fmt.Sprintf("volume %s: %s", volume.Name, what)
		}
	}
	return unsupportedContainer(&spec.Containers[0])
}

func unsupportedVolume(source corev1.VolumeSource) string {
	if source.EmptyDir != nil {
		return ""
	}
	list := parts(source)
	if list == nil {
		return "only configMap, secret, downwardAPI, projected and emptyDir are known"
	}
	for _, part := range list {
		switch {
		case part.ConfigMap != nil, part.Secret != nil, part.DownwardAPI != nil:
		default:
			return "only configMap, secret and downwardAPI can be projected"
		}
	}
	return ""
}

func unsupportedContainer(container *corev1.Container) string {
	if len(container.EnvFrom) > 0 {
		return "envFrom"
	}
	for _, env := range container.Env {
		if from := env.ValueFrom; from != nil && from.FileKeyRef != nil {
			return fmt.Sprintf("environment variable %s: fileKeyRef", env.Name)
		}
	}
	for _, mount := range container.VolumeMounts {
		if mount.SubPath != "" || mount.SubPathExpr != "" {
			return fmt.Sprintf("subPath of volume mount %s", mount.Name)
		}
	}
	if container.Lifecycle != nil {
		return "lifecycle hooks"
	}
	return unsupportedNetwork(container)
}

func unsupportedNetwork(container *corev1.Container) string {
	for _, port := range container.Ports {
		if port.HostPort != 0 && port.HostPort != port.ContainerPort {
			return fmt.Sprintf("hostPort %d of containerPort %d: they must be the same", port.HostPort, port.ContainerPort)
		}
	}
	for _, probe := range []*corev1.Probe{container.StartupProbe, container.ReadinessProbe, container.LivenessProbe} {
		if probe != nil && probe.HTTPGet == nil && probe.TCPSocket == nil {
			return "probes other than httpGet and tcpSocket"
		}
	}
	return ""
}
