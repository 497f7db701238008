package mediapool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/signingkeys"
)

const (
	// keysRetry is how soon a pool asks again for keys that are still being made.
	keysRetry = 200 * time.Millisecond
	// certificateCheck is how often a pool's certificate is read: it is not watched.
	certificateCheck = 10 * time.Minute
)

// +kubebuilder:rbac:groups=voiceroom.dev,resources=mediapools,verbs=get;list;watch
// +kubebuilder:rbac:groups=voiceroom.dev,resources=mediapools/status,verbs=patch
// +kubebuilder:rbac:groups="",namespace=voiceroom-media,resources=pods,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",namespace=voiceroom-media,resources=secrets,verbs=get;create;patch

// Reconciler keeps MediaPools.
type Reconciler struct {
	Client  client.Client
	Keyring *signingkeys.Keyring
	// Promised says whether a room is about to claim a pod.
	Promised func(pod types.UID) bool
	// Waiting is how many rooms wait for a pod of a pool.
	Waiting func(pool string) int
	// Namespace is where media pods live, Image what they run unless their pool says
	// otherwise.
	Namespace, Image string
	Clock            clock.PassiveClock
	// Pick returns a number of 0 to n-1 at random, to spread pods over ports.
	Pick func(n int) int

	certificates certificates
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.MediaPool{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(poolOf)).
		Watches(&v1alpha1.VoiceRoom{}, handler.EnqueueRequestsFromMapFunc(poolOfRoom), builder.WithPredicates(startsToWait)).
		Complete(reconcile.AsReconciler(r.Client, r))
}

func poolOf(_ context.Context, pod client.Object) []reconcile.Request {
	if pool := pod.GetLabels()[v1alpha1.LabelPool]; pool != "" {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: pool}}}
	}
	return nil
}

func poolOfRoom(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: o.(*v1alpha1.VoiceRoom).Spec.Media.Pool}}}
}

// startsToWait passes rooms that have just found no pod.
var startsToWait = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false },
	DeleteFunc: func(event.DeleteEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool { return !waits(e.ObjectOld) && waits(e.ObjectNew) },
}

func waits(o client.Object) bool {
	c := meta.FindStatusCondition(o.(*v1alpha1.VoiceRoom).Status.Conditions, v1alpha1.ConditionMediaReady)
	return c != nil && (c.Reason == v1alpha1.ReasonWaitingForPod || c.Reason == v1alpha1.ReasonPoolExhausted)
}

// Reconcile brings the pool's pods to what it asks for, one step of it.
func (r *Reconciler) Reconcile(ctx context.Context, pool *v1alpha1.MediaPool) (ctrl.Result, error) {
	if pool.DeletionTimestamp != nil {
		return ctrl.Result{}, nil // idle pods go with it; assigned ones stay until their rooms end
	}
	recheck, err := r.ensureCertificate(ctx, pool)
	switch {
	case errors.Is(err, signingkeys.ErrNotReady):
		return ctrl.Result{RequeueAfter: keysRetry}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.InNamespace(r.Namespace), client.MatchingLabels{v1alpha1.LabelPool: pool.Name}); err != nil {
		return ctrl.Result{}, fmt.Errorf("listing the pods of pool %s: %w", pool.Name, err)
	}
	idle := int(pool.Spec.Warm) + r.Waiting(pool.Name)
	p := makePlan(pool, idle, pods.Items, func(pod *corev1.Pod) bool { return r.Promised(pod.UID) }, r.Pick, r.Clock.Now())
	short, err := r.carryOut(ctx, pool, p)
	if err := errors.Join(err, r.writeStatus(ctx, pool, countPods(pods.Items), short)); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: earliest(p.again, recheck)}, nil
}

// carryOut makes and removes pods. It returns why there are fewer than wanted.
func (r *Reconciler) carryOut(ctx context.Context, pool *v1alpha1.MediaPool, p plan) (short string, err error) {
	for _, pod := range p.remove {
		if err := r.remove(ctx, pod); err != nil {
			return p.short, err
		}
	}
	made := 0
	for _, port := range p.create {
		if made == p.missing {
			break
		}
		err := r.Client.Create(ctx, podFor(pool, port, r.Image, r.Namespace))
		switch {
		case apierrors.IsAlreadyExists(err): // somebody else's pod: the port is taken
			continue
		case err != nil:
			return p.short, fmt.Errorf("creating a pod on port %d for pool %s: %w", port, pool.Name, err)
		}
		made++
	}
	if made < p.missing {
		return v1alpha1.ReasonPortsExhausted, nil
	}
	return p.short, nil
}

// remove deletes an idle pod as it was seen: if a room claimed it meanwhile, it
// has another resource version and stays.
func (r *Reconciler) remove(ctx context.Context, pod *corev1.Pod) error {
	seen := client.Preconditions{UID: &pod.UID, ResourceVersion: &pod.ResourceVersion}
	err := r.Client.Delete(ctx, pod, seen)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // its event brings us back
	}
	if err != nil {
		return fmt.Errorf("deleting idle pod %s: %w", pod.Name, err)
	}
	return nil
}

// writeStatus patches the status if it changed.
func (r *Reconciler) writeStatus(ctx context.Context, pool *v1alpha1.MediaPool, c census, short string) error {
	stored := pool.DeepCopy()
	pool.Status.Ready, pool.Status.Starting, pool.Status.Assigned = int32(len(c.ready)), int32(len(c.starting)), int32(len(c.assigned))
	pool.Status.Selector = labels.SelectorFromSet(labels.Set{v1alpha1.LabelPool: pool.Name}).String()
	ready := readiness(pool, c, short)
	ready.LastTransitionTime = metav1.NewTime(r.Clock.Now())
	meta.SetStatusCondition(&pool.Status.Conditions, ready)
	if equality.Semantic.DeepEqual(stored.Status, pool.Status) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, pool, client.MergeFrom(stored)); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("writing the status of pool %s: %w", pool.Name, err))
	}
	return nil
}

// certificates remembers when each pool's certificate was found good.
type certificates struct {
	mu   sync.Mutex
	next map[types.UID]time.Time
}

// due is how long a pool's certificate need not be looked at; 0: now.
func (c *certificates) due(pool types.UID, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.next[pool].Sub(now), 0)
}

func (c *certificates) checked(pool types.UID, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = map[types.UID]time.Time{}
	}
	c.next[pool] = now.Add(certificateCheck)
	return certificateCheck
}
