package kubebin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// progressEvery is how often a build that takes long says that it is alive.
const progressEvery = 15 * time.Second

// builder builds binaries from the main packages that a tool module requires.
type builder struct {
	module   string            // the module's directory
	packages map[string]string // main package of each binary
	env      []string          // for go build, beside that of this process
	flags    []string          // for go build
}

func (b *builder) produce(ctx context.Context, dir string, names []string, progress io.Writer) error {
	stamp, err := versionFlags(ctx, b.module)
	if err != nil {
		return err
	}
	fmt.Fprintf(progress, "building %s from Go modules, which takes minutes the first time\n",
		strings.Join(names, ", "))
	begun := time.Now()
	for i, name := range names {
		step := fmt.Sprintf("building %s (%d of %d)", name, i+1, len(names))
		if err := b.build(ctx, name, filepath.Join(dir, name), stamp, newTicker(progress, step, begun)); err != nil {
			return err
		}
	}
	fmt.Fprintf(progress, "built %s in %s\n", strings.Join(names, ", "), time.Since(begun).Round(time.Second))
	return nil
}

func (b *builder) build(ctx context.Context, name, out, stamp string, tick *ticker) error {
	pkg, ok := b.packages[name]
	if !ok {
		return fmt.Errorf("build %s: not a binary that is known here", name)
	}
	// -v names each package on stderr as it is compiled, which is the only sign of life of a long build.
	args := append([]string{"build", "-v", "-trimpath", "-ldflags=-s -w " + stamp, "-o", out}, b.flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Dir = b.module
	cmd.Env = append(os.Environ(), b.env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("build %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("build %s: %w", name, err)
	}
	stop := tick.run()
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		tick.saw(lines.Text())
	}
	err = cmd.Wait()
	stop()
	if err != nil {
		return fmt.Errorf("build %s: %w: %s", name, err, tick.tail())
	}
	return nil
}

// versionFlags returns the linker flags that make Kubernetes' binaries tell their version: built from modules they
// would call themselves v0.0.0, and clients that compare versions would believe it. They are empty for a module
// without Kubernetes.
func versionFlags(ctx context.Context, module string) (string, error) {
	version, err := kubernetesVersion(ctx, module)
	if err != nil || version == "" {
		return "", err
	}
	major, minor, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	var flags []string
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags, "-X "+pkg+".gitVersion="+version, "-X "+pkg+".gitMajor="+major, "-X "+pkg+".gitMinor="+minor)
	}
	return strings.Join(flags, " "), nil
}

// kubernetesVersion returns the version of Kubernetes that the module requires (v1.2.3), or "" if it requires none.
func kubernetesVersion(ctx context.Context, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Version}}", "all")
	cmd.Dir = module
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask go for the version of Kubernetes: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if version, ok := strings.CutPrefix(line, "k8s.io/kubernetes "); ok {
			return strings.TrimSpace(version), nil
		}
	}
	return "", nil
}

// ticker reports a step's progress at intervals. It is safe for concurrent use.
type ticker struct {
	progress io.Writer
	step     string
	begun    time.Time

	mu     sync.Mutex
	recent []string // the latest lines of the build's output
}

func newTicker(progress io.Writer, step string, begun time.Time) *ticker {
	return &ticker{progress: progress, step: step, begun: begun}
}

// run reports until the returned function is called, which waits for the last report.
func (t *ticker) run() (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		clock := time.NewTicker(progressEvery)
		defer clock.Stop()
		for {
			select {
			case <-quit:
				return
			case now := <-clock.C:
				fmt.Fprintf(t.progress, "%s, %s so far: %s\n", t.step, now.Sub(t.begun).Round(time.Second), t.last())
			}
		}
	}()
	return func() { close(quit); <-done }
}

// saw notes a line of output.
func (t *ticker) saw(line string) {
	const kept = 20
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recent = append(t.recent, line)
	if len(t.recent) > kept {
		t.recent = t.recent[1:]
	}
}

func (t *ticker) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.recent) == 0 {
		return "starting, or linking what the build cache has"
	}
	return t.recent[len(t.recent)-1]
}

func (t *ticker) tail() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.recent, "\n")
}
