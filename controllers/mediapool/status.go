package mediapool

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// summarize sets the pool's status, in memory.
func summarize(pool *v1alpha1.MediaPool, c *census, w wish, p problem, now metav1.Time) {
	s := &pool.Status
	s.Ready, s.Starting, s.Assigned = int32(c.claimable()), int32(len(c.starting)), int32(c.assigned)
	s.Wanted, s.Outdated = min(int32(w.total()), pool.Spec.MaxPods), int32(c.outdated)
	s.Selector = labels.SelectorFromSet(labels.Set{v1alpha1.LabelPool: pool.Name}).String()
	for _, condition := range []metav1.Condition{readiness(pool, c, p), progressing(pool, p)} {
		condition.LastTransitionTime = now
		meta.SetStatusCondition(&s.Conditions, condition)
	}
}

// writeStatus patches the status if it changed, and tells in Events what is new. It
// returns how long it has to wait for its turn; 0: it is written.
func (r *Reconciler) writeStatus(ctx context.Context, stored, pool *v1alpha1.MediaPool, m *memory) (time.Duration, error) {
	if equality.Semantic.DeepEqual(stored.Status, pool.Status) {
		return 0, nil
	}
	now := r.Clock.Now()
	if wait := writeEvery - now.Sub(m.wrote); wait > 0 {
		return wait, nil
	}
	m.wrote = now
	after := pool.DeepCopy() // the answer of the API server is not ours to compare
	if err := r.Client.Status().Patch(ctx, pool, client.MergeFrom(stored)); err != nil {
		return 0, client.IgnoreNotFound(fmt.Errorf("writing the status of pool %s: %w", pool.Name, err))
	}
	r.tell(stored, after)
	return 0, nil
}

// tell makes Events of what a write of the status changed.
func (r *Reconciler) tell(stored, pool *v1alpha1.MediaPool) {
	if was, is := stored.Status.Template.Hash, pool.Status.Template.Hash; was != "" && was != is {
		r.Events.Eventf(pool, nil, corev1.EventTypeNormal, "TemplateChanged", "Update",
			"pods are made from another template now (%s): idle ones are replaced, those that hold a room by the pool's update.deadline", is)
	}
	is := meta.FindStatusCondition(pool.Status.Conditions, v1alpha1.ConditionProgressing)
	was := meta.FindStatusCondition(stored.Status.Conditions, v1alpha1.ConditionProgressing)
	switch {
	case was != nil && was.Reason == is.Reason:
	case is.Status != metav1.ConditionTrue:
		r.Events.Eventf(pool, nil, corev1.EventTypeWarning, is.Reason, "Refill", "%s", is.Message)
	case was != nil:
		r.Events.Eventf(pool, nil, corev1.EventTypeNormal, is.Reason, "Refill", "%s", is.Message)
	}
}
