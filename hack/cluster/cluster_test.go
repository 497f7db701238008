package cluster_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"voiceroom.dev/voiceroom/hack/cluster"
	"voiceroom.dev/voiceroom/hack/images"
	"voiceroom.dev/voiceroom/hack/kubeassets/kubebin"
)

const (
	// wanted says that these tests, which start clusters, are to run.
	wanted       = "CLUSTER_TEST"
	roleVariable = "CLUSTER_TEST_ROLE"
)

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	if os.Getenv(roleVariable) == "parent" {
		parent()
		return
	}
	goleak.VerifyTestMain(m)
}

// parent starts a cluster, says so, and waits to be killed.
func parent() {
	if _, err := cluster.Start(context.Background(), cluster.Options{Progress: os.Stderr}); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("up")
	select {}
}

func needCluster(t *testing.T) {
	if os.Getenv(wanted) == "" {
		t.Skipf("it starts a cluster, of which a machine has one at a time: %s=1 and root run it", wanted)
	}
}

// suite is a running cluster and the means to use it.
type suite struct {
	cluster *cluster.Cluster
	kubectl string
}

func TestCluster(t *testing.T) {
	needCluster(t)
	assets, err := kubebin.Ensure(t.Context(), os.Stderr, kubebin.ControlPlane()...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(t.Context(), cluster.Options{Nodes: 2, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop() })
	s := suite{c, filepath.Join(assets, kubebin.Kubectl)}
	if err := c.LoadImages(t.Context(), probeImage(t)); err != nil {
		t.Fatal(err)
	}
	s.run(t, "apply", "-f", "testdata/smoke.yaml")
	s.run(t, "-n", "smoke", "rollout", "status", "statefulset/probe", "--timeout=3m")
	s.run(t, "wait", "--for=condition=Ready", "pod/udp", "--timeout=1m")

	t.Run("DNS and Services", func(t *testing.T) {
		s.eventually(t, "hello from probe-", "exec", "-n", "smoke", "probe-0", "--", "/probe", "get", "http://probe.smoke.svc.cluster.local")
	})
	t.Run("pods of other nodes", func(t *testing.T) {
		s.eventually(t, "hello from probe-1", "exec", "-n", "smoke", "probe-0", "--", "/probe", "get", s.url(t, "probe-1"))
	})
	t.Run("the API server from a pod", func(t *testing.T) {
		s.eventually(t, "gitVersion", "exec", "-n", "smoke", "probe-1", "--", "/probe", "api")
	})
	t.Run("volumes", func(t *testing.T) { s.run(t, "exec", "-n", "smoke", "probe-1", "--", "/probe", "write", "/data/file") })
	t.Run("logs", func(t *testing.T) { s.eventually(t, "serving", "logs", "-n", "smoke", "probe-1") })
	t.Run("hostPort over UDP", func(t *testing.T) { s.testHostPort(t) })
	t.Run("NodePort at every node", func(t *testing.T) { s.testNodePort(t) })
	t.Run("NetworkPolicies", func(t *testing.T) { s.testPolicy(t) })

	for range 2 {
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	nothingLeft(t)
}

func TestDownAfterTheProgramWasKilled(t *testing.T) {
	needCluster(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"=parent")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "up\n" {
		t.Fatalf("the program said %q, %v", line, err)
	}
	if pid, err := cluster.Holder(); err != nil || pid != cmd.Process.Pid {
		t.Errorf("process %d runs the cluster, %v, want %d", pid, err, cmd.Process.Pid)
	}
	if _, err := cluster.Start(t.Context(), cluster.Options{}); err == nil || !strings.Contains(err.Error(), strconv.Itoa(cmd.Process.Pid)) {
		t.Errorf("a second cluster: %v, want a refusal that names the process of the first", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := cluster.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t)
}

// testHostPort sends a datagram from this machine until it comes back.
func (s suite) testHostPort(t *testing.T) {
	node := strings.TrimSpace(s.run(t, "get", "pod", "udp", "-o", "jsonpath={.spec.nodeName}"))
	var address netip.Addr
	for _, n := range s.cluster.Nodes() {
		if n.Name == node {
			address = n.Address
		}
	}
	conn, err := net.Dial("udp", netip.AddrPortFrom(address, 20001).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, func(context.Context) (bool, error) {
		if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
			return false, err
		}
		buf := make([]byte, 16)
		if _, err := conn.Write([]byte("ping")); err != nil {
			return false, nil // the node refused the one before
		}
		n, err := conn.Read(buf)
		return err == nil && string(buf[:n]) == "ping", nil
	})
}

func (s suite) testNodePort(t *testing.T) {
	for _, n := range s.cluster.Nodes() {
		eventually(t, func(ctx context.Context) (bool, error) {
			conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", netip.AddrPortFrom(n.Address, 30081).String())
			if err != nil {
				return false, nil
			}
			return true, conn.Close()
		})
	}
}

// testPolicy closes a pod to another one of another node, and opens it again.
func (s suite) testPolicy(t *testing.T) {
	if !s.cluster.NetworkPolicies() {
		t.Skip("the cluster enforces none")
	}
	get := []string{"exec", "-n", "smoke", "probe-0", "--", "/probe", "get", s.url(t, "probe-1")}
	s.run(t, "apply", "-f", "testdata/policy.yaml")
	eventually(t, func(ctx context.Context) (bool, error) {
		_, err := s.try(ctx, get...)
		return err != nil, nil
	})
	// Who is let in still is.
	s.run(t, "get", "pod", "udp")
	s.eventually(t, "hello from probe-1", "exec", "udp", "--", "/probe", "get", s.url(t, "probe-1"))
	s.run(t, "delete", "-f", "testdata/policy.yaml")
	s.eventually(t, "hello from probe-1", get...)
}

// url is where a pod serves, in the pod network.
func (s suite) url(t *testing.T, pod string) string {
	t.Helper()
	return "http://" + s.run(t, "get", "pod", "-n", "smoke", pod, "-o", "jsonpath={.status.podIP}") + ":8080"
}

func (s suite) try(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, s.kubectl, append([]string{"--kubeconfig=" + s.cluster.Kubeconfig()}, args...)...).CombinedOutput()
	return string(out), err
}

func (s suite) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.try(t.Context(), args...)
	if err != nil {
		t.Fatalf("kubectl %v: %v: %s", args, err, out)
	}
	return out
}

