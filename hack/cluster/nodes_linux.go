package cluster

import (
	"context"
	"io"
	"maps"
	"slices"

	"k8s.io/client-go/rest"

	"voiceroom.dev/voiceroom/hack/node"
)

// built is the cluster that hack/node runs.
type built struct{ group *node.Group }

func startNodes(ctx context.Context, dir string, opts Options) (backend, error) {
	group, err := node.Start(ctx, node.Options{Nodes: opts.Nodes, Dir: dir, LogDir: opts.LogDir, Progress: opts.Progress})
	if err != nil {
		return nil, err
	}
	return &built{group}, nil
}

func (b *built) config() *rest.Config  { return b.group.Config() }
func (b *built) kubeconfig() string    { return b.group.Kubeconfig() }
func (b *built) networkPolicies() bool { return true }
func (b *built) stop() error           { return b.group.Stop() }

func (b *built) nodes() []Node {
	addresses := b.group.Addresses()
	var nodes []Node
	for _, name := range slices.Sorted(maps.Keys(addresses)) {
		nodes = append(nodes, Node{Name: name, Address: addresses[name]})
	}
	return nodes
}

func (b *built) loadImages(ctx context.Context, files []string) error {
	return b.group.LoadImages(ctx, files)
}

// cleanNodes removes what a cluster of hack/node left behind.
func cleanNodes(_ context.Context, dir string) error { return node.Clean(dir) }

func loadNodes(ctx context.Context, dir string, files []string) error {
	return node.LoadImages(ctx, dir, files)
}

func nodeTools(ctx context.Context, progress io.Writer) error {
	_, err := node.GetTools(ctx, progress)
	return err
}
