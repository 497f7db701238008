package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Down ends the cluster of this machine, whichever process runs it, and removes what one that was killed left behind.
func Down(ctx context.Context) error {
	pid, err := Holder()
	if err != nil {
		return err
	}
	if pid > 0 {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			return fmt.Errorf("end process %d, which runs the cluster: %w", pid, err)
		}
	}
	for ; pid > 0; pid, err = Holder() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for process %d to end the cluster: %w", pid, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
	if err != nil {
		return err
	}
	seat, err := takeSeat()
	if err != nil {
		return err
	}
	defer seat.leave()
	clean := cleanNodes
	if dockerRuns(ctx) {
		clean = cleanKind
	}
	return errors.Join(clean(ctx, seat.state()), os.RemoveAll(seat.logs()))
}

// Load gives every node of the cluster of this machine, whichever process runs it, the images of files.
func Load(ctx context.Context, files ...string) error {
	if pid, err := Holder(); err != nil || pid == 0 {
		return errors.Join(err, errors.New("no cluster runs on this machine"))
	}
	if dockerRuns(ctx) {
		return loadKind(ctx, files)
	}
	dir, err := home()
	if err != nil {
		return err
	}
	return loadNodes(ctx, stateIn(dir), files)
}

// Kubeconfig is where the kubeconfig of this machine's cluster is while one runs.
func Kubeconfig() (string, error) {
	dir, err := home()
	return filepath.Join(stateIn(dir), "kubeconfig"), err
}

// GetTools gets what Start would get first, so that it takes no time then.
func GetTools(ctx context.Context, progress io.Writer) error {
	if dockerRuns(ctx) {
		return nil
	}
	return nodeTools(ctx, progress)
}
