// Package stack runs a whole Voiceroom on one machine: a real control plane, a
// development node, and the product's own commands as processes, each as the user
// and with the RBAC rights that it has in a cluster.
//
//	s, err := stack.Start(ctx, stack.Options{Root: "."})
//	defer s.Stop()
//	... s.Client, s.GatewayURL ...
//
// The demo, the browser tests and the end-to-end tests run on it.
package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/controlplane"
	"voiceroom.dev/voiceroom/hack/controlplane/child"
	"voiceroom.dev/voiceroom/hack/devnode"
	"voiceroom.dev/voiceroom/hack/kubeassets/kubebin"
)

// Namespaces of a stack.
const (
	SystemNamespace = "voiceroom-system"
	MediaNamespace  = "voiceroom-media"
)

// mediaImage is what the development node knows the media binary by.
const mediaImage = "voiceroom-media:dev"

// stopGrace is how long a process has to end by itself.
const stopGrace = 15 * time.Second

// Options says what to start.
type Options struct {
	// Root is the repository.
	Root string
	// Listen is the gateway's address; default a free port of 127.0.0.1.
	Listen string
	// AuditLog, if set, is a file that gets one JSON line for each write.
	AuditLog string
	// Log gets what every process prints. Nil: a file in Dir.
	Log io.Writer
	// Progress is told what is going on. May be nil.
	Progress func(what string)
	// Warm is how many idle media pods stay ready; default 2.
	Warm int32
	// Advertise are the addresses that clients are told to reach media pods at;
	// default 127.0.0.1 alone.
	Advertise []string
	// Partitions lets CutPod part media pods from the cluster.
	Partitions bool
	// MediaBinary, if set, is run in media pods instead of the command that is built here.
	MediaBinary string
	// FakeFleet has hack/fakefleet play the media pods, instead of a development node that
	// runs them. It takes commands at HealthURL("fakefleet"). Then there is no gateway, for
	// nobody can be heard.
	FakeFleet bool
	// Pool is the default pool; nil: one that keeps Warm pods and advertises Advertise.
	Pool *v1alpha1.MediaPoolSpec
	// OperatorFlags and GatewayFlags are added to the commands'.
	OperatorFlags, GatewayFlags []string
}

// Stack is a running system.
type Stack struct {
	Config     *rest.Config
	Client     client.Client
	GatewayURL string
	ChatURL    string // of the chat server, for clients of NATS
	Kubeconfig string // of an administrator
	Kubectl    string // path of the binary
	Dir        string // everything that the stack wrote

	opts     Options
	plane    *controlplane.Plane
	node     *devnode.Node
	nodeStop func()
	logFile  *os.File

	mu        sync.Mutex
	processes map[string]*child.Process
	commands  map[string]command
}

// Scheme knows Kubernetes' own types and voiceroom.dev's.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err) // only if two types claim one kind: a bug in this program
		}
	}
	return s
}

// Start starts everything and returns when rooms can be made. If it fails it leaves
// nothing behind but the log, whose path is in the error.
func Start(ctx context.Context, opts Options) (_ *Stack, err error) {
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	if opts.Warm == 0 {
		opts.Warm = 2
	}
	dir, err := os.MkdirTemp("", "voiceroom-stack-")
	if err != nil {
		return nil, fmt.Errorf("making the stack's directory: %w", err)
	}
	s := &Stack{Dir: dir, opts: opts, processes: map[string]*child.Process{}, commands: map[string]command{}}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w%s", err, s.logTail())
			err = errors.Join(err, s.Stop())
		}
	}()
	for _, step := range []func(context.Context) error{s.openLog, s.build, s.startPlane, s.install, s.startNode, s.startProcesses, s.applyDefaults, s.waitReady} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Stack) openLog(context.Context) error {
	if s.opts.Log != nil {
		return nil
	}
	f, err := os.Create(filepath.Join(s.Dir, "log"))
	if err != nil {
		return fmt.Errorf("making the log: %w", err)
	}
	s.logFile, s.opts.Log = f, f
	return nil
}

