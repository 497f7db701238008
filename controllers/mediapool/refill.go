package mediapool

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// carryOut makes and removes pods. It returns what the API server has against new ones,
// and in how long to try again.
func (r *Reconciler) carryOut(ctx context.Context, pool *v1alpha1.MediaPool, m *memory, p *plan, total int) (problem, time.Duration, error) {
	for _, pod := range p.remove {
		if err := r.remove(ctx, pod); err != nil {
			return problem{}, 0, err
		}
	}
	if p.missing == 0 {
		m.refused = refused{}
		return problem{}, 0, nil
	}
	now := r.Clock.Now()
	if wait := m.refused.stands(pool.Generation, total, now); wait > 0 {
		return m.refused.problem, wait, nil
	}
	made := 0
	for _, port := range p.create {
		if made == p.missing {
			break
		}
		err := r.Client.Create(ctx, podFor(pool, port, r.Image, r.Namespace, pool.Status.Template.Hash))
		switch {
		case apierrors.IsAlreadyExists(err): // somebody else's pod: the port is taken
			continue
		case err != nil && refuses(err):
			m.refused.note(refusal(r.Namespace, err), pool.Generation, total+made, now)
			return m.refused.problem, m.refused.wait, nil
		case err != nil:
			return problem{}, 0, fmt.Errorf("creating a pod on port %d for pool %s: %w", port, pool.Name, err)
		}
		made++
	}
	m.refused = refused{}
	if made < p.missing {
		p.short = v1alpha1.ReasonPortsExhausted
	}
	return problem{}, 0, nil
}

// remove deletes an idle pod as it was seen: if a room claimed it meanwhile, it
// has another resource version and stays.
func (r *Reconciler) remove(ctx context.Context, pod *corev1.Pod) error {
	seen := client.Preconditions{UID: &pod.UID, ResourceVersion: &pod.ResourceVersion}
	gone := &corev1.Pod{}
	gone.Namespace, gone.Name = pod.Namespace, pod.Name // the cache's own object is not touched
	err := r.Client.Delete(ctx, gone, seen)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // its event brings us back
	}
	if err != nil {
		return fmt.Errorf("deleting idle pod %s: %w", pod.Name, err)
	}
	return nil
}
