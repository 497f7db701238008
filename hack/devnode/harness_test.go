package devnode_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/hack/devnode"
)

const testImage = "devnode-test:dev"

// harness is a namespace with a node that runs its pods.
type harness struct {
	*testing.T
	client    client.Client
	namespace string
	node      *devnode.Node // the newest
	output    lockedBuffer
}

// newHarness starts a node, which stops with the test.
func newHarness(t *testing.T, change func(*devnode.Options)) *harness {
	t.Helper()
	h := newNamespace(t)
	h.runNode(change)
	return h
}

// newNamespace makes a harness without a node.
func newNamespace(t *testing.T) *harness {
	t.Helper()
	t.Parallel()
	c, err := client.New(controlPlane(t).Config(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "devnode-"}}
	if err := c.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	return &harness{T: t, client: c, namespace: namespace.Name}
}

// runNode runs a node named after the namespace. The returned function stops it and waits, as does the test's end.
func (h *harness) runNode(change func(*devnode.Options)) (stop func()) {
	h.Helper()
	opts := devnode.Options{
		Config:     controlPlane(h.T).Config(),
		Name:       h.namespace,
		Namespaces: []string{h.namespace},
		Binaries:   map[string]string{testImage: os.Args[0]},
		Output:     &h.output,
	}
	if change != nil {
		change(&opts)
	}
	node, err := devnode.New(opts)
	if err != nil {
		h.Fatal(err)
	}
	h.node = node
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.Error(err)
		}
	})
	h.Cleanup(stop)
	return stop
}

// pod returns a pod of the test program, which a test may change before it creates it.
func (h *harness) pod(name string) *corev1.Pod {
	probe := func(path string) *corev1.Probe {
		return &corev1.Probe{
			PeriodSeconds: 1, FailureThreshold: 1,
			ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("http")}},
		}
	}
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: h.namespace},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{
				Name: "main", Image: testImage,
				Env:            []corev1.EnvVar{{Name: podVariable, Value: "1"}, {Name: "POD_IP", ValueFrom: field("status.podIP")}},
				Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
				ReadinessProbe: probe("/ready"),
			}},
		},
	}
}

func (h *harness) create(objects ...client.Object) {
	h.Helper()
	for _, object := range objects {
		if err := h.client.Create(h.Context(), object); err != nil {
			h.Fatal(err)
		}
	}
}

// until waits for the pod to be as it should, and returns it.
func (h *harness) until(name, what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	h.Helper()
	pod := &corev1.Pod{}
	err := h.poll(func(ctx context.Context) (bool, error) {
		err := h.client.Get(ctx, client.ObjectKey{Namespace: h.namespace, Name: name}, pod)
		return err == nil && ok(pod), nil
	})
	if err != nil {
		status, _ := json.MarshalIndent(pod.Status, "", "  ")
		h.Fatalf("pod %s never was %s: %v\n%s\noutput:\n%s", name, what, err, status, h.output.String())
	}
	return pod
}

func (h *harness) untilReady(name string) *corev1.Pod {
	h.Helper()
	return h.until(name, "ready", isReady)
}

func (h *harness) untilPhase(name string, phase corev1.PodPhase) *corev1.Pod {
	h.Helper()
	return h.until(name, string(phase), func(pod *corev1.Pod) bool { return pod.Status.Phase == phase })
}

func (h *harness) untilGone(pod *corev1.Pod) {
	h.Helper()
	h.eventually("pod "+pod.Name+" is gone", func() bool {
		err := h.client.Get(h.Context(), client.ObjectKeyFromObject(pod), &corev1.Pod{})
		return apierrors.IsNotFound(err)
	})
}

func (h *harness) eventually(what string, ok func() bool) {
	h.Helper()
	if err := h.poll(func(context.Context) (bool, error) { return ok(), nil }); err != nil {
		h.Fatalf("not so: %s: %v\noutput:\n%s", what, err, h.output.String())
	}
}

func (h *harness) poll(condition wait.ConditionWithContextFunc) error {
	return wait.PollUntilContextTimeout(h.Context(), 10*time.Millisecond, time.Minute, true, condition)
}

// ask asks a pod's program; a request that fails is an empty answer.
func (h *harness) ask(pod *corev1.Pod, path string, query url.Values) string {
	h.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + pod.Status.PodIP + ":8080" + path + "?" + query.Encode())
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return ""
	}
	return string(body)
}

// self asks a pod's program what it knows of itself.
func (h *harness) self(pod *corev1.Pod) (s self) {
	h.Helper()
	if err := json.Unmarshal([]byte(h.ask(pod, "/self", nil)), &s); err != nil {
		h.Fatal(err)
	}
	return s
}

// alive tells whether the process of the pod's container exists.
func (h *harness) alive(pod *corev1.Pod) bool {
	h.Helper()
	id, ok := strings.CutPrefix(pod.Status.ContainerStatuses[0].ContainerID, "process://")
	pid, err := strconv.Atoi(id)
	if !ok || err != nil {
		h.Fatalf("container ID %q is no process", pod.Status.ContainerStatuses[0].ContainerID)
	}
	return syscall.Kill(pid, 0) == nil
}

func (s self) lookup(name string) string {
	for _, env := range s.Env {
		if value, ok := strings.CutPrefix(env, name+"="); ok {
			return value
		}
	}
	return fmt.Sprintf("<%s is not set>", name)
}

func isReady(pod *corev1.Pod) bool {
	return condition(pod, corev1.PodReady).Status == corev1.ConditionTrue
}

func condition(pod *corev1.Pod, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

func terminated(pod *corev1.Pod) corev1.ContainerStateTerminated {
	if len(pod.Status.ContainerStatuses) != 1 || pod.Status.ContainerStatuses[0].State.Terminated == nil {
		return corev1.ContainerStateTerminated{}
	}
	return *pod.Status.ContainerStatuses[0].State.Terminated
}

// lockedBuffer is a buffer for concurrent use.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
