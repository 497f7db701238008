package kubebin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a source that has some binaries ready.
type shelf struct {
	has   []string
	fails error
	asked atomic.Int32
}

func (s *shelf) produce(_ context.Context, dir string, names []string, _ io.Writer) error {
	s.asked.Add(1)
	for _, name := range names {
		for _, have := range s.has {
			if name == have {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
					return err
				}
			}
		}
	}
	return s.fails
}

func TestEnsureAsksEachSourceForWhatIsStillMissing(t *testing.T) {
	download := &shelf{has: []string{"etcd"}, fails: errors.New("no network")}
	build := &shelf{has: []string{"etcd", "kubectl"}}
	s := store{dir: filepath.Join(t.TempDir(), "kube"), progress: io.Discard, sources: []source{download, build}}

	for range 2 {
		if err := s.ensure(t.Context(), []string{"etcd", "kubectl"}); err != nil {
			t.Fatal(err)
		}
	}
	if download.asked.Load() != 1 || build.asked.Load() != 1 {
		t.Errorf("asked %d and %d times, want once each: the second call finds all", download.asked.Load(), build.asked.Load())
	}
	if diff := cmp.Diff([]string{"etcd", "kubectl"}, entries(t, s.dir)); diff != "" {
		t.Errorf("left in the cache (-want +got):\n%s", diff)
	}
}

func TestEnsureNamesWhatNobodyHas(t *testing.T) {
	s := store{
		dir: filepath.Join(t.TempDir(), "kube"), progress: io.Discard,
		sources: []source{&shelf{has: []string{"etcd"}, fails: errors.New("the reason")}},
	}
	err := s.ensure(t.Context(), []string{"etcd", "kubectl"})
	if err == nil || !strings.Contains(err.Error(), "get kubectl: the reason") {
		t.Errorf("got %v, want the missing binary and the reason", err)
	}
	if diff := cmp.Diff([]string{"etcd"}, entries(t, s.dir)); diff != "" {
		t.Errorf("left in the cache (-want +got):\n%s", diff)
	}
}

func TestEnsureWorksOnceForConcurrentRuns(t *testing.T) {
	build := &shelf{has: []string{"etcd"}}
	dir := filepath.Join(t.TempDir(), "kube")
	var runs sync.WaitGroup
	for range 8 {
		runs.Go(func() {
			s := store{dir: dir, progress: io.Discard, sources: []source{build}}
			if err := s.ensure(t.Context(), []string{"etcd"}); err != nil {
				t.Error(err)
			}
		})
	}
	runs.Wait()
	if got := build.asked.Load(); got != 1 {
		t.Errorf("built %d times, want once", got)
	}
}

func TestLockCanBeGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	// The waiting run is cancelled by its own first report.
	_, err = lock(ctx, path, writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestBuilderBuildsFromAModule(t *testing.T) {
	module := t.TempDir()
	write(t, filepath.Join(module, "go.mod"), "module tiny\n\ngo 1.26\n")
	write(t, filepath.Join(module, "hello", "main.go"), "package main\n\nfunc main() { println(\"hello\") }\n")
	write(t, filepath.Join(module, "broken", "main.go"), "package main\n\nfunc main() { undefined() }\n")
	b := &builder{module: module, packages: map[string]string{"greet": "tiny/hello", "broken": "tiny/broken"}}
	out := t.TempDir()

	var progress bytes.Buffer
	if err := b.produce(t.Context(), out, []string{"greet"}, &progress); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command(filepath.Join(out, "greet")).CombinedOutput()
	if err != nil || string(said) != "hello\n" {
		t.Errorf("the binary said %q, %v", said, err)
	}
	if !strings.Contains(progress.String(), "building greet") {
		t.Errorf("progress was %q", progress.String())
	}
	err = b.produce(t.Context(), out, []string{"broken"}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Errorf("got %v, want the compiler's words", err)
	}
}

func TestCacheDirFollowsWhatIsPinned(t *testing.T) {
	module := t.TempDir()
	write(t, filepath.Join(module, "go.mod"), "module a\n")
	write(t, filepath.Join(module, "go.sum"), "")
	first, err := cacheDir(module)
	if err != nil {
		t.Fatal(err)
	}
	again, err := cacheDir(module)
	if err != nil || again != first {
		t.Errorf("got %s, %v, want %s again", again, err, first)
	}
	write(t, filepath.Join(module, "go.sum"), "k8s.io/kubernetes v1.37.3 h1:x\n")
	if changed, err := cacheDir(module); err != nil || changed == first {
		t.Errorf("got %s, %v for other versions", changed, err)
	}
}

func TestToolModulePinsKubernetes(t *testing.T) {
	module, err := toolModule(t.Context(), "kube")
	if err != nil {
		t.Fatal(err)
	}
	version, err := kubernetesVersion(t.Context(), module)
	if err != nil || !strings.HasPrefix(version, "v1.") {
		t.Errorf("got %q, %v, want a version of Kubernetes", version, err)
	}
}

func TestModulesPinTheirPackages(t *testing.T) {
	for _, m := range modules() {
		dir, err := toolModule(t.Context(), m.name)
		if err != nil {
			t.Fatal(err)
		}
		for binary, pkg := range m.packages {
			cmd := exec.Command("go", "list", "-deps", pkg)
			cmd.Dir = dir
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("hack/%s does not pin all of %s: %v: %s", m.name, binary, err, said)
			}
		}
	}
}

func TestEnsureWantsNamesOfOneModule(t *testing.T) {
	t.Setenv(assetsVariable, "")
	_, err := Ensure(t.Context(), io.Discard, Etcd, Containerd)
	if err == nil || !strings.Contains(err.Error(), "no tool module has all of etcd, containerd") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestEnsureTakesTheDirectoryFromTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	for _, name := range ControlPlane() {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(assetsVariable, dir)
	got, err := Ensure(t.Context(), io.Discard, ControlPlane()...)
	if err != nil || got != dir {
		t.Errorf("got %s, %v, want %s", got, err, dir)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return names
}
