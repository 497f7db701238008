package mediapool

import (
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/fleet"
)

const (
	keysDir = "/etc/voiceroom/keys"
	tlsDir  = "/etc/voiceroom/tls"
	// stopSeconds is how long a pod has to say goodbye to its members.
	stopSeconds = 10
	// nobody is the user of distroless images.
	nobody = 65532
)

// podName is the lock of a port.
func podName(pool string, port int32) string { return fmt.Sprintf("%s-%d", pool, port) }

// tlsSecretName names the Secret with the certificate of a pool's pods.
func tlsSecretName(pool string) string { return pool + "-tls" }

// podFor is a media pod of a pool on one of its ports. It holds no Kubernetes
// credentials and may write nowhere; it faces the Internet.
func podFor(pool *v1alpha1.MediaPool, port int32, image, namespace string) *corev1.Pod {
	if pool.Spec.Template.Image != "" {
		image = pool.Spec.Template.Image
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      podName(pool.Name, port),
			Labels: map[string]string{
				v1alpha1.LabelPool:             pool.Name,
				"app.kubernetes.io/name":       "voiceroom",
				"app.kubernetes.io/component":  "media",
				"app.kubernetes.io/managed-by": "voiceroom-operator",
			},
			OwnerReferences: []metav1.OwnerReference{ownedBy(pool)},
		},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			AutomountServiceAccountToken:  ptr.To(false),
			EnableServiceLinks:            ptr.To(false),
			TerminationGracePeriodSeconds: ptr.To[int64](stopSeconds),
			NodeSelector:                  maps.Clone(pool.Spec.Template.NodeSelector),
			Tolerations:                   pool.Spec.Template.Tolerations,
			PriorityClassName:             pool.Spec.Template.PriorityClassName,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot:   ptr.To(true),
				RunAsUser:      ptr.To[int64](nobody),
				RunAsGroup:     ptr.To[int64](nobody),
				FSGroup:        ptr.To[int64](nobody),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{container(pool, port, image)},
			Volumes:    volumes(pool.Name),
		},
	}
}

// ownedBy lets the pool's idle pods go with it. Nothing waits for that.
func ownedBy(pool *v1alpha1.MediaPool) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "MediaPool", Name: pool.Name, UID: pool.UID,
		Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(false)}
}

func container(pool *v1alpha1.MediaPool, port int32, image string) corev1.Container {
	return corev1.Container{
		Name:  "media",
		Image: image,
		Args: []string{
			"--pod-uid=$(POD_UID)",
			fmt.Sprintf("--control=$(POD_IP):%d", fleet.ControlPort),
			fmt.Sprintf("--health=$(POD_IP):%d", fleet.HealthPort),
			fmt.Sprintf("--media=:%d", port),
			"--keys=" + keysDir,
			"--tls=" + tlsDir,
		},
		Env: []corev1.EnvVar{fieldEnv("POD_UID", "metadata.uid"), fieldEnv("POD_IP", "status.podIP")},
		Ports: []corev1.ContainerPort{
			{Name: "media-udp", ContainerPort: port, HostPort: port, Protocol: corev1.ProtocolUDP},
			{Name: "media-tcp", ContainerPort: port, HostPort: port, Protocol: corev1.ProtocolTCP},
			{Name: "control", ContainerPort: fleet.ControlPort, Protocol: corev1.ProtocolTCP},
			{Name: "health", ContainerPort: fleet.HealthPort, Protocol: corev1.ProtocolTCP},
		},
		Resources: resources(pool),
		VolumeMounts: []corev1.VolumeMount{
			{Name: "keys", MountPath: keysDir, ReadOnly: true},
			{Name: "tls", MountPath: tlsDir, ReadOnly: true},
		},
		ReadinessProbe: probe("/readyz", 1, 3), // a room may be waiting for it
		LivenessProbe:  probe("/healthz", 10, 3),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		// What it said last is what the pool's condition tells.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
}

func fieldEnv(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}}
}

func probe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(fleet.HealthPort)}},
		PeriodSeconds: period, FailureThreshold: failures, TimeoutSeconds: 2,
	}
}

// resources are the pool's, or enough for a room of a few hundred listeners.
func resources(pool *v1alpha1.MediaPool) corev1.ResourceRequirements {
	if r := pool.Spec.Template.Resources; len(r.Requests) > 0 || len(r.Limits) > 0 {
		return r
	}
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
	}
}

func volumes(pool string) []corev1.Volume {
	return []corev1.Volume{
		{Name: "keys", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: v1alpha1.PublicKeysConfigMap}}}},
		{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: tlsSecretName(pool)}}},
	}
}
