package kubebin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// setupEnvtest is the tool that knows where prebuilt binaries are; its version follows controller-runtime's.
const setupEnvtest = "sigs.k8s.io/controller-runtime/tools/setup-envtest@v0.25.1"

const (
	installTimeout  = 60 * time.Second // building a small tool
	probeTimeout    = 8 * time.Second  // one small request: is there a way out to the downloads at all?
	downloadTimeout = 5 * time.Minute
)

// release takes the prebuilt binaries that setup-envtest downloads, of the minor version that a tool module pins.
type release struct {
	module string // the tool module's directory
}

func (r *release) produce(ctx context.Context, dir string, names []string, progress io.Writer) error {
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return !slices.Contains(ControlPlane(), name)
	})
	if len(names) == 0 {
		return nil
	}
	fmt.Fprintf(progress, "looking for a download of %s\n", strings.Join(names, ", "))
	if err := r.download(ctx, dir, names); err != nil {
		fmt.Fprintf(progress, "the download does not work here (%v)\n", err)
		return err
	}
	return nil
}

func (r *release) download(ctx context.Context, dir string, names []string) error {
	version, err := kubernetesVersion(ctx, r.module)
	if err != nil {
		return err
	}
	minor := strings.TrimPrefix(version[:strings.LastIndex(version, ".")+1]+"x", "v")
	tools, err := os.MkdirTemp("", "setup-envtest-")
	if err != nil {
		return fmt.Errorf("make a directory for setup-envtest: %w", err)
	}
	defer os.RemoveAll(tools)
	if _, err := run(ctx, installTimeout, []string{"GOBIN=" + tools}, "go", "install", setupEnvtest); err != nil {
		return fmt.Errorf("build setup-envtest: %w", err)
	}
	tool := filepath.Join(tools, "setup-envtest")
	bin := "--bin-dir=" + filepath.Join(tools, "assets")
	if _, err := run(ctx, probeTimeout, nil, tool, "list", bin, minor); err != nil {
		return fmt.Errorf("list releases: %w", err)
	}
	found, err := run(ctx, downloadTimeout, nil, tool, "use", bin, "-p", "path", minor)
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	for _, name := range names {
		if err := copyExecutable(filepath.Join(found, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// run runs a command and returns what it printed on stdout, trimmed. Its error ends with the last line of stderr.
func run(ctx context.Context, timeout time.Duration, env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return "", fmt.Errorf("no answer within %s: %w", timeout, ctx.Err())
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("%w: %s", err, firstLine(exit.Stderr))
	}
	return strings.TrimSpace(string(out)), err
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return line
}

func copyExecutable(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy a downloaded binary: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return fmt.Errorf("copy a downloaded binary: %w", err)
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return out.Close()
}
