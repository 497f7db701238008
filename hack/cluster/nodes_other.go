//go:build !linux

package cluster

import (
	"context"
	"errors"
	"io"
)

func startNodes(context.Context, string, Options) (backend, error) {
	return nil, errors.New("start a cluster: without Docker it takes Linux")
}

func cleanNodes(context.Context, string) error { return nil }

func loadNodes(context.Context, string, []string) error { return nil }

func nodeTools(context.Context, io.Writer) error { return nil }
