package devnode

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// facts answers the downward API: what a pod may know of itself.
type facts struct {
	pod    *corev1.Pod
	hostIP netip.Addr
	podIP  netip.Addr
}

// value answers whichever of the two references is set.
func (f facts) value(field *corev1.ObjectFieldSelector, resource *corev1.ResourceFieldSelector) (string, error) {
	if resource != nil {
		return f.resource(resource)
	}
	return f.field(field.FieldPath)
}

// field returns the value of a fieldPath, such as metadata.name or metadata.labels['role'].
func (f facts) field(path string) (string, error) {
	if name, key, ok := strings.Cut(path, "['"); ok {
		key = strings.TrimSuffix(key, "']")
		switch name {
		case "metadata.labels":
			return f.pod.Labels[key], nil
		case "metadata.annotations":
			return f.pod.Annotations[key], nil
		}
	}
	switch path {
	case "metadata.name":
		return f.pod.Name, nil
	case "metadata.namespace":
		return f.pod.Namespace, nil
	case "metadata.uid":
		return string(f.pod.UID), nil
	case "metadata.labels":
		return formatMap(f.pod.Labels), nil
	case "metadata.annotations":
		return formatMap(f.pod.Annotations), nil
	case "spec.nodeName":
		return f.pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return f.pod.Spec.ServiceAccountName, nil
	case "status.hostIP", "status.hostIPs":
		return f.hostIP.String(), nil
	case "status.podIP", "status.podIPs":
		return f.podIP.String(), nil
	}
	return "", &wanting{"CreateContainerConfigError", fmt.Sprintf("field %s is not one that this node knows", path)}
}

// resource returns what the pod's container asks for of a resource, in units of the divisor, rounded up. Where a
// kubelet would answer with the node's own size for a container that sets nothing, this is an error.
func (f facts) resource(ref *corev1.ResourceFieldSelector) (string, error) {
	resources := f.pod.Spec.Containers[0].Resources
	kind, name, _ := strings.Cut(ref.Resource, ".")
	quantity, set := map[string]corev1.ResourceList{
		"limits": resources.Limits, "requests": resources.Requests,
	}[kind][corev1.ResourceName(name)]
	if !set {
		return "", &wanting{"CreateContainerConfigError", fmt.Sprintf("the container sets no %s", ref.Resource)}
	}
	amount, unit := quantity.Value(), ref.Divisor.Value()
	if name == string(corev1.ResourceCPU) {
		amount, unit = quantity.MilliValue(), ref.Divisor.MilliValue()
		if unit == 0 {
			unit = 1000
		}
	}
	unit = max(unit, 1)
	return strconv.FormatInt((amount+unit-1)/unit, 10), nil
}

// formatMap writes one key="value" per line, sorted, the value escaped as in Go: the format of downward API files.
func formatMap(m map[string]string) string {
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, fmt.Sprintf("%s=%q", key, m[key]))
	}
	return strings.Join(lines, "\n")
}
