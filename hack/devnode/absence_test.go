package devnode_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"voiceroom.dev/voiceroom/hack/devnode"
)

func TestStoppedNodeLeavesNoProcess(t *testing.T) {
	h := newNamespace(t)
	stop := h.runNode(nil)
	h.create(h.pod("pod"))
	running := h.untilReady("pod")
	dir := filepath.Dir(h.self(running).Dir)
	stop()
	if h.alive(running) {
		t.Error("its process is still there")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("its directory is still there: %v", err)
	}
	lost := h.until("pod", "there", func(*corev1.Pod) bool { return true })
	if !isReady(lost) {
		t.Error("a node that is lost cannot have reported it")
	}
	h.runNode(nil)
	failed := h.untilPhase("pod", corev1.PodFailed)
	if failed.Status.Reason != devnode.ReasonNodeRestarted || terminated(failed).ExitCode != 137 {
		t.Errorf("got %s, %+v", failed.Status.Reason, terminated(failed))
	}
}

func TestNodeSurvivesTheAPIServersAbsence(t *testing.T) {
	h := newNamespace(t)
	network := &cut{}
	h.runNode(func(o *devnode.Options) { o.Config.Dial = network.dial })
	h.create(h.pod("leaves"), h.pod("stays"))
	leaves, stays := h.untilReady("leaves"), h.untilReady("stays")
	network.set(true)
	h.ask(leaves, "/exit", url.Values{"code": {"5"}})
	h.eventually("the process is gone", func() bool { return !h.alive(leaves) })
	network.set(false)
	if code := terminated(h.untilPhase("leaves", corev1.PodFailed)).ExitCode; code != 5 {
		t.Errorf("exit code %d, want 5", code)
	}
	if !h.alive(stays) || !isReady(h.untilReady("stays")) {
		t.Error("a pod was hurt by the API server's absence")
	}
	h.create(h.pod("new"))
	h.untilReady("new")
}

// cut is a network that can be cut.
type cut struct {
	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func (c *cut) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && c.down {
		conn.Close()
		return nil, errors.New("the network is cut")
	}
	c.conns = append(c.conns, conn)
	return conn, err
}

func (c *cut) set(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
	for _, conn := range c.conns {
		if conn != nil {
			conn.Close()
		}
	}
	c.conns = nil
}
