package mediapool

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/drain"
	"voiceroom.dev/voiceroom/controllers/signingkeys"
)

const (
	// keysRetry is how soon a pool asks again for keys that are still being made.
	keysRetry = 200 * time.Millisecond
	// certificateCheck is how often a pool's certificate is read: it is not watched.
	certificateCheck = 10 * time.Minute
	// passEvery is how often a pool's pods are gone through at most: one pass costs the
	// more, the more pods there are, and answers all events since the last.
	passEvery = 200 * time.Millisecond
	// writeEvery is how often a pool's status is written at most.
	writeEvery = time.Second
)

// +kubebuilder:rbac:groups=voiceroom.dev,resources=mediapools,verbs=get;list;watch
// +kubebuilder:rbac:groups=voiceroom.dev,resources=mediapools/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=nodes,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups="",namespace=voiceroom-media,resources=pods,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",namespace=voiceroom-media,resources=secrets,verbs=get;create;patch

// Reconciler keeps MediaPools. All fields are required.
type Reconciler struct {
	Client  client.Client
	Keyring *signingkeys.Keyring
	Events  events.EventRecorder
	// Promised says whether a room is about to claim a pod.
	Promised func(pod types.UID) bool
	// Waiting is how many rooms wait for a pod of a pool, and Starved tells of pools that one
	// more waits for.
	Waiting func(pool string) int
	Starved source.Source
	// Namespace is where media pods live, Image what they run unless their pool says
	// otherwise.
	Namespace, Image string
	Clock            clock.PassiveClock
	// Pick returns a number of 0 to n-1 at random, to spread pods over ports.
	Pick func(n int) int

	memories memories
}

// Reconcile brings the pool's pods to what it asks for, one step of it.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pool := &v1alpha1.MediaPool{}
	err := r.Client.Get(ctx, req.NamespacedName, pool)
	if apierrors.IsNotFound(err) || err == nil && pool.DeletionTimestamp != nil {
		r.memories.forget(req.Name)
		return ctrl.Result{}, nil // idle pods go with it; assigned ones stay until their rooms end
	}
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("getting the pool: %w", err)
	}
	m, now := r.memories.get(pool.Name), r.Clock.Now()
	if wait := passEvery - now.Sub(m.passed); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	m.passed = now
	recheck, err := r.ensureCertificate(ctx, pool, m)
	switch {
	case errors.Is(err, signingkeys.ErrNotReady):
		return ctrl.Result{RequeueAfter: keysRetry}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	again, err := r.keep(ctx, pool, m)
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: earliest(again, recheck)}, nil
}

// keep goes once over the pool's pods. It returns in how long time alone changes anything;
// 0: never.
func (r *Reconciler) keep(ctx context.Context, pool *v1alpha1.MediaPool, m *memory) (time.Duration, error) {
	now, stored := r.Clock.Now(), pool.DeepCopy()
	if err := updateTemplate(pool, r.Image, metav1.NewTime(now)); err != nil {
		return 0, err
	}
	// They are read, never written: a copy of ten thousand pods for each pass is dear.
	var pods corev1.PodList
	err := r.Client.List(ctx, &pods, client.InNamespace(r.Namespace), client.MatchingLabels{v1alpha1.LabelPool: pool.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return 0, fmt.Errorf("listing the pods of pool %s: %w", pool.Name, err)
	}
	nodes, err := drain.Nodes(ctx, r.Client, pods.Items, idle)
	if err != nil {
		return 0, err
	}
	c := takeCensus(pool, pods.Items, nodes, func(pod *corev1.Pod) bool { return r.Promised(pod.UID) }, now)
	ahead, decay := m.ahead(now)
	w := wish{needed: int(pool.Spec.Warm) + r.Waiting(pool.Name), ahead: ahead}
	p := makePlan(pool, w, &c, func() []int32 { return freePorts(pool, pods.Items, r.Pick) }, now)
	refused, retry, err := r.carryOut(ctx, pool, m, &p, c.total())
	summarize(pool, &c, w, findProblem(pool, &c, refused, p.short), metav1.NewTime(now))
	wait, writeErr := r.writeStatus(ctx, stored, pool, m)
	again := earliest(earliest(p.again, decay), earliest(retry, wait))
	return again, errors.Join(err, writeErr)
}
