package stack

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/hack/controlplane"
	"voiceroom.dev/voiceroom/hack/controlplane/child"
)

// startProcesses starts chat, operator and gateway, the latter two with the
// credentials of their service accounts.
func (s *Stack) startProcesses(ctx context.Context) error {
	for _, name := range []string{"chat", "gateway", "operator"} { // the operator's flags name the gateway
		if err := s.define(name, name); err != nil {
			return err
		}
	}
	names := []string{"chat", "operator", "gateway"}
	if s.opts.FakeFleet {
		names = []string{"chat", "operator", "fakefleet"}
		if err := s.define("fakefleet", "fakefleet"); err != nil {
			return err
		}
	}
	for _, name := range names {
		s.opts.Progress("starting the " + name)
		if err := s.StartProcess(name); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := s.WaitProcess(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// PID is the number of a process that runs.
func (s *Stack) PID(name string) int { return s.process(name).PID() }

// Ended says whether a process runs no more, or never did.
func (s *Stack) Ended(name string) bool {
	p := s.process(name)
	return p == nil || p.State() != nil
}

// WaitProcess waits until a process is ready, as a Service in a cluster does before it
// sends anybody there.
func (s *Stack) WaitProcess(ctx context.Context, name string) error {
	return s.waitHealthy(ctx, name, s.HealthURL(name)+"/readyz")
}

// serviceAccount writes a kubeconfig of a process for a user with a service account's
// name, who reaches the API server at an address, and returns the environment that makes
// a command use it.
func (s *Stack) serviceAccount(process, name, address string) ([]string, error) {
	return s.user(process, address, fmt.Sprintf("system:serviceaccount:%s:%s", SystemNamespace, name),
		"system:serviceaccounts", "system:serviceaccounts:"+SystemNamespace)
}

// user is serviceAccount for any user; without an address, at the API server's own.
func (s *Stack) user(process, address, name string, groups ...string) ([]string, error) {
	cfg, err := s.plane.User(name, groups...)
	if err != nil {
		return nil, err
	}
	if address != "" {
		cfg.Host = "https://" + address
	}
	path := filepath.Join(s.Dir, process+".kubeconfig")
	return []string{"KUBECONFIG=" + path}, controlplane.WriteKubeconfig(path, cfg)
}

// StartProcess starts "chat", "operator", "gateway" or a replica of theirs (again).
func (s *Stack) StartProcess(name string) error {
	p, err := child.Start(s.exec(s.command(name)))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes[name] = p
	return nil
}

// StopProcess ends a process with SIGTERM and waits.
func (s *Stack) StopProcess(name string) {
	if p := s.process(name); p != nil {
		p.Stop(stopGrace)
	}
}

// KillProcess ends a process with SIGKILL and waits.
func (s *Stack) KillProcess(name string) {
	if p := s.process(name); p != nil {
		p.Kill()
		<-p.Done()
	}
}

// KillPod kills a media pod's process with SIGKILL, as the kernel does when memory
// runs out.
func (s *Stack) KillPod(ctx context.Context, name string) error {
	return s.SignalPod(ctx, name, syscall.SIGKILL)
}

// CutPod parts a media pod from operator and gateway, but not from its clients, until
// HealPod. It is false if no such pod runs. It needs Options.Partitions.
func (s *Stack) CutPod(name string) bool { return s.node.Cut(MediaNamespace, name) }

// HealPod ends what CutPod began.
func (s *Stack) HealPod(name string) bool { return s.node.Heal(MediaNamespace, name) }

// PodProcessAddress is where a media pod's process listens, also while the pod is cut off;
// the zero Addr if it does not run.
func (s *Stack) PodProcessAddress(name string) netip.Addr {
	return s.node.ProcessAddress(MediaNamespace, name)
}

// SignalPod sends a signal to a media pod's process.
func (s *Stack) SignalPod(ctx context.Context, name string, signal syscall.Signal) error {
	var pod corev1.Pod
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: MediaNamespace, Name: name}, &pod); err != nil {
		return fmt.Errorf("looking for pod %s: %w", name, err)
	}
	if len(pod.Status.ContainerStatuses) == 0 {
		return fmt.Errorf("pod %s has no container", name)
	}
	id := pod.Status.ContainerStatuses[0].ContainerID // the development node's: process://PID
	pid, err := strconv.Atoi(strings.TrimPrefix(id, "process://"))
	if err != nil || pid <= 1 {
		return fmt.Errorf("pod %s has no process: %q", name, id)
	}
	if err := syscall.Kill(pid, signal); err != nil {
		return fmt.Errorf("sending %v to the process of pod %s: %w", signal, name, err)
	}
	return nil
}

func (s *Stack) process(name string) *child.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.processes[name]
}

// waitHealthy waits for a process to be ready, or to have ended.
func (s *Stack) waitHealthy(ctx context.Context, name, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	ended := s.process(name).Done()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("the %s ended: %v", name, s.process(name).State())
		case <-ctx.Done():
			return fmt.Errorf("the %s did not become ready: %w", name, ctx.Err())
		}
	}
}
