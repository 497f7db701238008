package devnode

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"voiceroom.dev/voiceroom/hack/controlplane/child"
)

// sandbox is one pod on this node: its directory, its address, its process and what the probes say of it. Fields above
// mu belong to the worker that holds the pod's key.
type sandbox struct {
	uid     types.UID
	dir     string
	ip      netip.Addr
	inner   netip.Addr // where the process listens: ip, unless a relay stands there
	relay   *relay     // nil without Options.Partitions
	volumes map[string]*projection
	process *child.Process // nil if it could not be started
	output  *podOutput
	killAt  time.Time // when SIGTERM's grace ends; zero before SIGTERM
	cancel  context.CancelFunc
	watches sync.WaitGroup // of the process and its probes

	mu     sync.Mutex
	health health
}

// health is what is known of a process.
type health struct {
	started      metav1.Time
	ready        bool
	readyChanged metav1.Time
	unhealthy    string      // what the liveness or startup probe found, or ""
	ended        metav1.Time // zero while it runs
	exitCode     int32       // once it ended; 128 + n for signal n
	reason       string      // of the terminated state
	message      string
}

func (h *health) running() bool { return h.ended.IsZero() }

// newSandbox makes the pod's directory and projects its volumes. On an error nothing is left of it.
func newSandbox(dir string, uid types.UID, ip, inner netip.Addr, spec *corev1.PodSpec, content map[string]payload) (box *sandbox, err error) {
	box = &sandbox{uid: uid, dir: dir, ip: ip, inner: inner, volumes: map[string]*projection{}, cancel: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := os.MkdirAll(box.work(), 0o700); err != nil {
		return nil, fmt.Errorf("make the pod's directory: %w", err)
	}
	for _, volume := range spec.Volumes {
		if err := os.MkdirAll(box.volumeDir(volume.Name), 0o755); err != nil {
			return nil, fmt.Errorf("make the directory of volume %s: %w", volume.Name, err)
		}
		if _, projected := content[volume.Name]; projected {
			box.volumes[volume.Name] = &projection{dir: box.volumeDir(volume.Name)}
		}
	}
	return box, box.project(content)
}

func (b *sandbox) work() string                 { return filepath.Join(b.dir, "work") }
func (b *sandbox) volumeDir(name string) string { return filepath.Join(b.dir, "volumes", name) }

// project brings the volumes up to date.
func (b *sandbox) project(content map[string]payload) error {
	for name, volume := range b.volumes {
		if err := volume.write(content[name]); err != nil {
			return fmt.Errorf("volume %s: %w", name, err)
		}
	}
	return nil
}

// mounts maps the container's mount paths to the volumes' directories.
func (b *sandbox) mounts(container *corev1.Container) mounts {
	m := mounts{}
	for _, mount := range container.VolumeMounts {
		m[path.Clean(mount.MountPath)] = b.volumeDir(mount.Name)
	}
	return m
}

// watch follows the process and its probes until it ends or the sandbox is stopped. changed is called after every
// change of health.
func (b *sandbox) watch(container *corev1.Container, changed func()) {
	// A pod's life is that of its process, not that of the reconciliation that started it.
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.watches.Go(func() { b.probe(ctx, container, changed) })
	b.watches.Go(func() {
		<-b.process.Done()
		cancel()
		if b.relay != nil {
			b.relay.close()
		}
		b.output.flushRest()
		b.exited(b.process.State(), container.TerminationMessagePolicy)
		changed()
	})
}

// probe runs the container's probes; readiness and liveness wait for startup.
func (b *sandbox) probe(ctx context.Context, container *corev1.Container, changed func()) {
	probes := func(spec *corev1.Probe) *probe {
		return &probe{spec: spec, container: container, podIP: b.inner.String()}
	}
	if container.StartupProbe != nil {
		startup, done := context.WithCancel(ctx)
		up := false
		probes(container.StartupProbe).watch(startup, func(err error) {
			if up = err == nil; !up {
				b.fail("startup probe failed: " + err.Error())
				changed()
			}
			done()
		})
		done()
		if !up {
			return
		}
	}
	if container.LivenessProbe != nil {
		b.watches.Go(func() {
			probes(container.LivenessProbe).watch(ctx, func(err error) {
				if err != nil {
					b.fail("liveness probe failed: " + err.Error())
					changed()
				}
			})
		})
	}
	if container.ReadinessProbe == nil {
		b.setReady(true)
		changed()
		return
	}
	readiness := probes(container.ReadinessProbe)
	readiness.eager = true
	readiness.watch(ctx, func(err error) {
		b.setReady(err == nil)
		changed()
	})
}

func (b *sandbox) snapshot() health {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.health
}

func (b *sandbox) setReady(ready bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.health.ready != ready && b.health.running() {
		b.health.ready, b.health.readyChanged = ready, metav1.Now()
	}
}

func (b *sandbox) fail(message string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.health.unhealthy = message
}

// exited records how the process ended. Its last words become the message if the policy says so; a termination
// message file has no place here.
func (b *sandbox) exited(state *os.ProcessState, policy corev1.TerminationMessagePolicy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := &b.health
	h.ended = metav1.Now()
	if h.ready {
		h.ready, h.readyChanged = false, h.ended
	}
	h.exitCode, h.reason, h.message = int32(state.ExitCode()), "Error", h.unhealthy
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		h.exitCode = 128 + int32(status.Signal())
	}
	if h.exitCode == 0 {
		h.reason = "Completed"
	} else if h.message == "" && policy == corev1.TerminationMessageFallbackToLogsOnError {
		h.message = string(b.output.last)
	}
}

// notStarted records that there never was a process.
func (b *sandbox) notStarted(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := metav1.Now()
	b.health = health{started: now, ended: now, exitCode: 128, reason: "StartError", message: err.Error()}
}

// terminate asks the process to end and kills it when grace has passed, counted from the call that allowed the least
// time. It returns how long to wait until it should be called again; the process may end before.
func (b *sandbox) terminate(now time.Time, grace time.Duration) time.Duration {
	if deadline := now.Add(grace); b.killAt.IsZero() || deadline.Before(b.killAt) {
		if b.killAt.IsZero() {
			b.process.Terminate()
		}
		b.killAt = deadline
	}
	left := b.killAt.Sub(now)
	if left <= 0 {
		b.process.Kill()
		return time.Second
	}
	return left
}

// stop ends the process, waits for everything that watches it, and removes the pod's directory.
func (b *sandbox) stop(grace time.Duration) error {
	if b.process != nil {
		b.process.Stop(grace)
	}
	b.cancel()
	b.watches.Wait()
	if b.relay != nil {
		b.relay.close()
	}
	if err := os.RemoveAll(b.dir); err != nil {
		return fmt.Errorf("remove the pod's directory: %w", err)
	}
	return nil
}
