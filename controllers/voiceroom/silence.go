package voiceroom

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/fleet"
)

const (
	// crowd is how many pods that hold rooms have to be silent together before that says
	// more of us than of them.
	crowd = 4
	// asked is how many idle pods are called to find out.
	asked = 8
	// askEvery is how long their answer, or silence, counts.
	askEvery = time.Second
)

// failOver gives the room another pod, because the one that it claims is lost. Not if it
// is silent together with every other one that we know, and its kubelet still calls it
// ready: then we are cut off, which must not cost anybody a call.
func (r *Reconciler) failOver(ctx context.Context, vr *v1alpha1.VoiceRoom, pod *corev1.Pod, replica fleet.Replica) (ctrl.Result, error) {
	if replica.Silent && fleet.Ready(pod) {
		alone, err := r.cutOff(ctx)
		if err != nil {
			return ctrl.Result{}, err
		}
		if alone && settled(vr) {
			r.set(vr, v1alpha1.ConditionMediaReady, metav1.ConditionTrue, v1alpha1.ReasonPodClaimed,
				"pod %s does not answer the operator, and neither does any other pod: the room is left where it is until one does", pod.Name)
		}
		if alone {
			return after(askEvery), nil
		}
	}
	if replica.Silent { // it was given time enough
		r.departures.of(pod.UID, r.Clock.Now()).failed = departureCalls
	}
	return r.choose(ctx, vr)
}

// cutOff says whether no media pod at all answers us.
func (r *Reconciler) cutOff(ctx context.Context) (bool, error) {
	if live, followed := r.Fleet.Census(); live > 0 || followed < crowd {
		return false, nil
	}
	r.outlook.mu.Lock()
	defer r.outlook.mu.Unlock()
	if now := r.Clock.Now(); r.outlook.at.IsZero() || now.Sub(r.outlook.at) >= askEvery {
		answered, err := r.anyAnswers(ctx)
		if err != nil {
			return false, err
		}
		r.outlook.at, r.outlook.answered = now, answered
	}
	return !r.outlook.answered, nil
}

// outlook is whether an idle pod answered when one was asked last.
type outlook struct {
	mu       sync.Mutex
	at       time.Time
	answered bool
}

// anyAnswers calls idle pods, which need not be of any use to a room.
func (r *Reconciler) anyAnswers(ctx context.Context) (bool, error) {
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.InNamespace(r.MediaNamespace), client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("listing media pods: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, sealTimeout)
	defer cancel()
	answers, calls := make(chan bool, asked), 0
	for i := range pods.Items {
		if pod := &pods.Items[i]; fleet.Idle(pod) && calls < asked {
			calls++
			media := r.Dialer.Pod(fleet.Endpoint(pod), string(pod.UID))
			go func() { // ends with ctx
				_, err := media.Get(ctx, 0)
				answers <- err == nil || refused(err)
			}()
		}
	}
	found := false
	for range calls {
		found = <-answers || found
	}
	return found, nil
}
