package devnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Options describes a node. Config, Namespaces and Binaries are required.
type Options struct {
	// Config is how to reach the API server. The user must be able to do what a scheduler and a kubelet do; one named
	// system:node:<name> is easy to tell apart in an audit log.
	Config *rest.Config
	// Name is the Node's name; by default "dev".
	Name string
	// Labels are put on the Node beside the well-known ones. A pod's nodeSelector is matched against them.
	Labels map[string]string
	// Address is the Node's InternalIP; by default 127.0.0.1.
	Address netip.Addr
	// PodCIDR is where pod addresses are taken from, within 127.0.0.0/8. By default it is a /24 picked at random, so
	// that several nodes on a machine do not meet.
	PodCIDR netip.Prefix

	// Namespaces are those whose pods may run here.
	Namespaces []string
	// Selector narrows them down to the pods with these labels; nil takes all.
	Selector labels.Selector
	// Binaries has the path of a local executable for each container image.
	Binaries map[string]string

	// Partitions lets Cut part pods from the cluster. Each connection to a pod then passes through this process.
	Partitions bool
	// Output gets the pods' stdout and stderr, line by line, each after "namespace/name | ". Nil discards it.
	Output io.Writer
	// StopGrace is the time from SIGTERM to SIGKILL for pods that still run when the node stops; by default 5 s.
	StopGrace time.Duration
	// Logger is for the node's own words. The zero Logger discards them.
	Logger logr.Logger
}

// Node is a node that can be run once.
type Node struct {
	opts      Options
	dir       string // holds one directory for each pod that runs
	client    client.Client
	queue     workqueue.TypedRateLimitingInterface[reconcile.Request]
	ports     *portTable
	addresses *addressPool
	output    *outputMux

	mu    sync.Mutex
	boxes map[types.NamespacedName]*sandbox // only the worker that holds a pod's key adds or removes its box
}

// New checks opts and prepares a node; nothing happens before Run.
func New(opts Options) (*Node, error) {
	if opts.Config == nil || len(opts.Namespaces) == 0 || len(opts.Binaries) == 0 {
		return nil, errors.New("a development node needs Config, Namespaces and Binaries")
	}
	if opts.Name == "" {
		opts.Name = "dev"
	}
	if !opts.Address.IsValid() {
		opts.Address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if opts.Selector == nil {
		opts.Selector = labels.Everything()
	}
	if opts.StopGrace == 0 {
		opts.StopGrace = 5 * time.Second
	}
	if opts.Output == nil {
		opts.Output = io.Discard
	}
	opts.Config = rest.AddUserAgent(rest.CopyConfig(opts.Config), "devnode")
	if opts.Config.QPS == 0 {
		opts.Config.QPS = -1 // the API server has its own idea of fairness
	}
	binaries := make(map[string]string, len(opts.Binaries))
	for image, binary := range opts.Binaries { // processes start in a directory of their own
		absolute, err := filepath.Abs(binary)
		if err != nil {
			return nil, fmt.Errorf("find the binary of image %s: %w", image, err)
		}
		binaries[image] = absolute
	}
	opts.Binaries = binaries
	addresses, err := newAddressPool(opts.PodCIDR)
	if err != nil {
		return nil, err
	}
	return &Node{
		opts:      opts,
		ports:     newPortTable(),
		addresses: addresses,
		output:    &outputMux{w: opts.Output},
		boxes:     map[types.NamespacedName]*sandbox{},
	}, nil
}

// Run is the node's life: it returns when ctx has ended and the last process was reaped, or with what made the node
// unable to work. The API server may be away meanwhile; pods run on, and their status follows when it is back.
func (n *Node) Run(ctx context.Context) (err error) {
	if n.dir, err = os.MkdirTemp("", "voiceroom-devnode-"); err != nil {
		return fmt.Errorf("make the node's directory: %w", err)
	}
	defer func() {
		if removeErr := os.RemoveAll(n.dir); removeErr != nil {
			err = errors.Join(err, fmt.Errorf("remove the node's directory: %w", removeErr))
		}
	}()
	mgr, err := ctrl.NewManager(n.opts.Config, n.managerOptions())
	if err != nil {
		return fmt.Errorf("set up the node: %w", err)
	}
	n.client = mgr.GetClient()
	if err := n.addController(mgr); err != nil {
		return fmt.Errorf("set up the node: %w", err)
	}
	if err := mgr.Add(manager.RunnableFunc(n.heartbeat)); err != nil {
		return fmt.Errorf("set up the node: %w", err)
	}
	if err = mgr.Start(ctx); err != nil { // it returns when no worker is left
		err = fmt.Errorf("run the node: %w", err)
	}
	return errors.Join(err, n.killAll())
}

func (n *Node) managerOptions() manager.Options {
	namespaces := map[string]cache.Config{}
	for _, name := range n.opts.Namespaces {
		namespaces[name] = cache.Config{}
	}
	forever := time.Duration(-1)
	skip := true
	return manager.Options{
		Logger: n.opts.Logger,
		Cache: cache.Options{
			DefaultNamespaces: namespaces,
			DefaultTransform:  cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&corev1.Node{}: {Field: fields.OneTermEqualSelector("metadata.name", n.opts.Name)},
			},
		},
		Client:                  client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&coordinationv1.Lease{}}}},
		Metrics:                 metricsserver.Options{BindAddress: "0"},
		GracefulShutdownTimeout: &forever,
		Controller:              config.Controller{SkipNameValidation: &skip}, // a program may run several nodes
	}
}

