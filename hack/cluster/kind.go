package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kindName is the name of the cluster among kind's.
const kindName = "voiceroom-test"

// kind is a cluster whose nodes are containers.
type kind struct {
	module   string // of the tool
	dir      string // of its state
	rest     *rest.Config
	machines []Node
}

func startKind(ctx context.Context, dir string, opts Options) (b backend, err error) {
	module, err := kindModule(ctx)
	if err != nil {
		return nil, err
	}
	k := &kind{module: module, dir: dir}
	defer func() {
		if err != nil {
			b, err = nil, errors.Join(err, k.stop())
		}
	}()
	// One that was killed may have left its own.
	if err := errors.Join(k.stop(), os.MkdirAll(dir, 0o755)); err != nil {
		return nil, err
	}
	fmt.Fprintln(opts.Progress, "starting kind")
	config := "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n" + strings.Repeat("- role: worker\n", opts.Nodes)
	if err := k.run(ctx, config, "create", "cluster", "--config=-", "--kubeconfig="+k.kubeconfig(), "--wait=5m"); err != nil {
		return nil, err
	}
	if k.rest, err = clientcmd.BuildConfigFromFlags("", k.kubeconfig()); err != nil {
		return nil, fmt.Errorf("read kind's kubeconfig: %w", err)
	}
	k.machines, err = workers(ctx, k.rest)
	return k, err
}

// kindModule returns the directory of the tool module that pins kind.
func kindModule(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("ask go for the module's directory: %w", err)
	}
	return filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "hack", "kind"), nil
}

// run runs a command of kind with stdin.
func (k *kind) run(ctx context.Context, stdin string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"tool", "kind"}, args...), "--name="+kindName)...)
	cmd.Dir, cmd.Stdin = k.module, bytes.NewBufferString(stdin)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kind %s: %w: %s", strings.Join(args, " "), err, said)
	}
	return nil
}

// workers returns the nodes that pods run on.
func workers(ctx context.Context, cfg *rest.Config) ([]Node, error) {
	c, err := client.New(cfg, client.Options{})
	if err != nil {
		return nil, fmt.Errorf("make a client of kind's cluster: %w", err)
	}
	var list corev1.NodeList
	if err := c.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list kind's nodes: %w", err)
	}
	var nodes []Node
	for _, node := range list.Items {
		if _, control := node.Labels["node-role.kubernetes.io/control-plane"]; control {
			continue
		}
		for _, address := range node.Status.Addresses {
			if ip, err := netip.ParseAddr(address.Address); err == nil && address.Type == corev1.NodeInternalIP && ip.Is4() {
				nodes = append(nodes, Node{Name: node.Name, Address: ip})
			}
		}
	}
	return nodes, nil
}

func (k *kind) config() *rest.Config  { return k.rest }
func (k *kind) kubeconfig() string    { return filepath.Join(k.dir, "kubeconfig") }
func (k *kind) nodes() []Node         { return k.machines }
func (k *kind) networkPolicies() bool { return true } // by kindnet

func (k *kind) loadImages(ctx context.Context, files []string) error {
	for _, file := range files {
		path, err := filepath.Abs(file)
		if err != nil {
			return err
		}
		if err := k.run(ctx, "", "load", "image-archive", path); err != nil {
			return err
		}
	}
	return nil
}

// stop deletes the cluster, if there is one, and its files.
func (k *kind) stop() error {
	return errors.Join(k.run(context.Background(), "", "delete", "cluster"), os.RemoveAll(k.dir))
}

// cleanKind removes what a cluster of kind left behind.
func cleanKind(ctx context.Context, dir string) error {
	module, err := kindModule(ctx)
	if err != nil {
		return err
	}
	return (&kind{module: module, dir: dir}).stop()
}

func loadKind(ctx context.Context, files []string) error {
	module, err := kindModule(ctx)
	if err != nil {
		return err
	}
	return (&kind{module: module}).loadImages(ctx, files)
}
