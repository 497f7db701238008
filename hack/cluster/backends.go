package cluster

import (
	"context"
	"errors"
)

func startNodes(context.Context, Options) (*Cluster, error) {
	return nil, errors.New("start nodes: not supported by this build")
}

func startKind(context.Context, Options) (*Cluster, error) {
	return nil, errors.New("start kind: not supported by this build")
}
