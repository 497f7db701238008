package mediapool

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/drain"
	"voiceroom.dev/voiceroom/controllers/fleet"
)

// census sorts a pool's pods. Every pod is in exactly one of its lists and counts.
type census struct {
	ready    []*corev1.Pod // idle, of the present template: can be claimed
	old      []*corev1.Pod // idle, of an earlier template: can be claimed until they are replaced
	starting []*corev1.Pod // idle, not ready yet
	doomed   []*corev1.Pod // idle, and of no use: they have to go, or start from an earlier template
	failed   []*corev1.Pod // idle, ended by themselves
	promised int           // idle, about to be claimed by a room
	assigned int           // given to a room, ever
	leaving  int           // being deleted, still on their ports

	outdated int           // of all but those that leave: of an earlier template
	cameUp   time.Time     // when the youngest pod that came up was made
	again    time.Duration // in how long time alone changes the census; 0: it does not
}

// takeCensus sorts the pods of a pool. nodes, by name, are those of its idle pods; promised
// says which idle pods a room is about to claim.
func takeCensus(pool *v1alpha1.MediaPool, pods []corev1.Pod, nodes map[string]*corev1.Node, promised func(*corev1.Pod) bool, now time.Time) census {
	var c census
	for i := range pods {
		pod := &pods[i]
		if pod.DeletionTimestamp != nil {
			c.leaving++
			continue
		}
		outdated := drain.Outdated(pod, pool)
		if outdated {
			c.outdated++
		}
		switch {
		case fleet.Assigned(pod):
			c.assigned++
			c.sawUp(pod)
		case fleet.Ended(pod):
			c.failed = append(c.failed, pod)
		case promised(pod):
			c.promised++
		default:
			c.sortIdle(pod, drain.Judge(pod, nodes[pod.Spec.NodeName], pool, now), outdated)
		}
	}
	return c
}

// sortIdle puts an idle pod that runs, or is to run, where it belongs.
func (c *census) sortIdle(pod *corev1.Pod, verdict drain.Verdict, outdated bool) {
	c.again = earliest(c.again, verdict.Again)
	ready := fleet.Ready(pod)
	if ready && !outdated {
		c.sawUp(pod)
	}
	switch {
	case verdict.MustGo(), outdated && !ready:
		c.doomed = append(c.doomed, pod)
	case outdated:
		c.old = append(c.old, pod)
	case ready:
		c.ready = append(c.ready, pod)
	default:
		c.starting = append(c.starting, pod)
	}
}

func (c *census) sawUp(pod *corev1.Pod) {
	if pod.CreationTimestamp.After(c.cameUp) {
		c.cameUp = pod.CreationTimestamp.Time
	}
}

// claimable is how many pods can be given to rooms now.
func (c *census) claimable() int { return len(c.ready) + len(c.old) }

func (c *census) total() int {
	return len(c.ready) + len(c.old) + len(c.starting) + len(c.doomed) + len(c.failed) + c.promised + c.assigned + c.leaving
}

// earliest is the shorter of two times in which to look again; 0 is never.
func earliest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// idle says whether a pod waits for a room, or will.
func idle(pod *corev1.Pod) bool { return pod.DeletionTimestamp == nil && !fleet.Assigned(pod) }
