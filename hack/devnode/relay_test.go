package devnode_test

import (
	"io"
	"net/http"
	"testing"

	"voiceroom.dev/voiceroom/hack/devnode"
)

// TestCutPodRunsOn: what is sent to a pod that is cut off waits, its deletion too; its process
// does not, and whoever goes around the cut reaches it.
func TestCutPodRunsOn(t *testing.T) {
	h := newHarness(t, func(o *devnode.Options) { o.Partitions = true })
	h.create(h.pod("island"))
	pod := h.untilReady("island")
	if h.ask(pod, "/self", nil) == "" {
		t.Fatal("the pod does not answer at its address")
	}
	if !h.node.Cut(h.namespace, "island") {
		t.Fatal("there is no such pod")
	}
	answers := make(chan string)
	go func() { answers <- h.ask(pod, "/self", nil) }()
	if err := h.client.Delete(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	inside := "http://" + h.node.ProcessAddress(h.namespace, "island").String() + ":8080/self"
	for range 3 {
		res, err := http.Get(inside)
		if err != nil {
			t.Fatalf("around the cut: %v", err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		select {
		case got := <-answers:
			t.Fatalf("the cut let %q through", got)
		default:
		}
	}
	if !h.alive(pod) {
		t.Error("the process of a pod that is cut off has heard of its deletion")
	}
	h.node.Heal(h.namespace, "island")
	<-answers // it was let through, or the process ended first
	h.untilGone(pod)
	if h.node.Cut(h.namespace, "island") {
		t.Error("a pod that is gone can be cut off")
	}
}

// TestPodsAreNotRelayedUnlessAsked: the process is at the pod's own address.
func TestPodsAreNotRelayedUnlessAsked(t *testing.T) {
	h := newHarness(t, nil)
	h.create(h.pod("plain"))
	pod := h.untilReady("plain")
	if got := h.node.ProcessAddress(h.namespace, "plain").String(); got != pod.Status.PodIP {
		t.Errorf("the process is at %s, the pod at %s", got, pod.Status.PodIP)
	}
	if h.node.Cut(h.namespace, "plain") {
		t.Error("it can be cut off without a relay")
	}
}
