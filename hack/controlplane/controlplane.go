package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"voiceroom.dev/voiceroom/hack/controlplane/child"
)

const (
	startTimeout = 90 * time.Second // each process; they take seconds, but a busy machine is no failure
	stopTimeout  = 20 * time.Second // each process, before it is killed
)

// Options says what to start. Only Assets is required.
type Options struct {
	// Assets is the directory of the binaries etcd, kube-apiserver and kube-controller-manager.
	Assets string

	// Dir is the directory that everything is written to; it must not exist, and Stop removes it. Empty means a
	// temporary one.
	Dir string

	// CRDPaths are files, or directories of files, with CustomResourceDefinitions to install; each must exist.
	CRDPaths []string
	// CRDs are further ones. Install definitions here rather than later: the garbage collector looks for new kinds
	// only every 30 s.
	CRDs []*apiextensionsv1.CustomResourceDefinition

	// AdmissionPlugins are enabled beside those that the API server enables by itself, NamespaceLifecycle and
	// PodSecurity among them. ServiceAccount is on only with Nodes.
	AdmissionPlugins []string

	// AuditLog is a file that gets one JSON line (audit.k8s.io/v1 Event, level Metadata) for every completed request
	// that writes. Empty means none.
	AuditLog string

	// Log gets what the processes print; it must take concurrent writes. Nil discards it.
	Log io.Writer

	// WithoutControllers leaves kube-controller-manager out.
	WithoutControllers bool

	// Nodes, if set, makes the plane one that nodes join: every controller and the scheduler run, service accounts get
	// tokens, and the API server is within reach of other machines. Assets then has kube-scheduler too.
	Nodes *Nodes
}

// Nodes says how nodes and their pods reach the API server.
type Nodes struct {
	Address  netip.Addr   // of this machine, on the nodes' network
	Services netip.Prefix // of which ClusterIPs are taken; the first is the API server's
}

// Plane is a running control plane. Its methods are safe for concurrent use.
type Plane struct {
	dir        string
	env        *envtest.Environment
	authority  *authority       // nil without Nodes
	components []*child.Process // of the API server, in the order of their start
	stop       func() error     // end, once
}

// Start starts a control plane, installs the CRDs, and returns when the API server serves them and the controllers
// run. If it fails, or ctx ends meanwhile, it leaves nothing behind.
func Start(ctx context.Context, opts Options) (plane *Plane, err error) {
	dir, err := makeDir(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("make the control plane's directory: %w", err)
	}
	p := &Plane{dir: dir, env: &envtest.Environment{}}
	p.stop = sync.OnceValue(p.end)
	defer func() {
		if err != nil {
			plane, err = nil, errors.Join(err, p.Stop())
		}
	}()
	if opts.Log == nil {
		opts.Log = io.Discard
	}
	if err := p.configure(opts); err != nil {
		return nil, err
	}
	if _, err := p.env.Start(); err != nil {
		return nil, fmt.Errorf("start etcd and kube-apiserver: %w", err)
	}
	for _, c := range components(p.dir, opts) {
		process, err := c.start(ctx, p.dir, opts, p.Config())
		if err != nil {
			return nil, err
		}
		p.components = append(p.components, process)
	}
	return p, ctx.Err()
}

func makeDir(path string) (string, error) {
	if path == "" {
		return os.MkdirTemp("", "voiceroom-controlplane-")
	}
	return path, os.Mkdir(path, 0o700)
}

// configure lays out the directory and sets up envtest to use it.
func (p *Plane) configure(opts Options) error {
	no := false
	p.env.UseExistingCluster = &no
	p.env.ControlPlaneStartTimeout = startTimeout
	p.env.ControlPlaneStopTimeout = stopTimeout
	p.env.ErrorIfCRDPathMissing = true
	p.env.CRDDirectoryPaths = opts.CRDPaths
	p.env.CRDs = opts.CRDs

	etcdData, certs := filepath.Join(p.dir, "etcd"), certsDir(p.dir)
	for _, dir := range []string{etcdData, certs} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("lay out the control plane's directory: %w", err)
		}
	}
	etcdPath, err := tether(p.dir, filepath.Join(opts.Assets, "etcd"))
	if err != nil {
		return err
	}
	apiServerPath, err := tether(p.dir, filepath.Join(opts.Assets, "kube-apiserver"))
	if err != nil {
		return err
	}
	p.env.ControlPlane.Etcd = &envtest.Etcd{Path: etcdPath, DataDir: etcdData, Out: opts.Log, Err: opts.Log}
	server := p.env.ControlPlane.GetAPIServer()
	server.Path, server.CertDir, server.Out, server.Err = apiServerPath, certs, opts.Log, opts.Log
	flags := server.Configure()
	// Both are on by default today; the plane promises them.
	flags.Set("enable-admission-plugins", append([]string{"NamespaceLifecycle", "PodSecurity"}, opts.AdmissionPlugins...)...)
	if opts.AuditLog != "" {
		policy := filepath.Join(p.dir, "audit-policy.yaml")
		if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
			return fmt.Errorf("write the audit policy: %w", err)
		}
		flags.Set("audit-policy-file", policy).Set("audit-log-path", opts.AuditLog)
	}
	if opts.Nodes == nil {
		return nil
	}
	return p.admitNodes(*opts.Nodes)
}

func certsDir(dir string) string { return filepath.Join(dir, "certs") }

// auditPolicy records writes, each once: when it is complete.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: None
`

// Config returns an administrator's configuration (group system:masters), which the caller may change.
func (p *Plane) Config() *rest.Config { return rest.CopyConfig(p.env.Config) }

// User returns the configuration of another user, whom the API server authenticates by a client certificate and
// who may do what RBAC grants to the name and groups.
func (p *Plane) User(name string, groups ...string) (*rest.Config, error) {
	user, err := p.env.AddUser(envtest.User{Name: name, Groups: groups}, &rest.Config{QPS: p.env.Config.QPS, Burst: p.env.Config.Burst})
	if err != nil {
		return nil, fmt.Errorf("add user %s: %w", name, err)
	}
	return user.Config(), nil
}

// Stop ends all processes, waits for them and removes everything that the plane wrote. Further calls return what the
// first one did.
func (p *Plane) Stop() error { return p.stop() }

func (p *Plane) end() error {
	var errs []error
	for _, process := range slices.Backward(p.components) {
		process.Stop(stopTimeout)
	}
	if err := p.env.Stop(); err != nil {
		errs = append(errs, fmt.Errorf("stop etcd and kube-apiserver: %w", err))
	}
	if err := os.RemoveAll(p.dir); err != nil {
		errs = append(errs, fmt.Errorf("remove the control plane's directory: %w", err))
	}
	return errors.Join(errs...)
}
