package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"k8s.io/client-go/rest"
)

// Options says what to start. The zero value is one node without images.
type Options struct {
	// Nodes is how many nodes there are, each a worker; 0 is one.
	Nodes int
	// Images are files, as `docker save` and hack/images write them, that every node has before Start returns.
	Images []string
	// LogDir is where the logs of the cluster's processes and pods are; it is made if need be, and Stop leaves it.
	// Empty: a directory that Stop removes; after a Start that failed it stays until the next.
	LogDir string
	// Progress gets lines that say what takes time. Nil discards them.
	Progress io.Writer
}

// Node is a machine of the cluster.
type Node struct {
	Name    string
	Address netip.Addr // where hostPorts and NodePorts are reached from this machine
}

// Cluster is a running cluster. Its methods are safe for concurrent use.
type Cluster struct {
	seat      *seat
	logDir    string
	temporary bool // logDir goes with the cluster
	backend   backend
	stop      func() error // end, once
}

// A backend is a way to run a cluster.
type backend interface {
	config() *rest.Config
	kubeconfig() string
	nodes() []Node
	networkPolicies() bool
	loadImages(ctx context.Context, files []string) error
	stop() error
}

// Start starts a cluster and returns once every node is Ready, DNS answers and the images are there. It must be called
// from within this repository, by root unless Docker runs. Without Docker, the first call on a machine builds
// Kubernetes and containerd, which takes many minutes on two cores; the result is kept in the user's cache. If Start
// fails, or ctx ends meanwhile, it leaves nothing but the logs behind. A second cluster on the same machine is an error.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	if opts.Progress == nil {
		opts.Progress = io.Discard
	}
	if opts.Nodes == 0 {
		opts.Nodes = 1
	}
	seat, err := takeSeat()
	if err != nil {
		return nil, err
	}
	c := &Cluster{seat: seat, logDir: opts.LogDir}
	c.stop = sync.OnceValue(c.end)
	if err := c.start(ctx, opts); err != nil {
		c.temporary = false // they say why
		return nil, errors.Join(fmt.Errorf("%w (logs: %s)", err, c.logDir), c.Stop())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, opts Options) (err error) {
	if err := os.RemoveAll(c.seat.logs()); err != nil {
		return fmt.Errorf("remove the logs of an earlier cluster: %w", err)
	}
	if c.logDir == "" {
		c.logDir, c.temporary = c.seat.logs(), true
	}
	if c.logDir, err = filepath.Abs(c.logDir); err != nil {
		return fmt.Errorf("find the directory of logs: %w", err)
	}
	opts.LogDir = c.logDir
	start := startNodes
	if dockerRuns(ctx) {
		start = startKind
	}
	if c.backend, err = start(ctx, c.seat.state(), opts); err != nil {
		return err
	}
	return c.LoadImages(ctx, opts.Images...)
}

// dockerRuns tells whether a Docker engine answers.
func dockerRuns(ctx context.Context) bool {
	return exec.CommandContext(ctx, "docker", "info").Run() == nil
}

// Config returns an administrator's configuration, which the caller may change.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.backend.config()) }

// Kubeconfig is the path of a file with the same; Stop removes it.
func (c *Cluster) Kubeconfig() string { return c.backend.kubeconfig() }

// Nodes are the machines, in the order of their names.
func (c *Cluster) Nodes() []Node { return c.backend.nodes() }

// NetworkPolicies tells whether the cluster enforces NetworkPolicies.
func (c *Cluster) NetworkPolicies() bool { return c.backend.networkPolicies() }

// LogDir is where the logs are.
func (c *Cluster) LogDir() string { return c.logDir }

// LoadImages gives every node the images of files as `docker save` and hack/images write them.
func (c *Cluster) LoadImages(ctx context.Context, files ...string) error {
	for _, file := range files {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("load an image: %w", err)
		}
	}
	if len(files) == 0 {
		return nil
	}
	return c.backend.loadImages(ctx, files)
}

// Stop ends the cluster, waits until nothing of it is left, and removes all files but the logs. Further calls return
// what the first one did.
func (c *Cluster) Stop() error { return c.stop() }

func (c *Cluster) end() error {
	defer c.seat.leave()
	var err error
	if c.backend != nil {
		err = c.backend.stop()
	}
	if c.temporary {
		err = errors.Join(err, os.RemoveAll(c.logDir))
	}
	return err
}
