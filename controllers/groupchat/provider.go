package groupchat

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
)

// problem is why a group is not as it should be, in words for people. It is
// written into the Ready condition, not logged.
type problem struct {
	reason  string
	message string
}

func (p *problem) Error() string { return p.reason + ": " + p.message }

// errOpening says that a provider works but was not opened here yet: this operator
// has just begun to lead. Nothing is wrong with the groups there.
var errOpening = errors.New("the chat provider is being opened")

// provider returns the ChatProvider that the group lives at, opened, or a problem
// that names the field. One that is there but not open is returned beside the problem.
func (r *Reconciler) provider(ctx context.Context, gc *v1alpha1.GroupChat) (*v1alpha1.ChatProvider, chat.Provider, error) {
	cp := &v1alpha1.ChatProvider{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: gc.Spec.Provider}, cp)
	if apierrors.IsNotFound(err) {
		return nil, nil, &problem{v1alpha1.ReasonProviderNotFound, fmt.Sprintf("spec.provider: there is no ChatProvider %q.", gc.Spec.Provider)}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("getting the ChatProvider: %w", err)
	}
	provider, err := r.Providers.Get(cp.Name)
	switch {
	case err == nil:
		return cp, provider, nil
	case gc.Status.GroupID != "" && meta.IsStatusConditionTrue(cp.Status.Conditions, v1alpha1.ConditionReady):
		return cp, nil, errOpening
	}
	return cp, nil, &problem{v1alpha1.ReasonProviderNotReady, notOpen(cp)}
}

// notOpen says why cp is not open, as far as its own condition tells.
func notOpen(cp *v1alpha1.ChatProvider) string {
	if ready := meta.FindStatusCondition(cp.Status.Conditions, v1alpha1.ConditionReady); ready != nil && ready.Status != metav1.ConditionTrue {
		return fmt.Sprintf("spec.provider: ChatProvider %q is not ready: %s", cp.Name, ready.Message)
	}
	return fmt.Sprintf("spec.provider: ChatProvider %q is not open yet.", cp.Name)
}

// refusal says why no new group may be made at cp. Groups that exist stay.
func refusal(cp *v1alpha1.ChatProvider, gc *v1alpha1.GroupChat) *problem {
	allowed := cp.Spec.AllowedNamespaces
	ready := meta.FindStatusCondition(cp.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case !slices.Contains(allowed, "*") && !slices.Contains(allowed, gc.Namespace):
		return &problem{v1alpha1.ReasonProviderNotAllowed,
			fmt.Sprintf("spec.provider: ChatProvider %q takes no groups of the namespace %s.", cp.Name, gc.Namespace)}
	case !cp.DeletionTimestamp.IsZero():
		return &problem{v1alpha1.ReasonProviderNotReady, fmt.Sprintf("spec.provider: ChatProvider %q is being deleted.", cp.Name)}
	case ready == nil:
		return &problem{v1alpha1.ReasonProviderNotReady, fmt.Sprintf("spec.provider: ChatProvider %q was not checked yet.", cp.Name)}
	case ready.Status != metav1.ConditionTrue:
		return &problem{ready.Reason, notOpen(cp)}
	}
	return nil
}

// chatProblem says in words what a call to the provider ended with.
func chatProblem(gc *v1alpha1.GroupChat, err error) *problem {
	reason := v1alpha1.ReasonProviderUnavailable
	if errors.Is(err, chat.ErrDenied) || errors.Is(err, chat.ErrInvalid) {
		reason = v1alpha1.ReasonProviderDenied
	}
	return &problem{reason, fmt.Sprintf("spec.provider: ChatProvider %q: %v", gc.Spec.Provider, err)}
}
