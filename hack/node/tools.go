//go:build linux

package node

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

	"voiceroom.dev/voiceroom/hack/kubeassets/kubebin"
)

// Tools are the directories of the binaries that a cluster is made of.
type Tools struct {
	Kubernetes, Runtime, DNS, Policies string
}

// pluginDir is where Debian's containernetworking-plugins are.
const pluginDir = "/usr/lib/cni"

// GetTools builds the binaries that are not in the user's cache, and installs the Debian packages that are missing. It
// says on progress what takes time.
func GetTools(ctx context.Context, progress io.Writer) (Tools, error) {
	if err := installPackages(ctx, progress); err != nil {
		return Tools{}, err
	}
	var t Tools
	for _, set := range []struct {
		dir   *string
		names []string
	}{
		{&t.Kubernetes, kubebin.Cluster()},
		{&t.Runtime, kubebin.ContainerRuntime()},
		{&t.DNS, []string{kubebin.CoreDNS}},
		{&t.Policies, []string{kubebin.KubeRouter}},
	} {
		dir, err := kubebin.Ensure(ctx, progress, set.names...)
		if err != nil {
			return Tools{}, err
		}
		*set.dir = dir
	}
	return t, nil
}

// debian says which package has each program that a node needs.
var debian = map[string]string{
	"runc":                             "runc",
	"ip":                               "iproute2",
	"nft":                              "nftables",
	"iptables":                         "iptables",
	"ipset":                            "ipset",
	"conntrack":                        "conntrack",
	"mount":                            "mount",
	filepath.Join(pluginDir, "bridge"): "containernetworking-plugins",
}

func installPackages(ctx context.Context, progress io.Writer) error {
	packages := missingPackages()
	if len(packages) == 0 {
		return nil
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		return fmt.Errorf("a node needs what Debian has in %s, and there is no apt-get to install it", strings.Join(packages, ", "))
	}
	fmt.Fprintf(progress, "installing Debian's %s\n", strings.Join(packages, ", "))
	for _, args := range [][]string{
		{"update", "-qq"},
		append([]string{"install", "-qq", "--no-install-recommends"}, packages...),
	} {
		cmd := exec.CommandContext(ctx, apt, args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("install Debian's %s: %w: %s", strings.Join(packages, ", "), err, said)
		}
	}
	if still := missingPackages(); len(still) > 0 {
		return errors.New("installed, but without the programs that a node needs: " + strings.Join(still, ", "))
	}
	return nil
}

func missingPackages() []string {
	var packages []string
	for program, pkg := range debian {
		if _, err := exec.LookPath(program); err != nil {
			packages = append(packages, pkg)
		}
	}
	slices.Sort(packages)
	return packages
}
