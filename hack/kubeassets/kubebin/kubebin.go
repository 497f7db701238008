// Package kubebin provides the binaries of a Kubernetes cluster that tests and the demo run, in the versions that tool
// modules pin: hack/kube those of Kubernetes and etcd, hack/containerd, hack/coredns and hack/kuberouter what a node
// runs beside them. The modules are apart so that their requirements do not meet, and so that a new version of one
// builds nothing else.
//
// Binaries are looked for in this order:
//
//  1. the directory that KUBEBUILDER_ASSETS names;
//  2. the user's cache, in a directory named after the module, what it pins and the Go version;
//  3. setup-envtest's download, which has etcd, kube-apiserver and kubectl;
//  4. a build of the module, which needs nothing but the Go module proxy and takes minutes the first time: about nine
//     on two cores for those of All.
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
	"slices"
	"strings"
)

// The binaries, by the names that they have on disk.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	Kubectl           = "kubectl"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Kubelet           = "kubelet"
	Proxy             = "kube-proxy"

	Containerd     = "containerd"
	ContainerdShim = "containerd-shim-runc-v2"
	Ctr            = "ctr"

	CoreDNS = "coredns"

	KubeRouter = "kube-router" // enforces NetworkPolicies
)

// ControlPlane is what an API server without controllers needs: the set that envtest knows.
func ControlPlane() []string { return []string{Etcd, APIServer, Kubectl} }

// All is ControlPlane and the controller manager, which deletes what is owned and empties namespaces.
func All() []string { return append(ControlPlane(), ControllerManager) }

// Cluster is All and what else of Kubernetes a cluster with nodes runs.
func Cluster() []string { return append(All(), Scheduler, Kubelet, Proxy) }

// ContainerRuntime is containerd, with what it starts and its client; runc comes from elsewhere.
func ContainerRuntime() []string { return []string{Containerd, ContainerdShim, Ctr} }

// assetsVariable is where envtest looks for binaries; it names a directory.
const assetsVariable = "KUBEBUILDER_ASSETS"

// Ensure returns a directory that holds the named binaries, all of one tool module, and gets those that are missing. It
// must be called from within this repository, whose module it finds with `go env`. It says on progress what takes time.
// Calls in several processes at once do the work once. When ctx ends, it stops and keeps what is complete.
func Ensure(ctx context.Context, progress io.Writer, names ...string) (string, error) {
	if dir := os.Getenv(assetsVariable); dir != "" && len(missing(dir, names)) == 0 {
		return dir, nil
	}
	mod, err := moduleOf(names)
	if err != nil {
		return "", err
	}
	module, err := toolModule(ctx, mod.name)
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
		sources:  []source{&release{module: module}, &builder{module: module, packages: mod.packages, env: mod.env, flags: mod.flags}},
	}
	if err := s.ensure(ctx, names); err != nil {
		return "", err
	}
	return dir, nil
}

// A module is a tool module in hack/.
type module struct {
	name     string            // of its directory
	packages map[string]string // main package of each binary
	env      []string          // for go build, beside that of this process
	flags    []string          // for go build
}

func modules() []module {
	static := []string{"CGO_ENABLED=0"}
	const containerd = "github.com/containerd/containerd/v2/cmd/"
	return []module{
		{name: "kube", packages: map[string]string{
			Etcd:              "go.etcd.io/etcd/server/v3",
			APIServer:         "k8s.io/kubernetes/cmd/kube-apiserver",
			Kubectl:           "k8s.io/kubernetes/cmd/kubectl",
			ControllerManager: "k8s.io/kubernetes/cmd/kube-controller-manager",
			Scheduler:         "k8s.io/kubernetes/cmd/kube-scheduler",
			Kubelet:           "k8s.io/kubernetes/cmd/kubelet",
			Proxy:             "k8s.io/kubernetes/cmd/kube-proxy",
		}},
		// The snapshotters that are left out need C libraries or modules of the kernel.
		{name: "containerd", env: static, flags: []string{"-tags=no_btrfs,no_devmapper,no_zfs,no_aufs"}, packages: map[string]string{
			Containerd:     containerd + Containerd,
			ContainerdShim: containerd + ContainerdShim,
			Ctr:            containerd + Ctr,
		}},
		// It is a program of our own, of few of CoreDNS's plugins.
		{name: "coredns", env: static, packages: map[string]string{CoreDNS: "voiceroom.dev/voiceroom/hack/coredns"}},
		{name: "kuberouter", env: static, packages: map[string]string{
			KubeRouter: "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",
		}},
	}
}

// moduleOf returns the module that has all the names.
func moduleOf(names []string) (module, error) {
	for _, m := range modules() {
		has := func(name string) bool { return m.packages[name] != "" }
		if !slices.ContainsFunc(names, func(name string) bool { return !has(name) }) {
			return m, nil
		}
	}
	return module{}, fmt.Errorf("no tool module has all of %s", strings.Join(names, ", "))
}

// toolModule returns the directory of a tool module.
func toolModule(ctx context.Context, name string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "-json", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("ask go for the module's directory: %w", err)
	}
	var env struct{ GOMOD string }
	if err := json.Unmarshal(out, &env); err != nil {
		return "", fmt.Errorf("read the output of go env: %w", err)
	}
	dir := filepath.Join(filepath.Dir(env.GOMOD), "hack", name)
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		return "", fmt.Errorf("find the tool module %s: %w", name, err)
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
	sources, err := filepath.Glob(filepath.Join(module, "*.go"))
	if err != nil {
		return "", fmt.Errorf("find the sources of the tool module: %w", err)
	}
	for _, name := range append([]string{filepath.Join(module, "go.mod"), filepath.Join(module, "go.sum")}, sources...) {
		content, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("read what the tool module pins: %w", err)
		}
		sum.Write(content)
	}
	fmt.Fprint(sum, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return filepath.Join(cache, "voiceroom", filepath.Base(module)+"-"+hex.EncodeToString(sum.Sum(nil))[:16]), nil
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
