package controllers_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// signalPod sends a signal to a media pod's process.
func signalPod(t *testing.T, name string, signal syscall.Signal) {
	t.Helper()
	var pod corev1.Pod
	if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: mediaNamespace, Name: name}, &pod); err != nil {
		t.Errorf("looking for pod %s: %v", name, err)
		return
	}
	pid, err := strconv.Atoi(strings.TrimPrefix(pod.Status.ContainerStatuses[0].ContainerID, "process://"))
	if err != nil || pid <= 1 {
		t.Errorf("pod %s has no process: %v", name, err)
		return
	}
	if err := syscall.Kill(pid, signal); err != nil {
		t.Errorf("sending %v to pod %s: %v", signal, name, err)
	}
}

// atBind does something once, when the operator is about to write a claim on a pod. By then
// a room that moves is sealed in the pod that it leaves.
type atBind struct {
	next http.RoundTripper
	mu   sync.Mutex
	do   func(pod string) // nil: nothing
}

func (b *atBind) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, pod, ok := strings.Cut(r.URL.Path, "/namespaces/"+mediaNamespace+"/pods/"); ok && r.Method == http.MethodPatch {
		b.mu.Lock()
		do := b.do
		b.do = nil
		b.mu.Unlock()
		if do != nil {
			do(pod)
		}
	}
	return b.next.RoundTrip(r)
}

func (b *atBind) once(do func(pod string)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.do = do
}

// TestFaults: whatever becomes of the pods of a room, also while it moves, it ends up in one
// of them with everybody in their place; its members come back by themselves.
func TestFaults(t *testing.T) {
	bind := &atBind{}
	startOperator(t, func(rt http.RoundTripper) http.RoundTripper { bind.next = rt; return bind })
	gateway := startGateway(t)
	evict := func(t *testing.T, vr *v1alpha1.VoiceRoom) { must(t, cluster.Delete(t.Context(), podOf(t, vr))) }
	tests := []struct {
		name  string
		fault func(t *testing.T, vr *v1alpha1.VoiceRoom)
		epoch int64
	}{
		{"killed", func(t *testing.T, vr *v1alpha1.VoiceRoom) { signalPod(t, vr.Status.Media.Pod, syscall.SIGKILL) }, 2},
		{"wedged", func(t *testing.T, vr *v1alpha1.VoiceRoom) { signalPod(t, vr.Status.Media.Pod, syscall.SIGSTOP) }, 2},
		{"cut-off", func(t *testing.T, vr *v1alpha1.VoiceRoom) { node.Cut(mediaNamespace, vr.Status.Media.Pod) }, 2},
		{"dead-once-sealed", func(t *testing.T, vr *v1alpha1.VoiceRoom) {
			old := vr.Status.Media.Pod
			bind.once(func(string) { signalPod(t, old, syscall.SIGKILL) })
			evict(t, vr)
		}, 2},
		{"wedged-once-sealed", func(t *testing.T, vr *v1alpha1.VoiceRoom) {
			old := vr.Status.Media.Pod
			bind.once(func(string) { signalPod(t, old, syscall.SIGSTOP) })
			evict(t, vr)
		}, 2},
		{"next-one-dead", func(t *testing.T, vr *v1alpha1.VoiceRoom) {
			bind.once(func(next string) { signalPod(t, next, syscall.SIGKILL) })
			evict(t, vr)
		}, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			waitWarm(t, "default")
			vr := newRoom(t, "fault-"+tt.name)
			waitReady(t, vr)
			members := enter(t, vr, gateway)
			until(t, "the status knows both", func() (bool, error) {
				err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr)
				return vr.Status.Members == 2 && len(vr.Status.Mics) == 2, err
			})
			waitWarm(t, "default")
			before, old := seen(t, vr), vr.Status.Media.Pod
			tt.fault(t, vr)
			until(t, "both are where the room is", func() (bool, error) {
				err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr)
				m := vr.Status.Media
				there := m != nil && m.Epoch > 1 && vr.Status.Members == 2 && meta.IsStatusConditionTrue(vr.Status.Conditions, v1alpha1.ConditionReady)
				for _, member := range members {
					there = there && member.Now().Grant.Epoch == uint64(m.Epoch)
				}
				return there, err
			})
			if vr.Status.Media.Epoch < tt.epoch { // a slow machine may need another try
				t.Errorf("the room is at epoch %d, want %d", vr.Status.Media.Epoch, tt.epoch)
			}
			if diff := cmp.Diff(places(before), places(seen(t, vr))); diff != "" {
				t.Errorf("places (-before +after):\n%s", diff)
			}
			node.Heal(mediaNamespace, old)
			until(t, "only the pod with the room is left", func() (bool, error) { return onePod(t.Context(), vr) })
			removeRoom(t, vr)
		})
	}
}
