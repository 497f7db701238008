package mediapool

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

var now = time.Unix(1_700_000_000, 0)

type state int

const (
	ready state = iota
	starting
	assigned
	failed
	leaving
)

// podOn is a pod of the pool p on a port.
func podOn(port int32, s state) corev1.Pod {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: podName("p", port), UID: types.UID(podName("uid", port)),
		Labels: map[string]string{v1alpha1.LabelPool: "p"}, CreationTimestamp: metav1.NewTime(now.Add(-time.Hour))}}
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1",
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	switch s {
	case starting:
		pod.Status = corev1.PodStatus{Phase: corev1.PodPending}
	case assigned:
		pod.Labels[v1alpha1.LabelRoomUID] = "room"
	case failed:
		pod.Status = corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "first\nno keys in /etc/voiceroom/keys",
				FinishedAt: metav1.NewTime(now.Add(-time.Second))}}}}}
	case leaving:
		at := metav1.NewTime(now)
		pod.DeletionTimestamp = &at
	}
	return pod
}

func pool(warm, most int32) *v1alpha1.MediaPool {
	p := &v1alpha1.MediaPool{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
	p.Spec = v1alpha1.MediaPoolSpec{Warm: warm, MaxPods: most, Network: v1alpha1.PoolNetwork{PortRange: v1alpha1.PortRange{Min: 20000, Max: 20004}}}
	return p
}

// lowest picks the first of the free ports.
func lowest(int) int { return 0 }

func TestFreePortsStartAnywhere(t *testing.T) {
	got := freePorts(pool(1, 10), []corev1.Pod{podOn(20001, assigned)}, func(n int) int { return n - 1 })
	if diff := cmp.Diff([]int32{20004, 20000, 20002, 20003}, got); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

func TestPlan(t *testing.T) {
	old := podOn(20000, failed)
	old.Status.ContainerStatuses[0].State.Terminated.FinishedAt = metav1.NewTime(now.Add(-failedFor))
	type outcome struct {
		Ports  []int32 // of the pods that are made
		Remove []string
		Short  string
	}
	for name, tt := range map[string]struct {
		warm, most int32
		pods       []corev1.Pod
		promised   string
		want       outcome
		waiting    int // rooms
	}{
		"nothing there":                     {2, 10, nil, "", outcome{Ports: []int32{20000, 20001}}, 0},
		"enough":                            {2, 10, []corev1.Pod{podOn(20000, ready), podOn(20001, starting)}, "", outcome{}, 0},
		"assigned pods are not warm":        {1, 10, []corev1.Pod{podOn(20000, assigned)}, "", outcome{Ports: []int32{20001}}, 0},
		"promised pods are not counted on":  {1, 10, []corev1.Pod{podOn(20000, ready)}, "p-20000", outcome{Ports: []int32{20001}}, 0},
		"a pod that leaves keeps its port":  {1, 10, []corev1.Pod{podOn(20000, leaving)}, "", outcome{Ports: []int32{20001}}, 0},
		"ports between are used":            {3, 10, []corev1.Pod{podOn(20000, ready), podOn(20002, ready)}, "", outcome{Ports: []int32{20001}}, 0},
		"surplus: those that start first":   {1, 10, []corev1.Pod{podOn(20000, ready), podOn(20001, starting)}, "", outcome{Remove: []string{"p-20001"}}, 0},
		"surplus never takes promised pods": {0, 10, []corev1.Pod{podOn(20000, ready), podOn(20001, ready)}, "p-20000", outcome{Remove: []string{"p-20001"}}, 0},
		"surplus never takes assigned pods": {0, 10, []corev1.Pod{podOn(20000, assigned)}, "", outcome{}, 0},
		"maxPods counts everything":         {3, 4, []corev1.Pod{podOn(20000, assigned), podOn(20001, leaving), podOn(20002, ready)}, "", outcome{Ports: []int32{20003}, Short: v1alpha1.ReasonMaxPodsReached}, 0},
		"more pods than maxPods":            {1, 1, []corev1.Pod{podOn(20000, assigned), podOn(20001, assigned)}, "", outcome{Short: v1alpha1.ReasonMaxPodsReached}, 0},
		"no ports left":                     {6, 10, []corev1.Pod{podOn(20001, assigned)}, "", outcome{Ports: []int32{20000, 20002, 20003, 20004}, Short: v1alpha1.ReasonPortsExhausted}, 0},
		"a fresh failure is not replaced":   {1, 10, []corev1.Pod{podOn(20000, failed)}, "", outcome{}, 0},
		"an old failure is":                 {1, 10, []corev1.Pod{old}, "", outcome{Ports: []int32{20001}, Remove: []string{"p-20000"}}, 0},
		"a pod for each room that waits":    {0, 10, nil, "", outcome{Ports: []int32{20000, 20001}}, 2},
		"which is kept until it is claimed": {0, 10, []corev1.Pod{podOn(20000, ready)}, "", outcome{}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := makePlan(pool(tt.warm, tt.most), int(tt.warm)+tt.waiting, tt.pods, func(pod *corev1.Pod) bool { return pod.Name == tt.promised }, lowest, now)
			got := outcome{Short: p.short}
			if p.missing > 0 {
				got.Ports = p.create[:p.missing]
			}
			for _, pod := range p.remove {
				got.Remove = append(got.Remove, pod.Name)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanLooksAgainAtFailures(t *testing.T) {
	p := makePlan(pool(1, 10), 1, []corev1.Pod{podOn(20000, failed)}, func(*corev1.Pod) bool { return false }, lowest, now)
	if want := failedFor - time.Second; p.again != want {
		t.Errorf("again in %v, want %v", p.again, want)
	}
}

func TestReadiness(t *testing.T) {
	stuck := podOn(20001, starting)
	stuck.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no node has free ports"}}
	for name, tt := range map[string]struct {
		warm   int32
		pods   []corev1.Pod
		short  string
		reason string
		says   string
	}{
		"warm":      {1, []corev1.Pod{podOn(20000, ready)}, "", v1alpha1.ReasonWarm, "1 of 1 warm pods ready"},
		"starting":  {1, []corev1.Pod{podOn(20000, starting)}, "", v1alpha1.ReasonStarting, "1 starting"},
		"stuck":     {1, []corev1.Pod{stuck}, "", v1alpha1.ReasonStarting, "no node has free ports"},
		"failed":    {1, []corev1.Pod{podOn(20000, failed)}, "", v1alpha1.ReasonPodFailed, "exit code 1 (Error): no keys in /etc/voiceroom/keys"},
		"no ports":  {1, []corev1.Pod{podOn(20000, assigned)}, v1alpha1.ReasonPortsExhausted, v1alpha1.ReasonPortsExhausted, "no port is free between 20000 and 20004"},
		"too many":  {1, []corev1.Pod{podOn(20000, assigned)}, v1alpha1.ReasonMaxPodsReached, v1alpha1.ReasonMaxPodsReached, "1 assigned, 1 pods of at most 9"},
		"warm is 0": {0, nil, "", v1alpha1.ReasonWarm, "0 of 0"},
	} {
		t.Run(name, func(t *testing.T) {
			c := readiness(pool(tt.warm, 9), countPods(tt.pods), tt.short)
			if want := tt.reason == v1alpha1.ReasonWarm; (c.Status == metav1.ConditionTrue) != want || c.Reason != tt.reason {
				t.Errorf("Ready is %s for %s, want %s", c.Status, c.Reason, tt.reason)
			}
			if !strings.Contains(c.Message, tt.says) {
				t.Errorf("message %q does not say %q", c.Message, tt.says)
			}
		})
	}
}
