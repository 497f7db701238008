package mediapool

import (
	"strconv"
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
	old         // ready, of an earlier template
	oldStarting // of an earlier template
	oldAssigned // of an earlier template
	drained     // ready, on a node that is drained
)

// podOn is a pod of the pool p on a port.
func podOn(port int32, s state) corev1.Pod {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: podName("p", port), UID: types.UID(podName("uid", port)),
		Labels: map[string]string{v1alpha1.LabelPool: "p"}, CreationTimestamp: metav1.NewTime(now.Add(-time.Hour))}}
	pod.Labels[v1alpha1.LabelTemplate] = "new"
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1",
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	switch s {
	case starting:
		pod.Status = corev1.PodStatus{Phase: corev1.PodPending}
	case old, oldStarting, oldAssigned:
		pod.Labels[v1alpha1.LabelTemplate] = "old"
		if s == oldStarting {
			pod.Status = corev1.PodStatus{Phase: corev1.PodPending}
		}
		if s == oldAssigned {
			pod.Labels[v1alpha1.LabelRoomUID] = "room"
		}
	case drained:
		pod.Spec.NodeName = "drained"
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
	p.Status.Template = v1alpha1.TemplateStatus{Hash: "new", Since: &metav1.Time{Time: now.Add(-time.Hour)}}
	return p
}

var nodes = map[string]*corev1.Node{"drained": {Spec: corev1.NodeSpec{Unschedulable: true}}}

func unpromised(*corev1.Pod) bool { return false }

// censusOf counts pods that no room is about to claim.
func censusOf(pool *v1alpha1.MediaPool, pods ...corev1.Pod) *census {
	c := takeCensus(pool, pods, nodes, unpromised, now)
	return &c
}

// lowest picks the first of the free ports.
func lowest(int) int { return 0 }