// eventually runs kubectl until it succeeds and prints want.
func (s suite) eventually(t *testing.T, want string, args ...string) {
	t.Helper()
	var out string
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		var err error
		out, err = s.try(ctx, args...)
		return err == nil && strings.Contains(out, want), nil
	})
	if err != nil {
		t.Fatalf("kubectl %v: %v: it printed %q, want %q", args, err, out, want)
	}
}

func eventually(t *testing.T, condition wait.ConditionWithContextFunc) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, condition); err != nil {
		t.Fatal(err)
	}
}

// probeImage builds the image of testdata/probe.
func probeImage(t *testing.T) string {
	t.Helper()
	binary, file := filepath.Join(t.TempDir(), "probe"), filepath.Join(t.TempDir(), "probe.tar")
	cmd := exec.Command("go", "build", "-o", binary, "./testdata/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the probe: %v: %s", err, said)
	}
	archive := images.Archive{Name: "voiceroom-probe:smoke", Entrypoint: []string{"/probe"},
		Files: []images.File{{Path: "/probe", Source: binary, Mode: 0o755}}}
	if err := archive.Write(file); err != nil {
		t.Fatal(err)
	}
	return file
}

// nothingLeft looks for what a cluster of nodes in namespaces could leave on this machine.
func nothingLeft(t *testing.T) {
	t.Helper()
	kubeconfig, err := cluster.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Dir(kubeconfig)
	for _, dir := range []string{state, state + "-logs"} {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
	if interfaces, _ := filepath.Glob("/sys/class/net/vroom*"); len(interfaces) > 0 {
		t.Errorf("interfaces left: %v", interfaces)
	}
	for _, pattern := range []string{"/sys/fs/cgroup/voiceroom-*", "/sys/fs/cgroup/*/voiceroom-*"} {
		if groups, _ := filepath.Glob(pattern); len(groups) > 0 {
			t.Errorf("control groups left: %v", groups)
		}
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range lines {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), state) {
			t.Errorf("process left: %s", strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
}
