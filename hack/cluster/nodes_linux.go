package cluster

import (
	"context"
	"io"
	"maps"
	"slices"
	"sync"

	"k8s.io/client-go/rest"

	"voiceroom.dev/voiceroom/hack/node"
)

// built is the cluster that hack/node runs.
type built struct {
	group *node.Group
	end   func() error
}

func startNodes(ctx context.Context, opts Options) (backend, error) {
	seat, err := takeSeat()
	if err != nil {
		return nil, err
	}
	dir, err := state()
	if err != nil {
		seat.leave()
		return nil, err
	}
	group, err := node.Start(ctx, node.Options{Nodes: opts.Nodes, Dir: dir, LogDir: opts.LogDir, Progress: opts.Progress})
	if err != nil {
		seat.leave()
		return nil, err
	}
	return &built{group: group, end: sync.OnceValue(func() error {
		defer seat.leave()
		return group.Stop()
	})}, nil
}

func (b *built) config() *rest.Config  { return b.group.Config() }
func (b *built) kubeconfig() string    { return b.group.Kubeconfig() }
func (b *built) networkPolicies() bool { return true }
func (b *built) stop() error           { return b.end() }

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
func cleanNodes() error {
	seat, err := takeSeat()
	if err != nil {
		return err
	}
	defer seat.leave()
	dir, err := state()
	if err != nil {
		return err
	}
	return node.Clean(dir)
}

func loadNodes(ctx context.Context, files []string) error {
	dir, err := state()
	if err != nil {
		return err
	}
	return node.LoadImages(ctx, dir, files)
}

func nodeTools(ctx context.Context, progress io.Writer) error {
	_, err := node.GetTools(ctx, progress)
	return err
}