func TestFreePortsStartAnywhere(t *testing.T) {
	pods := []corev1.Pod{podOn(20001, assigned), podOn(30000, assigned)} // the range was another once
	got := freePorts(pool(1, 10), pods, func(n int) int { return n - 1 })
	if diff := cmp.Diff([]int32{20004, 20000, 20002, 20003}, got); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

// outcome is a plan in short.
type outcome struct {
	Ports  []int32 // of the pods that are made
	Remove []string
	Short  string
}

func planOf(mp *v1alpha1.MediaPool, w wish, pods []corev1.Pod, promised string) outcome {
	c := takeCensus(mp, pods, nodes, func(pod *corev1.Pod) bool { return pod.Name == promised }, now)
	p := makePlan(mp, w, &c, func() []int32 { return freePorts(mp, pods, lowest) }, now)
	got := outcome{Short: p.short}
	if p.missing > 0 {
		got.Ports = p.create[:p.missing]
	}
	for _, pod := range p.remove {
		got.Remove = append(got.Remove, pod.Name)
	}
	return got
}

func TestPlan(t *testing.T) {
	longFailed := podOn(20000, failed)
	longFailed.Status.ContainerStatuses[0].State.Terminated.FinishedAt = metav1.NewTime(now.Add(-failedFor))
	for name, tt := range map[string]struct {
		wish     wish
		most     int32
		pods     []corev1.Pod
		promised string
		want     outcome
	}{
		"nothing there":                     {wish{2, 0}, 10, nil, "", outcome{Ports: []int32{20000, 20001}}},
		"enough":                            {wish{2, 0}, 10, []corev1.Pod{podOn(20000, ready), podOn(20001, starting)}, "", outcome{}},
		"assigned pods are not warm":        {wish{1, 0}, 10, []corev1.Pod{podOn(20000, assigned)}, "", outcome{Ports: []int32{20001}}},
		"promised pods are not counted on":  {wish{1, 0}, 10, []corev1.Pod{podOn(20000, ready)}, "p-20000", outcome{Ports: []int32{20001}}},
		"a pod that leaves keeps its port":  {wish{1, 0}, 10, []corev1.Pod{podOn(20000, leaving)}, "", outcome{Ports: []int32{20001}}},
		"ports between are used":            {wish{3, 0}, 10, []corev1.Pod{podOn(20000, ready), podOn(20002, ready)}, "", outcome{Ports: []int32{20001}}},
		"surplus: those that start first":   {wish{1, 0}, 10, []corev1.Pod{podOn(20000, ready), podOn(20001, starting)}, "", outcome{Remove: []string{"p-20001"}}},
		"surplus never takes promised pods": {wish{0, 0}, 10, []corev1.Pod{podOn(20000, ready), podOn(20001, ready)}, "p-20000", outcome{Remove: []string{"p-20001"}}},
		"surplus never takes assigned pods": {wish{0, 0}, 10, []corev1.Pod{podOn(20000, assigned), podOn(20001, oldAssigned)}, "", outcome{}},
		"maxPods counts everything": {wish{3, 0}, 4, []corev1.Pod{podOn(20000, assigned), podOn(20001, assigned), podOn(20002, ready)}, "",
			outcome{Ports: []int32{20003}, Short: v1alpha1.ReasonMaxPodsReached}},
		"a pod that leaves makes room soon": {wish{3, 0}, 4, []corev1.Pod{podOn(20000, assigned), podOn(20001, leaving), podOn(20002, ready)}, "",
			outcome{Ports: []int32{20003}}},
		"more pods than maxPods": {wish{1, 0}, 1, []corev1.Pod{podOn(20000, assigned), podOn(20001, assigned)}, "", outcome{Short: v1alpha1.ReasonMaxPodsReached}},
		"no ports left": {wish{6, 0}, 10, []corev1.Pod{podOn(20001, assigned)}, "",
			outcome{Ports: []int32{20000, 20002, 20003, 20004}, Short: v1alpha1.ReasonPortsExhausted}},
		"a fresh failure is not replaced":               {wish{1, 0}, 10, []corev1.Pod{podOn(20000, failed)}, "", outcome{}},
		"an old failure is":                             {wish{1, 0}, 10, []corev1.Pod{longFailed}, "", outcome{Ports: []int32{20001}, Remove: []string{"p-20000"}}},
		"more ahead of demand":                          {wish{1, 2}, 10, []corev1.Pod{podOn(20000, ready)}, "", outcome{Ports: []int32{20001, 20002}}},
		"as far as maxPods allows, which is no problem": {wish{1, 2}, 2, []corev1.Pod{podOn(20000, ready)}, "", outcome{Ports: []int32{20001}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, planOf(pool(int32(tt.wish.needed), tt.most), tt.wish, tt.pods, tt.promised)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPlanReplaces: pods of an earlier template, and those of nodes that are drained.
func TestPlanReplaces(t *testing.T) {
	young := func(port int32) corev1.Pod {
		pod := podOn(port, drained)
		pod.CreationTimestamp = metav1.NewTime(now.Add(time.Second - doomedFor))
		return pod
	}
	var (
		o0, o1, o2, o3 = podOn(20000, old), podOn(20001, old), podOn(20002, old), podOn(20003, old)
		n4             = podOn(20004, ready)
	)
	for name, tt := range map[string]struct {
		wanted int
		most   int32
		pods   []corev1.Pod
		want   outcome
	}{
		"a new one comes first":                {2, 10, []corev1.Pod{o0, o1}, outcome{Ports: []int32{20002}}},
		"which the old one waits for":          {2, 10, []corev1.Pod{o0, o1, podOn(20002, starting)}, outcome{}},
		"then the old one goes":                {2, 10, []corev1.Pod{o0, o1, podOn(20002, ready)}, outcome{Ports: []int32{20003}, Remove: []string{"p-20000"}}},
		"and the next":                         {2, 10, []corev1.Pod{o1, podOn(20002, ready), podOn(20003, ready)}, outcome{Remove: []string{"p-20001"}}},
		"a quarter at a time":                  {4, 10, []corev1.Pod{o0, o1, o2, o3}, outcome{Ports: []int32{20004}}},
		"a failure of the new is no hurry":     {1, 10, []corev1.Pod{o0, podOn(20001, failed)}, outcome{}},
		"room is made where there is none":     {2, 2, []corev1.Pod{o0, o1}, outcome{Remove: []string{"p-20000"}}},
		"once":                                 {2, 2, []corev1.Pod{o1, podOn(20000, leaving)}, outcome{}},
		"and used":                             {2, 2, []corev1.Pod{o1}, outcome{Ports: []int32{20000}}},
		"and made again when that is ready":    {2, 2, []corev1.Pod{o1, n4}, outcome{Remove: []string{"p-20001"}}},
		"also where ports are none":            {4, 9, []corev1.Pod{o0, o1, o2, o3, podOn(20004, assigned)}, outcome{Remove: []string{"p-20000"}}},
		"what starts as it was is replaced":    {2, 10, []corev1.Pod{podOn(20000, oldStarting), podOn(20001, oldStarting)}, outcome{Ports: []int32{20002, 20003}}},
		"and goes when the new are ready":      {1, 10, []corev1.Pod{podOn(20000, oldStarting), n4}, outcome{Remove: []string{"p-20000"}}},
		"one that holds a room stays":          {1, 10, []corev1.Pod{podOn(20000, oldAssigned), n4}, outcome{}},
		"a drained node's pods are replaced":   {2, 10, []corev1.Pod{podOn(20000, drained), podOn(20001, drained)}, outcome{Ports: []int32{20002, 20003}}},
		"but not before there are others":      {2, 10, []corev1.Pod{podOn(20000, drained), podOn(20001, drained), podOn(20002, starting), podOn(20003, starting)}, outcome{}},
		"nor for ever, if those are no better": {1, 10, []corev1.Pod{young(20000), young(20001)}, outcome{Short: v1alpha1.ReasonUnschedulable}},
		"but once more after a while":          {1, 10, []corev1.Pod{young(20000), podOn(20001, drained)}, outcome{Remove: []string{"p-20001"}, Short: v1alpha1.ReasonUnschedulable}},
		"they go before those of before":       {2, 10, []corev1.Pod{o0, podOn(20001, drained), n4}, outcome{Ports: []int32{20002}, Remove: []string{"p-20001"}}},
		"fewer are wanted":                     {1, 10, []corev1.Pod{o0, o1, o2}, outcome{Ports: []int32{20003}, Remove: []string{"p-20000", "p-20001"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, planOf(pool(int32(tt.wanted), tt.most), wish{needed: tt.wanted}, tt.pods, "")); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUpdateEnds: whatever there is room for, every idle pod is replaced, and as many as
// there were can be claimed at all times, less one where there is no room.
func TestUpdateEnds(t *testing.T) {
	for _, most := range []int32{4, 5, 6, 20} {
		mp, pods := pool(4, most), []corev1.Pod{podOn(20000, old), podOn(20001, old), podOn(20002, old), podOn(20003, old)}
		mp.Spec.Network.PortRange.Max = 20019
		least := 4
		if most == 4 {
			least = 3
		}
		for turn := 0; ; turn++ {
			c := censusOf(mp, pods...)
			if c.claimable() < least || c.total() > int(most) {
				t.Fatalf("maxPods %d, turn %d: %d can be claimed of %d pods", most, turn, c.claimable(), c.total())
			}
			if c.outdated == 0 && len(c.ready) == 4 && c.total() == 4 {
				break
			}
			if turn == 50 {
				t.Fatalf("maxPods %d: still %d old pods after %d turns", most, c.outdated, turn)
			}
			pods = turnOf(mp, c, pods)
		}
	}
}

// turnOf is what becomes of pods until the next pass: what starts comes up, what leaves is
// gone, and the plan is carried out.
func turnOf(mp *v1alpha1.MediaPool, c *census, pods []corev1.Pod) []corev1.Pod {
	p := makePlan(mp, wish{needed: int(mp.Spec.Warm)}, c, func() []int32 { return freePorts(mp, pods, lowest) }, now)
	state := map[int32]state{}
	for _, pod := range c.ready {
		state[portOf(pod)] = ready
	}
	for _, pod := range c.starting {
		state[portOf(pod)] = ready
	}
	for _, pod := range c.old {
		state[portOf(pod)] = old
	}
	for _, pod := range p.remove {
		state[portOf(pod)] = leaving
	}
	for _, port := range p.create[:p.missing] {
		state[port] = starting
	}
	var next []corev1.Pod
	for port, s := range state {
		next = append(next, podOn(port, s))
	}
	return next
}

func portOf(pod *corev1.Pod) int32 {
	port, err := strconv.Atoi(strings.TrimPrefix(pod.Name, "p-"))
	if err != nil {
		panic(err)
	}
	return int32(port)
}

func TestPlanLooksAgain(t *testing.T) {
	mp := pool(1, 10)
	p := makePlan(mp, wish{needed: 1}, censusOf(mp, podOn(20000, failed)), func() []int32 { return nil }, now)
	if want := failedFor - time.Second; p.again != want {
		t.Errorf("again in %v after a failure, want %v", p.again, want)
	}
	p = makePlan(mp, wish{needed: 1}, censusOf(mp, podOn(20000, ready)), func() []int32 { return nil }, now)
	if p.again != 0 {
		t.Errorf("again in %v though nothing is to come", p.again)
	}
}

func TestCensus(t *testing.T) {
	var pods []corev1.Pod
	for s := ready; s <= drained; s++ {
		pods = append(pods, podOn(20000+int32(s), s))
	}
	c := takeCensus(pool(1, 2), pods, nodes, unpromised, now)
	got := []int{len(c.ready), len(c.starting), c.assigned, len(c.failed), c.leaving, len(c.old), len(c.doomed), c.outdated, c.total()}
	if diff := cmp.Diff([]int{1, 1, 2, 1, 1, 1, 2, 3, len(pods)}, got); diff != "" {
		t.Errorf("ready, starting, assigned, failed, leaving, old, doomed, outdated, total (-want +got):\n%s", diff)
	}
}

// BenchmarkPass is the thinking of one pass over a large pool in which rooms are made fast.
func BenchmarkPass(b *testing.B) {
	for _, n := range []int32{100, 10_000} {
		mp := pool(20, n+100)
		mp.Spec.Network.PortRange = v1alpha1.PortRange{Min: 20000, Max: 20000 + n + 100}
		pods := make([]corev1.Pod, n)
		for i := range pods {
			pods[i] = podOn(20000+int32(i), assigned)
			if i%1000 == 0 {
				pods[i] = podOn(20000+int32(i), ready)
			}
		}
		b.Run(strconv.Itoa(int(n)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c := takeCensus(mp, pods, nodes, unpromised, now)
				makePlan(mp, wish{needed: 20}, &c, func() []int32 { return freePorts(mp, pods, lowest) }, now)
			}
		})
	}
}
