// Package apiserver gives the tests of a package a real API server that knows
// this repository's resources.
//
//	var config *rest.Config
//
//	func TestMain(m *testing.M) { os.Exit(apiserver.Run(m, &config)) }
//
// No controller of Kubernetes runs: owned objects and namespaces stay.
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/controlplane"
	"voiceroom.dev/voiceroom/hack/kubeassets/kubebin"
)

// awaitFor is how long Await waits: far longer than anything takes on a busy machine.
const awaitFor = 60 * time.Second

// Run starts a server, sets *cfg to its administrator's configuration, runs the
// tests and returns the exit code.
func Run(m *testing.M, cfg **rest.Config) int {
	ctrl.SetLogger(logr.Discard())
	plane, err := start(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting an API server for the tests:", err)
		return 1
	}
	*cfg = plane.Config()
	(*cfg).QPS = -1 // no limit of the client's own
	code := m.Run()
	if err := plane.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the API server:", err)
		return 1
	}
	return code
}

func start(ctx context.Context) (*controlplane.Plane, error) {
	assets, err := kubebin.Ensure(ctx, os.Stderr, kubebin.ControlPlane()...)
	if err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("finding the repository: %w", err)
	}
	crds := filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "config", "crd")
	return controlplane.Start(ctx, controlplane.Options{Assets: assets, CRDPaths: []string{crds}, WithoutControllers: true})
}

// Scheme knows Kubernetes' own types and this repository's.
func Scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	return scheme
}

// Client returns a client that reads the server, not a cache.
func Client(t testing.TB, cfg *rest.Config) client.WithWatch {
	t.Helper()
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: Scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Namespace makes a namespace with a name of its own.
func Namespace(t testing.TB, c client.Client) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// Manage runs a manager with what setup adds to it until the test ends.
func Manage(t testing.TB, cfg *rest.Config, setup func(ctx context.Context, mgr ctrl.Manager) error) {
	t.Helper()
	again := true // each test registers controllers of the same names
	mgr, err := manager.New(cfg, manager.Options{
		Scheme: Scheme(t), Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: &again},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := setup(ctx, mgr); err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the manager ended with: %v", err)
		}
	})
}

// Await reads obj until ready says so. It fails the test with what it saw last.
func Await(t testing.TB, c client.Reader, obj client.Object, what string, ready func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), awaitFor)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.Get(ctx, client.ObjectKeyFromObject(obj), obj)
		if err == nil && ready() {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting until %s: %v; last seen: %+v", what, err, obj)
		case <-tick.C:
		}
	}
}

// AwaitGone waits until obj does not exist.
func AwaitGone(t testing.TB, c client.Reader, obj client.Object) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), awaitFor)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := c.Get(ctx, client.ObjectKeyFromObject(obj), obj); client.IgnoreNotFound(err) == nil && err != nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s is still there: %+v", client.ObjectKeyFromObject(obj), obj)
		case <-tick.C:
		}
	}
}
