package chatprovider

import (
	"context"
	"errors"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/registry"
)

// check opens the provider, asks it whether it works, and owns the Ready
// condition and the capabilities.
func (r *Reconciler) check(ctx context.Context, cp *v1alpha1.ChatProvider) ctrl.Result {
	provider, err := r.reach(ctx, cp)
	if provider != nil {
		cp.Status.Capabilities = capabilities(provider.Capabilities())
	}
	ready := readiness(err)
	ready.ObservedGeneration = cp.Generation
	ready.LastTransitionTime = metav1.NewTime(r.Now())
	meta.SetStatusCondition(&cp.Status.Conditions, ready)
	if err != nil {
		return ctrl.Result{RequeueAfter: r.patience(cp)}
	}
	return ctrl.Result{RequeueAfter: checkEvery}
}

func (r *Reconciler) reach(ctx context.Context, cp *v1alpha1.ChatProvider) (chat.Provider, error) {
	if err := r.Opener.Open(ctx, cp); err != nil {
		return nil, err
	}
	provider, err := r.Providers.Get(cp.Name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return provider, provider.Check(ctx)
}

// readiness is the Ready condition for the outcome of reach.
func readiness(err error) metav1.Condition {
	ready := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse}
	switch {
	case err == nil:
		ready.Status, ready.Reason, ready.Message = metav1.ConditionTrue, v1alpha1.ReasonConnected, "The chat back end answers."
		return ready
	case errors.Is(err, registry.ErrCredentials):
		ready.Reason = v1alpha1.ReasonCredentialsNotFound
	case errors.Is(err, chat.ErrDenied), errors.Is(err, chat.ErrInvalid):
		ready.Reason = v1alpha1.ReasonProviderDenied
	default:
		ready.Reason = v1alpha1.ReasonProviderUnavailable
	}
	ready.Message = sentence(err)
	return ready
}

// patience grows with the time that the provider has been failing: retries come
// about twice as far apart each time, up to the usual interval, without any state
// that a restart could lose.
func (r *Reconciler) patience(cp *v1alpha1.ChatProvider) time.Duration {
	ready := meta.FindStatusCondition(cp.Status.Conditions, v1alpha1.ConditionReady)
	failing := r.Now().Sub(ready.LastTransitionTime.Time)
	return min(max(failing, retryFirst), checkEvery)
}

// capabilities are the names of what is set.
func capabilities(c chat.Capabilities) []string {
	var names []string
	for _, capability := range []struct {
		name string
		set  bool
	}{{"Durable", c.Durable}, {"History", c.History}, {"Subscribe", c.Subscribe}} {
		if capability.set {
			names = append(names, capability.name)
		}
	}
	return names
}

// maxMessage is the longest message of a condition in bytes.
const maxMessage = 512

// sentence is an error as people read it in a condition.
func sentence(err error) string {
	return strings.ToValidUTF8(err.Error()[:min(len(err.Error()), maxMessage)], "")
}
