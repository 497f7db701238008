package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/bot"
)

// kick: who was kicked is heard no more, and neither its ticket nor its token opens the room again.
func kick(t *testing.T) {
	r, ann, _ := call(t, "kick", func(s *v1alpha1.VoiceRoomSpec) { s.MaxMics = 3 })
	credential := guest(t, "Eve")
	eve := stay(t, r, "Eve", credential)
	speak(t, eve, ann).goesOn(t, 0)
	must(t, ann.Do(t.Context(), "kick", map[string]uint32{"member": eve.Entered.Member}))
	ended(t, eve)
	again := bot.New(bot.Config{Gateway: world.gateway, Room: r.Namespace + "/" + r.Name, Credential: credential, Name: "Eve"})
	if err := again.Ask(t.Context()); code(err) != "kicked" {
		t.Errorf("asking again after a kick: %v", err)
	}
	again.Grant = eve.Now().Grant
	if err := again.Connect(t.Context()); code(err) == "" {
		t.Errorf("the old token after a kick: %v", err)
	}
	must(t, again.Close())
}

// sigkill kills the process of a pod's container. The node runs on this machine.
func sigkill(t *testing.T, pod string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	for _, dir := range processes {
		environment, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || !bytes.Contains(append([]byte{0}, environment...), []byte("\x00HOSTNAME="+pod+"\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		must(t, err)
		must(t, syscall.Kill(pid, syscall.SIGKILL))
		return
	}
	t.Skipf("the process of pod %s is not to be seen from here", pod)
}

// moved waits until the room is in another pod with a later epoch.
func moved(t *testing.T, r *v1alpha1.VoiceRoom, before v1alpha1.RoomMediaStatus) {
	t.Helper()
	await(t, r, "the room is in another pod", func() bool {
		return r.Status.Media != nil && r.Status.Media.Epoch > before.Epoch && r.Status.Media.PodUID != before.PodUID
	})
}

// mediaKilled: the room is in a warm pod with the next epoch, and people come back by
// themselves to their places.
func mediaKilled(t *testing.T) {
	r, ann, bob := call(t, "killed")
	before := *r.Status.Media
	talking := speak(t, ann, bob)
	talking.goesOn(t, before.Epoch)
	sigkill(t, before.Pod)
	moved(t, r, before)
	talking.goesOn(t, before.Epoch+1)
	_, lost, gap := talking.report()
	t.Logf("killed: nothing was heard for %v (%d frames)", gap, lost)
	speak(t, bob, ann).goesOn(t, before.Epoch+1)
	for _, m := range []*bot.Member{ann, bob} {
		if b := m.Now(); b.Entered.Member != m.Entered.Member || b.Entered.Mic == nil || b.Entered.Mic.Index != m.Entered.Mic.Index {
			t.Errorf("came back as %+v, was %+v", b.Entered, m.Entered)
		}
	}
}

// podDeleted: a pod that is deleted by hand keeps its call until the room has moved.
func podDeleted(t *testing.T) {
	r, ann, bob := call(t, "deleted")
	before := *r.Status.Media
	migrates(t, r, ann, bob, func() {
		kubectl(t, "delete", "pod", "-n", mediaNamespace, before.Pod, "--wait=false")
	})
}

// migrates checks that what makes the room's pod go makes the room move, and nobody notices.
func migrates(t *testing.T, r *v1alpha1.VoiceRoom, ann, bob *bot.Member, cause func()) {
	t.Helper()
	before := *r.Status.Media
	talking := speak(t, ann, bob)
	talking.goesOn(t, before.Epoch)
	cause()
	moved(t, r, before)
	talking.goesOn(t, before.Epoch+1)
	heard, lost, gap := talking.report()
	t.Logf("migrated from epoch %d to %d: %d frames heard, %d lost, the longest time between two was %v", before.Epoch, r.Status.Media.Epoch, heard, lost, gap)
	if lost > 1 {
		t.Errorf("%d frames were lost while the room moved", lost)
	}
	for _, m := range []*bot.Member{ann, bob} {
		for _, move := range m.Moves() {
			if move.Why != "moved" && move.Why != "told" {
				t.Errorf("member %d came to epoch %d because of %q, want to be told", m.Entered.Member, move.To, move.Why)
			}
		}
	}
	speak(t, bob, ann).goesOn(t, before.Epoch+1)
}

func evict(t *testing.T, pod string) error {
	t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: mediaNamespace, Name: pod}}
	return world.client.SubResource("eviction").Create(t.Context(), p, &policyv1.Eviction{DeleteOptions: &metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}})
}

