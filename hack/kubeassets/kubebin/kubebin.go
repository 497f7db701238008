// Package kubebin provides the Kubernetes binaries that tests and the demo run: etcd, kube-apiserver, kubectl and
// kube-controller-manager, in the versions that the tool module hack/kube pins.
//
// They are looked for in this order:
//
//  1. the directory that KUBEBUILDER_ASSETS names;
//  2. the user's cache, in a directory named after what hack/kube pins and the Go version;
//  3. setup-envtest's download, which has everything but kube-controller-manager;
//  4. a build of hack/kube, which needs nothing but the Go module proxy and takes about nine minutes the first time
//     on two cores.
//
// What 3 and 4 produce goes to the cache. A directory is never removed: delete voiceroom/ in the user's cache
// directory to start afresh.
package kubebin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// The binaries, by the names that they have on disk.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	Kubectl           = "kubectl"
	ControllerManager = "kube-controller-manager"
)

// ControlPlane is what an API server without controllers needs: the set that envtest knows.
func ControlPlane() []string { return []string{Etcd, APIServer, Kubectl} }

// All is ControlPlane and the controller manager, which deletes what is owned and empties namespaces.
func All() []string { return append(ControlPlane(), ControllerManager) }

// assetsVariable is where envtest looks for binaries; it names a directory.
const assetsVariable = "KUBEBUILDER_ASSETS"

// Ensure returns a directory that holds the named binaries, and gets those that are missing. It must be called
// from within this repository, whose module it finds with `go env`. It says on progress what takes time. Calls in
// several processes at once do the work once. When ctx ends, it stops and keeps what is complete.
func Ensure(ctx context.Context, progress io.Writer, names ...string) (string, error) {
	if dir := os.Getenv(assetsVariable); dir != "" && len(missing(dir, names)) == 0 {
		return dir, nil
	}
	module, err := toolModule(ctx)
	if err != nil {
		return "", err
	}
	dir, err := cacheDir(module)
	if err != nil {
		return "", err
	}
	s := store{
		dir:      dir,
		progress: progress,
		sources:  []source{&release{module: module}, &builder{module: module, packages: packages}},
	}
	if err := s.ensure(ctx, names); err != nil {
		return "", err
	}
	return dir, nil
}

// packages says which main package of the tool module each binary is.
var packages = map[string]string{
	Etcd:              "go.etcd.io/etcd/server/v3",
	APIServer:         "k8s.io/kubernetes/cmd/kube-apiserver",
	Kubectl:           "k8s.io/kubernetes/cmd/kubectl",
	ControllerManager: "k8s.io/kubernetes/cmd/kube-controller-manager",
}

// toolModule returns the directory of the module that pins the binaries.
func toolModule(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "-json", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("ask go for the module's directory: %w", err)
	}
	var env struct{ GOMOD string }
	if err := json.Unmarshal(out, &env); err != nil {
		return "", fmt.Errorf("read the output of go env: %w", err)
	}
	dir := filepath.Join(filepath.Dir(env.GOMOD), "hack", "kube")
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		return "", fmt.Errorf("find the tool module of Kubernetes: %w", err)
	}
	return dir, nil
}

// cacheDir names the directory after everything that decides what a build yields.
func cacheDir(module string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache directory: %w", err)
	}
	sum := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", fmt.Errorf("read what the tool module pins: %w", err)
		}
		sum.Write(content)
	}
	fmt.Fprint(sum, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return filepath.Join(cache, "voiceroom", "kube-"+hex.EncodeToString(sum.Sum(nil))[:16]), nil
}

// missing returns those names of which dir has no executable file.
func missing(dir string, names []string) []string {
	var absent []string
	for _, name := range names {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
			absent = append(absent, name)
		}
	}
	return absent
}
