package mediapool

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// waiting is a pod whose container waits.
func waiting(port int32, reason, message string) corev1.Pod {
	pod := podOn(port, starting)
	pod.Spec = corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Image: "media:nowhere"}}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}
	return pod
}

func unscheduled(port int32) corev1.Pod {
	pod := podOn(port, starting)
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no node has free ports"}}
	return pod
}

func forbidden(why string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "p-20000", errors.New(why))
}

// TestConditions: what is said, and that it is said also while enough pods are ready.
func TestConditions(t *testing.T) {
	quota := refusal("voiceroom-media", forbidden("exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2"))
	security := refusal("voiceroom-media", forbidden(`violates PodSecurity "restricted:latest": hostPort (container "media" uses hostPort 20000)`))
	for name, tt := range map[string]struct {
		pods    []corev1.Pod
		refused problem
		short   string
		reason  string // empty: nothing keeps new pods from coming up
		says    string
	}{
		"starting":   {[]corev1.Pod{podOn(20000, starting)}, problem{}, "", "", ""},
		"failed":     {[]corev1.Pod{podOn(20000, failed)}, problem{}, "", v1alpha1.ReasonPodFailed, "exit code 1 (Error): no keys in /etc/voiceroom/keys"},
		"no node":    {[]corev1.Pod{unscheduled(20001)}, problem{}, "", v1alpha1.ReasonUnschedulable, "add nodes, or change template.nodeSelector, tolerations or resources: no node has free ports"},
		"no image":   {[]corev1.Pod{waiting(20001, "ImagePullBackOff", "Back-off pulling image")}, problem{}, "", v1alpha1.ReasonImageUnavailable, "cannot get image media:nowhere: set template.image"},
		"never pull": {[]corev1.Pod{waiting(20001, "ErrImageNeverPull", "not there")}, problem{}, "", v1alpha1.ReasonImageUnavailable, "its node n1"},
		"no keys":    {[]corev1.Pod{waiting(20001, "CreateContainerConfigError", "configmap not found")}, problem{}, "", v1alpha1.ReasonPodFailed, "waits (CreateContainerConfigError): configmap not found"},
		"creating":   {[]corev1.Pod{waiting(20001, "ContainerCreating", "")}, problem{}, "", "", ""},
		"no ports":   {nil, problem{}, v1alpha1.ReasonPortsExhausted, v1alpha1.ReasonPortsExhausted, "no port is free between 20000 and 20004: widen network.portRange"},
		"too many":   {nil, problem{}, v1alpha1.ReasonMaxPodsReached, v1alpha1.ReasonMaxPodsReached, "maxPods of 9 is reached: raise it"},
		"quota":      {nil, quota, "", v1alpha1.ReasonQuotaExceeded, "raise the ResourceQuota of namespace voiceroom-media"},
		"security":   {nil, security, "", v1alpha1.ReasonPodsRefused, "pod-security.kubernetes.io/enforce=privileged"},
		"priority":   {nil, refusal("voiceroom-media", forbidden("no PriorityClass with name voice was found")), "", v1alpha1.ReasonPodsRefused, "no PriorityClass with name voice"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, warm := range []int32{0, 1, 2} {
				mp, pods := pool(warm, 9), tt.pods
				if warm == 1 {
					pods = append([]corev1.Pod{podOn(20004, old)}, pods...)
				}
				c := censusOf(mp, pods...)
				p := findProblem(mp, c, tt.refused, tt.short)
				if p.reason != tt.reason || !strings.Contains(p.message, tt.says) {
					t.Fatalf("%s: %s; want %s: ...%s", p.reason, p.message, tt.reason, tt.says)
				}
				ready, progress := readiness(mp, c, p), progressing(mp, p)
				if enough := warm < 2; (ready.Status == metav1.ConditionTrue) != enough {
					t.Errorf("Ready is %s for %s with warm %d", ready.Status, ready.Reason, warm)
				} else if !enough && !strings.Contains(ready.Message, tt.says) {
					t.Errorf("Ready does not say %q: %s", tt.says, ready.Message)
				}
				if fine := tt.reason == ""; (progress.Status == metav1.ConditionTrue) != fine {
					t.Errorf("Progressing is %s for %s", progress.Status, progress.Reason)
				}
			}
		})
	}
}

func TestReadinessTellsNumbers(t *testing.T) {
	mp := pool(2, 9)
	got := readiness(mp, censusOf(mp, podOn(20000, ready), podOn(20001, starting), podOn(20002, assigned)), problem{})
	if want := "1 of 2 warm pods ready, 1 starting, 1 assigned, 3 pods of at most 9"; got.Message != want || got.Reason != v1alpha1.ReasonStarting {
		t.Errorf("%s: %q, want %q", got.Reason, got.Message, want)
	}
}

// TestFailureIsRemembered until a pod comes up that was made since, not while the next one
// starts.
func TestFailureIsRemembered(t *testing.T) {
	mp := pool(1, 9)
	before := progressing(mp, findProblem(mp, censusOf(mp, podOn(20000, failed)), problem{}, ""))
	before.LastTransitionTime = metav1.NewTime(now)
	meta.SetStatusCondition(&mp.Status.Conditions, before)

	next := podOn(20001, starting)
	next.CreationTimestamp = metav1.NewTime(now.Add(10 * time.Second))
	if got := findProblem(mp, censusOf(mp, next, podOn(20002, ready)), problem{}, ""); got.reason != v1alpha1.ReasonPodFailed || got.message != before.Message {
		t.Errorf("while the next pod starts: %+v, want %q", got, before.Message)
	}
	next.Status = podOn(20001, ready).Status
	if got := findProblem(mp, censusOf(mp, next, podOn(20002, starting)), problem{}, ""); got != (problem{}) {
		t.Errorf("when it has come up: %+v", got)
	}
}

func TestRefusedPodsAreTriedEverLessOften(t *testing.T) {
	var r refused
	at := now
	var waits []time.Duration
	for range 7 {
		if wait := r.stands(1, 3, at); wait != 0 {
			t.Fatalf("%v more to wait after the wait", wait)
		}
		r.note(problem{reason: v1alpha1.ReasonQuotaExceeded}, 1, 3, at)
		waits = append(waits, r.stands(1, 3, at))
		at = at.Add(r.wait)
	}
	for i, want := range []float64{5, 10, 20, 40, 80, 120, 120} {
		if waits[i].Seconds() != want {
			t.Fatalf("waits %v, want %v s for the one of index %d", waits, want, i)
		}
	}
	r.note(problem{reason: v1alpha1.ReasonQuotaExceeded}, 1, 3, at)
	if r.stands(2, 3, at) != 0 {
		t.Error("a change of the pool is not tried at once")
	}
	if r.stands(1, 2, at) != 0 {
		t.Error("the place of a pod that went is not tried at once")
	}
	if r.stands(1, 4, at) == 0 {
		t.Error("more pods are tried at once")
	}
}
