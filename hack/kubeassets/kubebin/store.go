package kubebin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A source can produce some of the binaries.
type source interface {
	// produce writes an executable file for each of names that it has to dir/<name>, and reports on progress. An
	// error means that another source may be asked; files of binaries it did finish are used all the same.
	produce(ctx context.Context, dir string, names []string, progress io.Writer) error
}

// store is a directory of binaries, filled from sources in their order.
type store struct {
	dir      string
	progress io.Writer
	sources  []source
}

// ensure returns once dir holds the named binaries. A file appears there complete or not at all.
func (s *store) ensure(ctx context.Context, names []string) error {
	if len(missing(s.dir, names)) == 0 {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("make the cache: %w", err)
	}
	unlock, err := lock(ctx, s.dir+".lock", s.progress)
	if err != nil {
		return err
	}
	defer unlock()

	var errs []error
	for _, src := range s.sources {
		absent := missing(s.dir, names)
		if len(absent) == 0 {
			return nil
		}
		if err := s.fill(ctx, src, absent); err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if absent := missing(s.dir, names); len(absent) > 0 {
		return fmt.Errorf("no way to get %s: %w", strings.Join(absent, ", "), errors.Join(errs...))
	}
	return nil
}

// fill asks one source and moves what it produced into the store. The caller holds the lock.
func (s *store) fill(ctx context.Context, src source, names []string) error {
	work := filepath.Join(s.dir, ".partial")
	if err := os.RemoveAll(work); err != nil { // of a run that was killed
		return fmt.Errorf("clear the working directory: %w", err)
	}
	if err := os.Mkdir(work, 0o755); err != nil {
		return fmt.Errorf("make a working directory: %w", err)
	}
	defer os.RemoveAll(work)
	failed := src.produce(ctx, work, names, s.progress)
	for _, name := range names {
		err := os.Rename(filepath.Join(work, name), filepath.Join(s.dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("move %s into the cache: %w", name, err)
		}
	}
	return failed
}

// lock takes the lock file at path, which the kernel releases if this process dies. It waits for another holder.
func lock(ctx context.Context, path string, progress io.Writer) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the cache's lock: %w", err)
	}
	told := false
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, fmt.Errorf("lock the cache: %w", err)
		}
		if !told {
			fmt.Fprintln(progress, "another run is getting the Kubernetes binaries; waiting for it")
			told = true
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
