package devnode_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"voiceroom.dev/voiceroom/hack/controlplane"
	"voiceroom.dev/voiceroom/hack/kubeassets/kubebin"
)

// podVariable makes the test binary run as a pod's program instead.
const podVariable = "DEVNODE_TEST_POD"

func TestMain(m *testing.M) {
	if os.Getenv(podVariable) != "" {
		podMain()
		return
	}
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	code := m.Run()
	if err := stopPlane(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var (
	plane     *controlplane.Plane
	startOnce sync.Once
	errStart  error
)

// controlPlane starts the control plane that all tests share when the first one needs it.
func controlPlane(t *testing.T) *controlplane.Plane {
	t.Helper()
	startOnce.Do(func() {
		ctx := context.Background()
		var assets string
		if assets, errStart = kubebin.Ensure(ctx, os.Stderr, kubebin.All()...); errStart == nil {
			plane, errStart = controlplane.Start(ctx, controlplane.Options{Assets: assets})
		}
	})
	if errStart != nil {
		t.Fatal(errStart)
	}
	return plane
}

func stopPlane() error {
	if plane == nil {
		return nil
	}
	return plane.Stop()
}

// podMain is a program with a life that tests can steer over HTTP on $POD_IP:8080.
func podMain() {
	fmt.Println("pod program starts")
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		for range terminated {
			fmt.Println("SIGTERM")
			if os.Getenv("STUBBORN") == "" {
				os.Exit(0)
			}
		}
	}()
	var notReady, sick atomic.Bool
	status := func(bad *atomic.Bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if to := r.URL.Query().Get("set"); to != "" {
				bad.Store(to != "ok")
				return
			}
			if bad.Load() {
				http.Error(w, "not now", http.StatusServiceUnavailable)
			}
		}
	}
	http.HandleFunc("/ready", status(&notReady))
	http.HandleFunc("/live", status(&sick))
	http.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, r.URL.Query().Get("path"))
	})
	http.HandleFunc("/self", func(w http.ResponseWriter, _ *http.Request) {
		dir, _ := os.Getwd()
		_ = json.NewEncoder(w).Encode(self{Args: os.Args[1:], Env: os.Environ(), Dir: dir})
	})
	http.HandleFunc("/exit", func(_ http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.URL.Query().Get("code"))
		os.Exit(code)
	})
	err := http.ListenAndServe(net.JoinHostPort(os.Getenv("POD_IP"), "8080"), nil)
	fmt.Println(err)
	os.Exit(1)
}

// self is what the pod program knows of itself.
type self struct {
	Args, Env []string
	Dir       string
}
