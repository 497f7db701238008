//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"k8s.io/client-go/rest"

	"voiceroom.dev/voiceroom/hack/controlplane"
)

// Options says what to start.
type Options struct {
	// Nodes is how many there are, 1 to 9.
	Nodes int
	// Dir is the directory of the cluster's state, which Clean and Start empty and Stop removes. It must not be in
	// /var or /run, which nodes have of their own, and its file system must be able to carry an overlay.
	Dir string
	// LogDir is where the processes' and pods' logs are, which stay. It must not be in /var or /run either.
	LogDir string
	// Progress gets lines that say what takes time.
	Progress io.Writer
}

// Group is a running control plane with its nodes. Its methods are safe for concurrent use.
type Group struct {
	opts  Options
	tools Tools
	log   *os.File // of the control plane
	plane *controlplane.Plane
	nodes []*machine
	stop  func() error // end, once
}

// Start gets what a cluster needs (see GetTools), removes what an earlier one left in Dir, and returns when the nodes are
// Ready and DNS answers. If it fails, or ctx ends meanwhile, it leaves nothing but logs behind.
func Start(ctx context.Context, opts Options) (group *Group, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("start nodes: it takes root")
	}
	if opts.Nodes < 1 || opts.Nodes > maxNodes {
		return nil, fmt.Errorf("start nodes: %d of them: 1 to %d can be", opts.Nodes, maxNodes)
	}
	for _, dir := range []string{opts.Dir, opts.LogDir} {
		if err := visible(dir); err != nil {
			return nil, err
		}
	}
	tools, err := GetTools(ctx, opts.Progress)
	if err != nil {
		return nil, err
	}
	if err := Clean(opts.Dir); err != nil {
		return nil, err
	}
	g := &Group{opts: opts, tools: tools}
	g.stop = sync.OnceValue(g.end)
	defer func() {
		if err != nil {
			group, err = nil, errors.Join(err, g.Stop())
		}
	}()
	for _, step := range []func(context.Context) error{
		g.layOut, g.buildMachine, g.startPlane, g.startMachines, g.loadOwnImages, g.addObjects, g.waitReady,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// visible is an error if nodes cannot see a directory of this machine, since they have another one there.
func visible(dir string) error {
	for _, own := range []string{"/var/", "/run/", "/proc/"} {
		if abs, err := filepath.Abs(dir); err != nil || strings.HasPrefix(abs+"/", own) {
			return errors.Join(err, fmt.Errorf("start nodes: the directory %s: nodes have a %s of their own; take another one", dir, own))
		}
	}
	return nil
}

// layOut makes the directories.
func (g *Group) layOut(context.Context) error {
	for _, dir := range []string{g.opts.Dir, g.opts.LogDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("lay out the cluster's directory: %w", err)
		}
	}
	return nil
}

func (g *Group) startPlane(ctx context.Context) (err error) {
	if err := openNetwork(g.opts.Nodes); err != nil {
		return err
	}
	fmt.Fprintln(g.opts.Progress, "starting the control plane")
	if g.log, err = os.Create(filepath.Join(g.opts.LogDir, "control-plane.log")); err != nil {
		return fmt.Errorf("open a log: %w", err)
	}
	g.plane, err = controlplane.Start(ctx, controlplane.Options{
		Assets: g.tools.Kubernetes,
		Dir:    filepath.Join(g.opts.Dir, "control-plane"),
		Log:    g.log,
		Nodes:  &controlplane.Nodes{Address: hostAddress(), Services: services},
	})
	if err != nil {
		return err
	}
	return controlplane.WriteKubeconfig(g.Kubeconfig(), g.plane.Config())
}

func (g *Group) startMachines(ctx context.Context) error {
	for i := range g.opts.Nodes {
		m, err := startMachine(g, i+1)
		if m != nil {
			g.nodes = append(g.nodes, m)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Config returns an administrator's configuration, which the caller may change.
func (g *Group) Config() *rest.Config { return g.plane.Config() }

// Kubeconfig is the path of a file with the same.
func (g *Group) Kubeconfig() string { return filepath.Join(g.opts.Dir, "kubeconfig") }

// Addresses returns the address of each node by its name.
func (g *Group) Addresses() map[string]netip.Addr {
	addresses := map[string]netip.Addr{}
	for _, m := range g.nodes {
		addresses[m.name] = m.address
	}
	return addresses
}

// LoadImages gives every node the images of files as `docker save` writes them.
func (g *Group) LoadImages(ctx context.Context, files []string) error {
	return LoadImages(ctx, g.opts.Dir, files)
}

// Stop ends all processes, waits for them and removes everything but the logs. Further calls return what the first one
// did.
func (g *Group) Stop() error { return g.stop() }

func (g *Group) end() error {
	var errs []error
	for _, m := range slices.Backward(g.nodes) {
		m.stop()
	}
	if g.plane != nil {
		errs = append(errs, g.plane.Stop())
	}
	if g.log != nil {
		errs = append(errs, g.log.Close())
	}
	return errors.Join(append(errs, Clean(g.opts.Dir))...)
}
