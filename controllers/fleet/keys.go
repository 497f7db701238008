package fleet

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/mediaapi"
)

const (
	// pushTimeout bounds a push of keys to all pods.
	pushTimeout = 5 * time.Second
	// pushes run at once.
	pushes = 64
)

// Pusher sends public keys to the media pods, for speed: each pod also reads them from
// its volume, a minute or two later. Idle pods are sent them too, so that a pod that is
// claimed meanwhile neither refuses the new keys nor trusts one that was revoked.
type Pusher struct {
	Pods      client.Reader
	Dialer    *mediaapi.Dialer
	Namespace string // of the pods
}

// Push sends the keys and waits until every pod has answered or failed.
func (p *Pusher) Push(ctx context.Context, keys mediaapi.Keys) {
	log := ctrl.LoggerFrom(ctx)
	var pods corev1.PodList
	if err := p.Pods.List(ctx, &pods, client.InNamespace(p.Namespace), client.HasLabels{v1alpha1.LabelPool}); err != nil {
		log.Error(err, "Keys not pushed; the pods read them from their volumes")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	var wg sync.WaitGroup
	turns := make(chan struct{}, pushes)
	for i := range pods.Items {
		pod := &pods.Items[i]
		if Ended(pod) || pod.Status.PodIP == "" {
			continue
		}
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			if err := p.Dialer.Pod(Endpoint(pod), string(pod.UID)).PushKeys(ctx, keys); err != nil {
				log.Info("keys not pushed; the pod reads them from its volume", "pod", pod.Name, "reason", err.Error())
			}
		})
	}
	wg.Wait()
}
