package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A seat is the right to run the cluster of this machine. The kernel gives it back if the process dies.
type seat struct {
	home string
	file *os.File
}

// home is the directory of everything about the cluster of this machine.
func home() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache directory: %w", err)
	}
	return filepath.Join(cache, "voiceroom"), nil
}

// state is where a running cluster has its state.
func (s *seat) state() string { return stateIn(s.home) }

// logs is where the logs are that go with the cluster.
func (s *seat) logs() string { return filepath.Join(s.home, "cluster-logs") }

func stateIn(home string) string { return filepath.Join(home, "cluster") }

// takeSeat fails if another process has it.
func takeSeat() (*seat, error) {
	dir, err := home()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the cluster's directory: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "cluster.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the cluster's lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer file.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock the cluster: %w", err)
		}
		pid, _ := holder(file)
		return nil, fmt.Errorf("process %d runs a cluster on this machine already; `go run ./hack/cluster/cmd down` ends it", pid)
	}
	if err := errors.Join(file.Truncate(0), write(file, strconv.Itoa(os.Getpid()))); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock the cluster: %w", err)
	}
	return &seat{home: dir, file: file}, nil
}

func write(file *os.File, text string) error {
	_, err := file.WriteAt([]byte(text), 0)
	return err
}

// holder returns the process that has, or had, the seat.
func holder(file *os.File) (int, error) {
	content := make([]byte, 20)
	n, _ := file.ReadAt(content, 0)
	return strconv.Atoi(strings.TrimSpace(string(content[:n])))
}

func (s *seat) leave() { s.file.Close() }

// Holder returns the process that runs the cluster of this machine, or 0.
func Holder() (int, error) {
	dir, err := home()
	if err != nil {
		return 0, err
	}
	file, err := os.Open(filepath.Join(dir, "cluster.lock"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open the cluster's lock: %w", err)
	}
	defer file.Close()
	if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		return 0, nil
	}
	return holder(file)
}