// evictions: a pod that holds a room is not evicted, an idle one is.
func evictions(t *testing.T) {
	r, _, _ := call(t, "evicted")
	until(t, "the disruption budget knows the pod", func() (bool, error) {
		var budget policyv1.PodDisruptionBudget
		err := world.client.Get(t.Context(), client.ObjectKey{Namespace: mediaNamespace, Name: "voiceroom-occupied"}, &budget)
		return budget.Status.ExpectedPods >= 1 && budget.Status.ObservedGeneration == budget.Generation, err
	})
	if err := evict(t, r.Status.Media.Pod); !apierrors.IsTooManyRequests(err) {
		t.Errorf("evicting an occupied pod: %v", err)
	}
	if err := evict(t, mediaPod(t).Name); err != nil {
		t.Errorf("evicting an idle pod: %v", err)
	}
}

// cordoned uncordons what the test cordons, and waits until warm pods are back.
func cordoned(t *testing.T, node string) {
	t.Helper()
	t.Cleanup(func() {
		kubectl(t, "uncordon", node)
		await(t, pool, "pods are warm again", func() bool { return pool.Status.Ready >= pool.Spec.Warm })
	})
}

// drain: kubectl drain moves a live room off its node, for which it waits.
func drain(t *testing.T) {
	r, ann, bob := call(t, "drained")
	node := r.Status.Media.Node
	cordoned(t, node)
	migrates(t, r, ann, bob, func() {
		kubectl(t, "drain", node, "--pod-selector", v1alpha1.LabelPool, "--force", "--timeout", "3m")
	})
	if r.Status.Media.Node == node {
		t.Errorf("the room moved, but not from node %s", node)
	}
}

// drainCloses: a room that asks for it ends when its node is drained.
func drainCloses(t *testing.T) {
	r, ann, _ := call(t, "drained-closes", func(s *v1alpha1.VoiceRoomSpec) { s.Media.Drain.Policy = v1alpha1.DrainClose })
	cordoned(t, r.Status.Media.Node)
	kubectl(t, "cordon", r.Status.Media.Node)
	await(t, r, "the room is closed", func() bool { return r.Status.Phase == v1alpha1.RoomClosed })
	if r.Status.CloseReason != v1alpha1.CloseDrained {
		t.Errorf("closed with the reason %s", r.Status.CloseReason)
	}
	ended(t, ann)
	if note := told(t, r, "Closed"); !strings.Contains(note, "cordoned") && !strings.Contains(note, "unschedulable") {
		t.Errorf("the Event does not say why: %q", note)
	}
}

// leaderKilled: another operator leads, and calls go on meanwhile.
func leaderKilled(t *testing.T) {
	r, ann, bob := call(t, "led")
	talking := speak(t, ann, bob)
	leader := func() string {
		var lease coordinationv1.Lease
		must(t, world.client.Get(t.Context(), client.ObjectKey{Namespace: "kube-system", Name: "voiceroom-operator"}, &lease))
		return ptr.Deref(lease.Spec.HolderIdentity, "")
	}
	first := leader()
	pod, _, _ := strings.Cut(first, "_")
	sigkill(t, pod) // its pod may start another, which may be the next to lead
	until(t, "another operator leads", func() (bool, error) {
		now := leader()
		return now != "" && now != first, fmt.Errorf("%s leads", now)
	})
	ticket(t, newRoom(t, "led-by-the-next"))
	talking.goesOn(t, r.Status.Media.Epoch)
	heard, lost, gap := talking.report()
	t.Logf("without a leader: %d frames heard, %d lost, the longest time between two was %v", heard, lost, gap)
	if lost > 1 {
		t.Errorf("%d frames were lost while operators changed", lost)
	}
}
