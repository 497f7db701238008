package signingkeys

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/token"
)

// checkEvery is how often the objects are compared with what they should be: they
// are read by name, not watched, so that the operator needs no list of Secrets. It is
// how long a key that an administrator revoked, by deleting its Secret, is still used.
const checkEvery = 10 * time.Second

// +kubebuilder:rbac:groups="",namespace=voiceroom-system,resources=secrets,resourceNames=voiceroom-token-keys;voiceroom-operator-key;voiceroom-gateway-key;voiceroom-ca,verbs=get;update
// +kubebuilder:rbac:groups="",namespace=voiceroom-system,resources=secrets,verbs=create
// +kubebuilder:rbac:groups="",namespace=voiceroom-system,resources=configmaps,resourceNames=voiceroom-keys,verbs=get;patch
// +kubebuilder:rbac:groups="",namespace=voiceroom-system,resources=configmaps,verbs=create
// +kubebuilder:rbac:groups="",namespace=voiceroom-media,resources=configmaps,resourceNames=voiceroom-keys,verbs=get;patch
// +kubebuilder:rbac:groups="",namespace=voiceroom-media,resources=configmaps,verbs=create

// Reconciler keeps the deployment's keys. There is one set of them, so its requests
// carry no name.
type Reconciler struct {
	// Client writes; its reads are live, never from a cache.
	Client client.Client
	// Namespace is the operator's, MediaNamespace the media pods'.
	Namespace, MediaNamespace string
	// Keyring is what Reconcile fills.
	Keyring *Keyring
	// Push sends public keys that changed to the media pods.
	Push     func(context.Context, mediaapi.Keys)
	Rotation token.Rotation
	Clock    clock.PassiveClock
}

// SetupWithManager registers the controller. It starts by itself.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	once := source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[ctrl.Request]) error {
		q.Add(ctrl.Request{NamespacedName: types.NamespacedName{Namespace: r.Namespace, Name: "keys"}})
		return nil
	})
	return ctrl.NewControllerManagedBy(mgr).Named("signingkeys").WatchesRawSource(once).Complete(r)
}

// Reconcile makes what is missing, rotates what is due, publishes, and only then
// keeps and uses it.
func (r *Reconciler) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	s, err := r.read(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	now := r.Clock.Now()
	next, err := s.rotate(now, r.Rotation)
	if err != nil {
		return ctrl.Result{}, err
	}
	published, err := r.publish(ctx, next)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := s.write(ctx, r.Client); err != nil {
		return ctrl.Result{}, err
	}
	if published {
		ctrl.LoggerFrom(ctx).Info("published new keys")
		r.Push(ctx, next.public()) // still as whom the pods know
	}
	r.Keyring.use(next, published)
	return ctrl.Result{RequeueAfter: min(checkEvery, next.untilRotation(now, r.Rotation))}, nil
}

// rotate returns the keys as they should be at now and notes in s which Secrets
// have to be written for that.
func (s *secrets) rotate(now time.Time, rotation token.Rotation) (*keys, error) {
	var next keys
	for _, ring := range []struct {
		from *ringSecret
		to   **token.Ring
	}{{&s.tokens, &next.tokens}, {&s.operator, &next.operator}, {&s.gateway, &next.gateway}} {
		rotated, changed, err := ring.from.ring.Rotate(now, rotation, rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("rotating Secret %s: %w", ring.from.object.Name, err)
		}
		if changed {
			if err := ring.from.set(rotated); err != nil {
				return nil, err
			}
		}
		*ring.to = rotated
	}
	succession, changed, err := s.ca.succession.rotate(now)
	if err != nil {
		return nil, fmt.Errorf("rotating Secret %s: %w", v1alpha1.CASecret, err)
	}
	if changed {
		s.ca.set(succession)
	}
	next.ca = succession
	return &next, nil
}

// untilRotation is how long nothing is due.
func (k *keys) untilRotation(now time.Time, rotation token.Rotation) time.Duration {
	next := checkEvery
	for _, ring := range []*token.Ring{k.tokens, k.operator, k.gateway} {
		next = min(next, ring.NextRotation(rotation).Sub(now))
	}
	return max(next, time.Second)
}
