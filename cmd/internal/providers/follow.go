package providers

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// refresh is how often credentials are read again: Secrets are not watched.
const refresh = 30 * time.Second

// Follow makes mgr keep the opener's registry in step with the cluster's
// ChatProviders. It runs in every replica, leader or not, and writes nothing to the
// API server: it is for the gateway. (The operator's ChatProvider controller
// opens providers itself, because it also tells how that went.)
func Follow(mgr ctrl.Manager, opener *Opener) error {
	everywhere, skip := false, true
	f := &follower{reader: mgr.GetClient(), opener: opener}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("chatprovider-follower").
		For(&v1alpha1.ChatProvider{}).
		WithOptions(controller.Options{
			NeedLeaderElection: &everywhere,
			SkipNameValidation: &skip, // a process may run several managers, as tests do
		}).
		Complete(f)
	if err != nil {
		return fmt.Errorf("following ChatProviders: %w", err)
	}
	return nil
}

type follower struct {
	reader client.Reader
	opener *Opener
}

func (f *follower) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var cp v1alpha1.ChatProvider
	err := f.reader.Get(ctx, req.NamespacedName, &cp)
	switch {
	case apierrors.IsNotFound(err):
		return ctrl.Result{}, f.opener.Forget(req.Name)
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("getting the ChatProvider: %w", err)
	}
	// One that is being deleted stays open: its groups still need it.
	if err := f.opener.Open(ctx, &cp); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: refresh}, nil
}