func (n *Node) addController(mgr manager.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("devnode").
		For(&corev1.Pod{}).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(n.podsBeside)).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(n.podsBeside)).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(n.unboundPods)). // uncordoned, perhaps
		WatchesRawSource(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			n.queue = queue // before the first worker starts
			return nil
		})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 8,
			// An API server that comes back should not wait minutes for the node's word.
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](20*time.Millisecond, 2*time.Second),
		}).
		Complete(n)
}

// podsBeside lists the pods of this node that may have obj in a volume or an environment variable: all in its
// namespace, since looking closer would cost more than it saves.
func (n *Node) podsBeside(ctx context.Context, obj client.Object) []reconcile.Request {
	here := func(pod *corev1.Pod) bool { return pod.Spec.NodeName == n.opts.Name }
	return n.pods(ctx, here, client.InNamespace(obj.GetNamespace()))
}

// unboundPods lists the pods that nobody runs.
func (n *Node) unboundPods(ctx context.Context, _ client.Object) []reconcile.Request {
	return n.pods(ctx, func(pod *corev1.Pod) bool { return pod.Spec.NodeName == "" })
}

// pods lists the pods of the node's namespaces, or of those that opts name, that match.
func (n *Node) pods(ctx context.Context, match func(*corev1.Pod) bool, opts ...client.ListOption) []reconcile.Request {
	var pods corev1.PodList
	if err := n.client.List(ctx, &pods, opts...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list pods")
		return nil
	}
	var requests []reconcile.Request
	for i := range pods.Items {
		if match(&pods.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&pods.Items[i])})
		}
	}
	return requests
}

// enqueue has a pod looked at. It never blocks, and does nothing once the node stops.
func (n *Node) enqueue(key types.NamespacedName) {
	n.queue.Add(reconcile.Request{NamespacedName: key})
}

// killAll ends every pod's process without a word to the API server. No worker may be left.
func (n *Node) killAll() error {
	var (
		boxes sync.WaitGroup
		mu    sync.Mutex
		errs  []error
	)
	for key, box := range n.boxes {
		boxes.Go(func() {
			if err := box.stop(n.opts.StopGrace); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("stop pod %s: %w", key, err))
			}
		})
	}
	boxes.Wait()
	clear(n.boxes)
	return errors.Join(errs...)
}
