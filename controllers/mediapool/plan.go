package mediapool

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/fleet"
)

// failedFor is how long a pod that ended by itself stays, and with it its port: a
// pool whose pods cannot run makes a new one this often, not as fast as it can.
const failedFor = 10 * time.Second

// census sorts a pool's pods. Every pod is in exactly one list.
type census struct {
	ready    []*corev1.Pod // idle, can be claimed
	starting []*corev1.Pod // idle, not ready yet
	assigned []*corev1.Pod // given to a room, ever
	failed   []*corev1.Pod // idle, ended by themselves
	leaving  []*corev1.Pod // being deleted, still on their ports
}

func countPods(pods []corev1.Pod) census {
	var c census
	for i := range pods {
		pod := &pods[i]
		switch {
		case pod.DeletionTimestamp != nil:
			c.leaving = append(c.leaving, pod)
		case fleet.Assigned(pod):
			c.assigned = append(c.assigned, pod)
		case fleet.Ended(pod):
			c.failed = append(c.failed, pod)
		case fleet.Ready(pod):
			c.ready = append(c.ready, pod)
		default:
			c.starting = append(c.starting, pod)
		}
	}
	return c
}

func (c census) total() int {
	return len(c.ready) + len(c.starting) + len(c.assigned) + len(c.failed) + len(c.leaving)
}

// plan is what a pool lacks and has too much of.
type plan struct {
	create  []int32       // ports to try, in order
	missing int           // how many of them
	remove  []*corev1.Pod // idle pods to delete
	short   string        // why fewer are made than wanted: a reason, or empty
	again   time.Duration // when time alone changes the plan; 0: never
}

// makePlan compares a pool with its pods. wanted is how many are to be idle: the
// warm ones, and one for each room that waits. promised says which idle pods a room is
// about to claim: they are no longer counted on, and not taken away. pick(n) picks
// one of n ports to start from.
func makePlan(pool *v1alpha1.MediaPool, wanted int, pods []corev1.Pod, promised func(*corev1.Pod) bool, pick func(n int) int, now time.Time) plan {
	c, spec := countPods(pods), pool.Spec
	var p plan
	held := 0 // failed pods that stand in for their replacements a while longer
	for _, pod := range c.failed {
		if wait := failedFor - now.Sub(endedAt(pod)); wait > 0 {
			held++
			p.again = earliest(p.again, wait)
			continue
		}
		p.remove = append(p.remove, pod)
	}
	idle := slices.DeleteFunc(slices.Concat(c.starting, c.ready), promised)
	p.missing = wanted - len(idle) - held
	if p.missing <= 0 {
		surplus := idle[:min(len(idle), -p.missing)] // those that start go first
		p.missing, p.remove = 0, append(p.remove, surplus...)
		return p
	}
	if room := int(spec.MaxPods) - c.total(); p.missing > room {
		p.missing, p.short = max(room, 0), v1alpha1.ReasonMaxPodsReached
	}
	p.create = freePorts(pool, pods, pick)
	if len(p.create) < p.missing {
		p.missing, p.short = len(p.create), v1alpha1.ReasonPortsExhausted
	}
	return p
}

func earliest(a, b time.Duration) time.Duration {
	if a == 0 || b < a {
		return b
	}
	return a
}

// freePorts are the pool's ports that no pod is named after. They start anywhere:
// a port that something else on its node holds, so that pods fail there, is not
// tried over and over.
func freePorts(pool *v1alpha1.MediaPool, pods []corev1.Pod, pick func(n int) int) []int32 {
	taken := make(map[string]bool, len(pods))
	for i := range pods {
		taken[pods[i].Name] = true
	}
	var free []int32
	for port := pool.Spec.Network.PortRange.Min; port <= pool.Spec.Network.PortRange.Max; port++ {
		if !taken[podName(pool.Name, port)] {
			free = append(free, port)
		}
	}
	if len(free) == 0 {
		return nil
	}
	start := pick(len(free))
	return slices.Concat(free[start:], free[:start])
}

// endedAt is when a pod's containers ended, as far as the kubelet said.
func endedAt(pod *corev1.Pod) time.Time {
	at := pod.CreationTimestamp.Time
	for _, s := range pod.Status.ContainerStatuses {
		if t := s.State.Terminated; t != nil && t.FinishedAt.After(at) {
			at = t.FinishedAt.Time
		}
	}
	return at
}

// readiness derives the pool's Ready condition: True while as many idle pods are
// ready as the pool is to keep.
func readiness(pool *v1alpha1.MediaPool, c census, short string) metav1.Condition {
	ready := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: pool.Generation}
	numbers := fmt.Sprintf("%d of %d warm pods ready, %d starting, %d assigned, %d pods of at most %d",
		len(c.ready), pool.Spec.Warm, len(c.starting), len(c.assigned), c.total(), pool.Spec.MaxPods)
	switch {
	case len(c.ready) >= int(pool.Spec.Warm):
		ready.Status, ready.Reason = metav1.ConditionTrue, v1alpha1.ReasonWarm
	case len(c.failed) > 0:
		ready.Reason = v1alpha1.ReasonPodFailed
		numbers += "; " + failure(newest(c.failed))
	case short == v1alpha1.ReasonPortsExhausted:
		ready.Reason = short
		numbers += fmt.Sprintf("; no port is free between %d and %d", pool.Spec.Network.PortRange.Min, pool.Spec.Network.PortRange.Max)
	case short != "":
		ready.Reason = short
	default:
		ready.Reason = v1alpha1.ReasonStarting
		numbers += obstacle(c.starting)
	}
	ready.Message = numbers
	return ready
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

// obstacle tells what keeps the first starting pod that is stuck, if any is.
func obstacle(pods []*corev1.Pod) string {
	for _, pod := range pods {
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
				return clip(fmt.Sprintf("; pod %s is not scheduled (%s): %s", pod.Name, c.Reason, c.Message))
			}
		}
		for _, s := range pod.Status.ContainerStatuses {
			if w := s.State.Waiting; w != nil && w.Message != "" {
				return clip(fmt.Sprintf("; pod %s waits (%s): %s", pod.Name, w.Reason, w.Message))
			}
		}
	}
	return ""
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
