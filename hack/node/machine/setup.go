//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"voiceroom.dev/voiceroom/hack/node/spec"
)

// setUp makes the namespaces into a machine: its own name, /proc, /run and /var, and its own network.
func setUp(m spec.Machine) error {
	if err := syscall.Sethostname([]byte(m.Name)); err != nil {
		return fmt.Errorf("set the machine's name: %w", err)
	}
	for _, mount := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		// Nothing that is mounted here is seen outside; inside, containers may see it.
		{"", "/", "", syscall.MS_REC | syscall.MS_PRIVATE},
		{"", "/", "", syscall.MS_REC | syscall.MS_SHARED},
		{"proc", "/proc", "proc", 0},
		{"tmpfs", "/run", "tmpfs", 0},
		{m.Var, "/var", "", syscall.MS_BIND},
	} {
		if err := syscall.Mount(mount.source, mount.target, mount.kind, mount.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", mount.target, err)
		}
	}
	if err := keepKernel(m.Tunables); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"net/ipv4/ip_forward":                 "1",
		"net/bridge/bridge-nf-call-iptables":  "1", // policies and Services hold between pods of one bridge, too
		"net/bridge/bridge-nf-call-ip6tables": "1",
	} {
		if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("set up the network: %w", err)
		}
	}
	for _, args := range m.Network {
		if said, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("set up the network: ip %q: %w: %s", args, err, said)
		}
	}
	return nil
}

// keepKernel covers settings of the kernel, which is the host's, by files that hold what kubelet wants: it would change
// them for the host.
func keepKernel(tunables map[string]string) error {
	for name, value := range tunables {
		target := filepath.Join("/proc/sys", name)
		cover := filepath.Join("/run", filepath.Base(name))
		if err := os.WriteFile(cover, []byte(value+"\n"), 0o600); err != nil {
			return fmt.Errorf("cover %s: %w", target, err)
		}
		if err := syscall.Mount(cover, target, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("cover %s: %w", target, err)
		}
	}
	return nil
}
