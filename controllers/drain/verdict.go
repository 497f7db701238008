package drain

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// Reasons of a verdict.
const (
	PodDeleted   = "PodDeleted"   // the pod was evicted, or deleted by hand
	NodeLeaving  = "NodeLeaving"  // its node is drained, or about to be removed
	NodeEvicting = "NodeEvicting" // its node has a NoExecute taint that it does not tolerate
	PoolUpdated  = "PoolUpdated"  // its template is old, and the deadline of the update has passed
)

// defaultDeadline of an update is the API's own, for a pool that was stored without one.
const defaultDeadline = 24 * time.Hour

// Verdict says whether a pod has to go. The zero value: it may stay.
type Verdict struct {
	// Reason is one word for Events and metrics; empty: the pod may stay.
	Reason string
	// Message goes on after "the pod has to go: ".
	Message string
	// Since is when it began to have to. Zero: nobody wrote that down, and whoever waits
	// counts from when it was first seen.
	Since time.Time
	// Urgent pods are deleted or about to be: nothing can wait for a room to end.
	Urgent bool
	// Again is in how long time alone changes the verdict; 0: it does not.
	Again time.Duration
}

// MustGo says whether the pod has to go.
func (v Verdict) MustGo() bool { return v.Reason != "" }

// Judge says whether a pod has to go. node is the one that it runs on, pool the one that
// it is of; nil, if not known or gone, has nothing against it. It is a pure function.
func Judge(pod *corev1.Pod, node *corev1.Node, pool *v1alpha1.MediaPool, now time.Time) Verdict {
	if at := pod.DeletionTimestamp; at != nil {
		since := at.Time // it is when the grace period ends
		if grace := pod.DeletionGracePeriodSeconds; grace != nil {
			since = since.Add(-time.Duration(*grace) * time.Second)
		}
		return Verdict{Reason: PodDeleted, Message: "it is being deleted", Since: since, Urgent: true}
	}
	onNode := judgeNode(pod, node, now)
	if onNode.MustGo() {
		return onNode
	}
	updated := judgeUpdate(pod, pool, now)
	if updated.Again == 0 || onNode.Again != 0 && onNode.Again < updated.Again {
		updated.Again = onNode.Again
	}
	return updated
}

// Outdated says whether a pod was made from an earlier template than its pool's. A pod
// that does not say what it was made from was. It may still hold, and be given, a room.
func Outdated(pod *corev1.Pod, pool *v1alpha1.MediaPool) bool {
	return pool != nil && pool.Status.Template.Hash != "" && pod.Labels[v1alpha1.LabelTemplate] != pool.Status.Template.Hash
}

// judgeUpdate holds a pod to the deadline of its pool's update.
func judgeUpdate(pod *corev1.Pod, pool *v1alpha1.MediaPool, now time.Time) Verdict {
	if !Outdated(pod, pool) || pool.Status.Template.Since == nil {
		return Verdict{}
	}
	deadline := defaultDeadline
	if d := pool.Spec.Update.Deadline; d != nil {
		deadline = d.Duration
	}
	due := pool.Status.Template.Since.Add(deadline)
	if left := due.Sub(now); left > 0 {
		return Verdict{Again: left}
	}
	return Verdict{Reason: PoolUpdated, Since: due,
		Message: fmt.Sprintf("pool %s makes pods of another template, and its update.deadline of %v has passed", pool.Name, deadline)}
}
