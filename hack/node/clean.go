//go:build linux

package node

import (
	"errors"
	"fmt"
	"os"
)

// Clean removes what a cluster with its state in dir left behind. None may be running.
func Clean(dir string) error {
	err := os.RemoveAll(dir)
	if err != nil {
		err = fmt.Errorf("remove the cluster's directory: %w", err)
	}
	return errors.Join(err, closeNetwork(), removeCgroups())
}
