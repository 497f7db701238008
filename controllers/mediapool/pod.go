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
	// stopSeconds is how long a pod has to end: the media server's own --grace, for its
	// members to go elsewhere, and the goodbye. That flag is not given here, or an image of
	// an earlier version, which a pool may name, would not start.
	stopSeconds = 60
	// nobody is the user of distroless images.
	nobody = 65532
)

// podName is the lock of a port.
func podName(pool string, port int32) string { return fmt.Sprintf("%s-%d", pool, port) }

// tlsSecretName names the Secret with the certificate of a pool's pods.
func tlsSecretName(pool string) string { return pool + "-tls" }

// podFor is a media pod of a pool on one of its ports, made from the template with that hash.
// It holds no Kubernetes credentials and may write nowhere; it faces the Internet.
func podFor(pool *v1alpha1.MediaPool, port int32, image, namespace, hash string) *corev1.Pod {
	if pool.Spec.Template.Image != "" {
		image = pool.Spec.Template.Image
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      podName(pool.Name, port),
			Labels: map[string]string{
				v1alpha1.LabelPool:             pool.Name,
				v1alpha1.LabelTemplate:         hash,
				"app.kubernetes.io/name":       "voiceroom",
				"app.kubernetes.io/component":  "media",
				"app.kubernetes.io/managed-by": "voiceroom-operator",
			},
			// Until it holds a room: who binds it says no.
			Annotations:     map[string]string{fleet.SafeToEvict: "true"},
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
			TopologySpreadConstraints:     spread(pool.Name),
			Affinity:                      apartFromIdle(pool.Name),
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

// apart are the topologies over which pods are spread: what fails together.
var apart = []string{corev1.LabelHostname, corev1.LabelTopologyZone}

// spread keeps the pool's pods, idle or not, evenly on nodes and in zones, as far as
// there is room.
func spread(pool string) []corev1.TopologySpreadConstraint {
	constraints := make([]corev1.TopologySpreadConstraint, len(apart))
	for i, key := range apart {
		constraints[i] = corev1.TopologySpreadConstraint{MaxSkew: 1, TopologyKey: key, WhenUnsatisfiable: corev1.ScheduleAnyway,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.LabelPool: pool}}}
	}
	return constraints
}

// apartFromIdle keeps idle pods away from each other: where rooms have piled up on some
// nodes, all new pods would come to the others, and the warm ones be lost with one node.
// A second spread constraint over the same topology is not allowed.
func apartFromIdle(pool string) *corev1.Affinity {
	terms := make([]corev1.WeightedPodAffinityTerm, len(apart))
	for i, key := range apart {
		terms[i] = corev1.WeightedPodAffinityTerm{Weight: 50, PodAffinityTerm: corev1.PodAffinityTerm{TopologyKey: key,
			LabelSelector: &metav1.LabelSelector{
				MatchLabels:      map[string]string{v1alpha1.LabelPool: pool},
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: v1alpha1.LabelRoomUID, Operator: metav1.LabelSelectorOpDoesNotExist}},
			}}}
	}
	return &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: terms}}
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
		Args:  args(pool, port),
		Env:   append([]corev1.EnvVar{fieldEnv("POD_UID", "metadata.uid"), fieldEnv("POD_IP", "status.podIP")}, tracing()...),
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

// args are the flags of the media server. One that is as it would be anyway is left out: an
// image of an earlier version, which a pool may name, may not know it.
func args(pool *v1alpha1.MediaPool, port int32) []string {
	flags := []string{
		"--pod-uid=$(POD_UID)",
		fmt.Sprintf("--control=$(POD_IP):%d", fleet.ControlPort),
		fmt.Sprintf("--health=$(POD_IP):%d", fleet.HealthPort),
		fmt.Sprintf("--media=:%d", port),
		"--keys=" + keysDir,
		"--tls=" + tlsDir,
	}
	if tick := pool.Spec.AudienceTick; tick != nil && tick.Duration != v1alpha1.DefaultAudienceTick {
		flags = append(flags, fmt.Sprintf("--audience-tick=%v", tick.Duration))
	}
	return flags
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
