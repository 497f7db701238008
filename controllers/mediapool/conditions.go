package mediapool

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// problem is what keeps a pool from getting pods: a condition's reason, and a message that
// says what to do. The zero value: nothing does.
type problem struct{ reason, message string }

// findProblem says what keeps the pool from getting pods that come up, also while it has enough
// of them. refused is what the API server said, short why the plan makes fewer than needed.
func findProblem(pool *v1alpha1.MediaPool, c *census, refused problem, short string) problem {
	if refused.reason != "" {
		return refused
	}
	if p := stuck(c.starting); p.reason != "" {
		return p
	}
	if len(c.failed) > 0 {
		return problem{v1alpha1.ReasonPodFailed, failure(newest(c.failed))}
	}
	if p := notScheduled(c.starting); p.reason != "" {
		return p
	}
	switch short {
	case v1alpha1.ReasonUnschedulable:
		return problem{short, "new pods come to nodes that are drained, or about to be removed: let template.tolerations not tolerate that"}
	case v1alpha1.ReasonPortsExhausted:
		return problem{short, fmt.Sprintf("no port is free between %d and %d: widen network.portRange, and open it in the firewall",
			pool.Spec.Network.PortRange.Min, pool.Spec.Network.PortRange.Max)}
	case v1alpha1.ReasonMaxPodsReached:
		return problem{short, fmt.Sprintf("maxPods of %d is reached: raise it, if the nodes have room for more", pool.Spec.MaxPods)}
	}
	// A pod that failed is replaced after a while. Until one has come up since, nothing is
	// better: without this, the condition would turn with each of them.
	if was := meta.FindStatusCondition(pool.Status.Conditions, v1alpha1.ConditionProgressing); was != nil &&
		was.Reason == v1alpha1.ReasonPodFailed && len(c.starting) > 0 && !c.cameUp.After(was.LastTransitionTime.Time) {
		return problem{was.Reason, was.Message}
	}
	return problem{}
}

// progressing derives the condition that says whether new pods can be had.
func progressing(pool *v1alpha1.MediaPool, p problem) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionProgressing, Status: metav1.ConditionTrue, ObservedGeneration: pool.Generation,
		Reason: v1alpha1.ReasonPodsComeUp, Message: "nothing keeps new pods from coming up"}
	if p.reason != "" {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, p.reason, p.message
	}
	return c
}

// readiness derives the pool's Ready condition: True while as many idle pods are
// ready as the pool is to keep.
func readiness(pool *v1alpha1.MediaPool, c *census, p problem) metav1.Condition {
	ready := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: pool.Generation,
		Reason: v1alpha1.ReasonStarting,
		Message: fmt.Sprintf("%d of %d warm pods ready, %d starting, %d assigned, %d pods of at most %d",
			c.claimable(), pool.Spec.Warm, len(c.starting), c.assigned, c.total(), pool.Spec.MaxPods)}
	switch {
	case c.claimable() >= int(pool.Spec.Warm):
		ready.Status, ready.Reason = metav1.ConditionTrue, v1alpha1.ReasonWarm
	case p.reason != "":
		ready.Reason = p.reason
		ready.Message += "; " + p.message
	}
	return ready
}

// refusal says what to do about a pod that the API server did not take.
func refusal(namespace string, err error) problem {
	what := strings.TrimPrefix(err.Error(), "pods ")
	switch {
	case apierrors.IsForbidden(err) && strings.Contains(what, "exceeded quota"):
		return problem{v1alpha1.ReasonQuotaExceeded, clip(fmt.Sprintf("raise the ResourceQuota of namespace %s, or lower warm and maxPods: %s", namespace, what))}
	case apierrors.IsForbidden(err) && strings.Contains(what, "violates PodSecurity"):
		return problem{v1alpha1.ReasonPodsRefused, clip(fmt.Sprintf(
			"label namespace %s pod-security.kubernetes.io/enforce=privileged, since media pods have host ports: %s", namespace, what))}
	}
	return problem{v1alpha1.ReasonPodsRefused, clip(fmt.Sprintf("the API server takes no media pods in namespace %s; correct the pool's template if it is named here: %s", namespace, what))}
}

// refuses says whether the API server will go on refusing a pod until something is changed.
func refuses(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsNotFound(err)
}

func newest(pods []*corev1.Pod) *corev1.Pod {
	return slices.MaxFunc(pods, func(a, b *corev1.Pod) int { return cmp.Compare(endedAt(a).UnixNano(), endedAt(b).UnixNano()) })
}

// failure tells how a pod ended, in the words of its container.
func failure(pod *corev1.Pod) string {
	for _, s := range pod.Status.ContainerStatuses {
		if t := s.State.Terminated; t != nil {
			return clip(fmt.Sprintf("pod %s ended with exit code %d (%s): %s", pod.Name, t.ExitCode, t.Reason, lastLine(t.Message)))
		}
	}
	return clip(fmt.Sprintf("pod %s ended (%s): %s", pod.Name, pod.Status.Reason, pod.Status.Message))
}

// imageReasons are those of containers whose image cannot be had. A container goes back and
// forth between some of them, with other words each time: so none of them are told.
var imageReasons = map[string]bool{"ErrImagePull": true, "ImagePullBackOff": true, "InvalidImageName": true,
	"ErrImageNeverPull": true, "ImageInspectError": true, "RegistryUnavailable": true, "SignatureValidationFailed": true}

// stuck tells of the first starting pod that its node cannot run.
func stuck(pods []*corev1.Pod) problem {
	for _, pod := range pods {
		for _, s := range pod.Status.ContainerStatuses {
			w := s.State.Waiting
			switch {
			case w == nil:
			case imageReasons[w.Reason]:
				return problem{v1alpha1.ReasonImageUnavailable, clip(fmt.Sprintf(
					"pod %s cannot get image %s: set template.image to one that its node %s can pull; the pod's Events say what is wrong",
					pod.Name, pod.Spec.Containers[0].Image, pod.Spec.NodeName))}
			case w.Message != "":
				return problem{v1alpha1.ReasonPodFailed, clip(fmt.Sprintf("pod %s waits (%s): %s", pod.Name, w.Reason, w.Message))}
			}
		}
	}
	return problem{}
}

// notScheduled tells of the first starting pod that fits no node.
func notScheduled(pods []*corev1.Pod) problem {
	for _, pod := range pods {
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
				return problem{v1alpha1.ReasonUnschedulable, clip(fmt.Sprintf(
					"pod %s fits no node; add nodes, or change template.nodeSelector, tolerations or resources: %s", pod.Name, c.Message))}
			}
		}
	}
	return problem{}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// clip keeps a condition's message readable; the API allows 32 KiB.
func clip(s string) string {
	const most = 400
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
