//go:build linux

package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"voiceroom.dev/voiceroom/hack/controlplane"
	"voiceroom.dev/voiceroom/hack/controlplane/child"
	"voiceroom.dev/voiceroom/hack/kubeassets/kubebin"
	"voiceroom.dev/voiceroom/hack/node/spec"
)

// socket is where containerd serves, as a node sees it.
const socket = "/run/containerd/containerd.sock"

// runtimeSuffix, after the name of a node, is a link in the cluster's directory to where the node's containerd serves.
const runtimeSuffix = ".containerd.sock"

// A machine is a running node.
type machine struct {
	name    string
	address netip.Addr
	process *child.Process
}

// buildMachine builds the first process of nodes.
func (g *Group) buildMachine(ctx context.Context) error {
	return g.compile(ctx, "machine", g.path("machine"))
}

// compile builds a command in a folder of this package, with nothing to link at run time.
func (g *Group) compile(ctx context.Context, command, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "voiceroom.dev/voiceroom/hack/node/"+command)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", command, err, said)
	}
	return nil
}

// path is a path in the cluster's directory.
func (g *Group) path(elements ...string) string {
	return filepath.Join(append([]string{g.opts.Dir}, elements...)...)
}

// startMachine starts node i. The machine that it returns has to be stopped even if there is an error.
func startMachine(g *Group, i int) (*machine, error) {
	m := &machine{name: nodeName(i), address: nodeAddress(i)}
	fmt.Fprintf(g.opts.Progress, "starting %s\n", m.name)
	if err := makeCgroup(m.name); err != nil {
		return nil, err
	}
	if err := g.writeFiles(m, i); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(g.logs(m), "machine.log"))
	if err != nil {
		return nil, fmt.Errorf("open a log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(g.path("machine"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", m.name, err)
	}
	defer in.Close()
	if m.process, err = child.Start(cmd); err != nil {
		return nil, err
	}
	// The node's containerd is reached through the file system of the machine's first process.
	inside := filepath.Join("/proc", strconv.Itoa(m.process.PID()), "root", socket)
	if err := os.Symlink(inside, g.path(m.name+runtimeSuffix)); err != nil {
		return m, fmt.Errorf("lay out %s: %w", m.name, err)
	}
	// The machine waits for its specification: its interface is there when it comes.
	if err := connect(i, m.process.PID()); err != nil {
		return m, err
	}
	if err := json.NewEncoder(in).Encode(g.spec(m, i)); err != nil {
		return m, fmt.Errorf("tell %s what it is: %w", m.name, err)
	}
	return m, nil
}

// logs is the directory of a node's logs.
func (g *Group) logs(m *machine) string { return filepath.Join(g.opts.LogDir, m.name) }

// writeFiles writes what the node's programs read.
func (g *Group) writeFiles(m *machine, i int) error {
	etc := g.path(m.name, "etc")
	dirs := []string{filepath.Join(etc, "cni"), g.logs(m)}
	for _, dir := range []string{"lib/kubelet", "lib/containerd", "lib/cni", "log/containers", "tmp"} {
		dirs = append(dirs, g.path(m.name, "var", dir))
	}
	for n := range volumesPerNode {
		dirs = append(dirs, g.path(m.name, volumePath(n)))
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("lay out %s: %w", m.name, err)
		}
	}
	for name, user := range map[string][]string{
		kubebin.Kubelet:    {"system:node:" + m.name, "system:nodes"},
		kubebin.Proxy:      {"system:kube-proxy"},
		kubebin.KubeRouter: {"kube-router", "system:masters"},
	} {
		cfg, err := g.plane.User(user[0], user[1:]...)
		if err != nil {
			return err
		}
		if err := controlplane.WriteKubeconfig(filepath.Join(etc, name+".kubeconfig"), cfg); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(etc, "authority.crt"), g.plane.ClientAuthority(), 0o600); err != nil {
		return fmt.Errorf("lay out %s: %w", m.name, err)
	}
	if err := g.plane.ServingCertificate(etc, kubebin.Kubelet, net.IP(m.address.AsSlice())); err != nil {
		return err
	}
	return writeConfigs(etc, configuration{
		Name: m.name, Etc: etc, Logs: g.logs(m), DNS: dns.String(), Pods: podRange(i).String(), AllPods: pods.String(),
		Cgroup: "/" + cgroupPrefix + m.name, Plugins: pluginDir, Pause: pauseImage, Socket: socket,
	})
}

// spec says what the node's machine is.
func (g *Group) spec(m *machine, i int) spec.Machine {
	etc := g.path(m.name, "etc")
	program := func(dir, name string, flags ...string) spec.Program {
		return spec.Program{Name: name, Command: append([]string{filepath.Join(dir, name)}, flags...)}
	}
	containerd := program(g.tools.Runtime, kubebin.Containerd, "--config="+filepath.Join(etc, "containerd.toml"))
	containerd.Serves = socket
	return spec.Machine{
		Name:    m.name,
		Var:     g.path(m.name, "var"),
		LogDir:  g.logs(m),
		Path:    g.tools.Runtime + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		Network: nodeNetwork(i, g.opts.Nodes),
		// As k8s.io/kubernetes/pkg/util/sysctl has them.
		Tunables: map[string]string{
			"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
			"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
		},
		Programs: []spec.Program{
			containerd,
			program(g.tools.Kubernetes, kubebin.Kubelet,
				"--config="+filepath.Join(etc, "kubelet.yaml"),
				"--kubeconfig="+filepath.Join(etc, kubebin.Kubelet+".kubeconfig"),
				"--hostname-override="+m.name, "--node-ip="+m.address.String()),
			program(g.tools.Kubernetes, kubebin.Proxy, "--config="+filepath.Join(etc, "kube-proxy.yaml"),
				"--hostname-override="+m.name),
			program(g.tools.Policies, kubebin.KubeRouter,
				"--kubeconfig="+filepath.Join(etc, kubebin.KubeRouter+".kubeconfig"),
				"--hostname-override="+m.name, "--service-cluster-ip-range="+services.String(),
				"--run-firewall=true", "--run-router=false", "--run-service-proxy=false", "--run-loadbalancer=false",
				"--metrics-port=0", "--health-port=0"),
		},
	}
}

// waitRuntime returns once the node's containerd serves.
func (g *Group) waitRuntime(ctx context.Context, m *machine) error {
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, readyTimeout, true, func(context.Context) (bool, error) {
		_, err := os.Stat(g.path(m.name + runtimeSuffix))
		return err == nil, m.ended()
	})
	if err != nil {
		return fmt.Errorf("wait for containerd of %s: %w", m.name, err)
	}
	return nil
}

// ended is an error if the machine has ended.
func (m *machine) ended() error {
	select {
	case <-m.process.Done():
		return fmt.Errorf("%s ended; its logs tell why, machine.log first", m.name)
	default:
		return nil
	}
}

func (m *machine) stop() {
	m.process.Kill()
	<-m.process.Done()
}
