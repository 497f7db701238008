//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// cleanTimeout is how long the kernel may take to end a node whose first process was killed.
const cleanTimeout = 30 * time.Second

// Clean removes what a cluster with its state in dir left behind. None may be running; one that was killed a moment ago
// may still be ending.
func Clean(dir string) error {
	var err error
	// While a process of a node is still there, so is its control group, and the directory may fill again.
	ended := wait.PollUntilContextTimeout(context.Background(), 100*time.Millisecond, cleanTimeout, true, func(context.Context) (bool, error) {
		err = errors.Join(removeCgroups(), closeNetwork(), removeDir(dir))
		return err == nil, nil
	})
	if ended != nil {
		return fmt.Errorf("clean up after nodes: %w", err)
	}
	return nil
}

func removeDir(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the cluster's directory: %w", err)
	}
	return nil
}
