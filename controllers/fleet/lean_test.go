package fleet

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

func fatPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "default-20000", Namespace: "media", UID: "u", ResourceVersion: "7", Labels: map[string]string{v1alpha1.LabelPool: "default"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "MediaPool", Name: "default"}}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "operator"}}},
		Spec: corev1.PodSpec{NodeName: "n", Tolerations: []corev1.Toleration{{Key: "spot"}}, Volumes: []corev1.Volume{{Name: "keys"}},
			Containers: []corev1.Container{{Name: "media", Image: "i", Args: []string{"--pod-uid=u"}, Env: []corev1.EnvVar{{Name: "POD_IP"}},
				Ports: []corev1.ContainerPort{{Name: "control", ContainerPort: 9443, Protocol: corev1.ProtocolTCP},
					{Name: "media-udp", ContainerPort: 20000, HostPort: 20000, Protocol: corev1.ProtocolUDP}}}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", HostIP: "192.0.2.1", Message: "m", Reason: "r",
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "media", ImageID: "i@sha256:0", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}}}},
	}
}

func lean(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	got, err := Lean(pod.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	return got.(*corev1.Pod)
}

// TestLeanPodTellsTheSame of all that this package and others ask.
func TestLeanPodTellsTheSame(t *testing.T) {
	fat := fatPod()
	got := lean(t, fat)
	if !Ready(got) || !Idle(got) || Ended(got) || Endpoint(got) != Endpoint(fat) || MediaPort(got) != 20000 {
		t.Errorf("ready %t, idle %t, ended %t, endpoint %s, port %d", Ready(got), Idle(got), Ended(got), Endpoint(got), MediaPort(got))
	}
	want := fatPod()
	want.ManagedFields, want.Spec.Volumes = nil, nil
	want.Spec.Containers = []corev1.Container{{Name: "media", Image: "i", Ports: fat.Spec.Containers[0].Ports[1:]}}
	want.Status.ContainerStatuses[0].ImageID = ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lean pod (-want +got):\n%s", diff)
	}
}

// TestPatchOfALeanPod names only what is changed: what was left out stays in the cluster.
func TestPatchOfALeanPod(t *testing.T) {
	stored := lean(t, fatPod())
	claimed := stored.DeepCopy()
	claimed.Labels[v1alpha1.LabelRoomUID] = "r"
	claimed.OwnerReferences = nil
	patch, err := client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{}).Data(claimed)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(patch, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"metadata": map[string]any{"labels": map[string]any{v1alpha1.LabelRoomUID: "r"}, "ownerReferences": nil, "resourceVersion": "7"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("patch (-want +got):\n%s", diff)
	}
}

// TestLeanTombstone: what is no pod passes.
func TestLeanTombstone(t *testing.T) {
	if got, err := Lean("gone"); got != "gone" || err != nil {
		t.Errorf("Lean returns %v, %v", got, err)
	}
}