// logTail is the end of the log, to go with an error.
func (s *Stack) logTail() string {
	if s.logFile == nil {
		return ""
	}
	b, err := os.ReadFile(s.logFile.Name())
	if err != nil || len(b) == 0 {
		return ""
	}
	return "\nthe end of the processes' log:\n" + string(b[max(0, len(b)-6000):])
}

func (s *Stack) build(ctx context.Context) error {
	s.opts.Progress("building the commands")
	commands := []string{"build", "-o", s.Dir + "/bin/", "./cmd/..."}
	if s.opts.FakeFleet {
		commands = append(commands, "./hack/fakefleet")
	}
	cmd := exec.CommandContext(ctx, "go", commands...)
	cmd.Dir = s.opts.Root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the commands: %w\n%s", err, out)
	}
	return nil
}

func (s *Stack) startPlane(ctx context.Context) error {
	assets, err := kubebin.Ensure(ctx, os.Stderr, kubebin.All()...)
	if err != nil {
		return err
	}
	s.Kubectl = filepath.Join(assets, "kubectl")
	s.opts.Progress("starting etcd, kube-apiserver and kube-controller-manager")
	s.plane, err = controlplane.Start(ctx, controlplane.Options{Assets: assets, AuditLog: s.opts.AuditLog, Log: s.opts.Log,
		CRDPaths: []string{filepath.Join(s.opts.Root, "config/crd")}})
	if err != nil {
		return err
	}
	s.Config = s.plane.Config()
	s.Config.QPS, s.Config.Burst = -1, 0
	s.Kubeconfig = filepath.Join(s.Dir, "kubeconfig")
	if err := controlplane.WriteKubeconfig(s.Kubeconfig, s.Config); err != nil {
		return err
	}
	s.Client, err = client.New(s.Config, client.Options{Scheme: Scheme()})
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	return nil
}

func (s *Stack) startNode(context.Context) error {
	if s.opts.FakeFleet {
		return nil // it is a process
	}
	user, err := s.plane.User("system:node:dev", "system:masters") // told apart in an audit log
	if err != nil {
		return err
	}
	binary := s.opts.MediaBinary
	if binary == "" {
		binary = filepath.Join(s.Dir, "bin/media")
	}
	node, err := devnode.New(devnode.Options{Config: user, Namespaces: []string{MediaNamespace}, Output: s.opts.Log, Logger: logr.Discard(),
		Partitions: s.opts.Partitions, Binaries: map[string]string{mediaImage: binary}})
	if err != nil {
		return err
	}
	s.node = node
	// The node outlives the context of Start: Stop ends it.
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := node.Run(ctx); err != nil {
			_, _ = fmt.Fprintln(s.opts.Log, "development node:", err)
		}
	}()
	s.nodeStop = func() { cancel(); <-done }
	return nil
}

// Stop ends everything, waits, and removes Dir. It may be called again.
func (s *Stack) Stop() error {
	for _, name := range s.replicas() {
		s.StopProcess(name)
		s.CutProcess(name)
	}
	if s.nodeStop != nil {
		s.nodeStop()
		s.nodeStop = nil
	}
	s.StopProcess("fakefleet")
	s.StopProcess("chat")
	var err error
	if s.plane != nil {
		err = s.plane.Stop()
	}
	if s.logFile != nil {
		_ = s.logFile.Close()
	}
	return errors.Join(err, os.RemoveAll(s.Dir))
}

// freeAddress picks a port that nobody listens on now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// namespace is a Namespace with its Pod Security level.
func namespace(name, level string) *corev1.Namespace {
	n := &corev1.Namespace{}
	n.Name = name
	n.Labels = map[string]string{"pod-security.kubernetes.io/enforce": level}
	return n
}
