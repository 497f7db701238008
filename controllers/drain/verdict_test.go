package drain

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Unix(1_700_000_000, 0)

func ago(d time.Duration) *metav1.Time { return ptr.To(metav1.NewTime(now.Add(-d))) }

func podWith(change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p-20000", Labels: map[string]string{v1alpha1.LabelTemplate: "new"}}}
	// Every pod gets these from the API server.
	pod.Spec.Tolerations = []corev1.Toleration{
		{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](300)},
	}
	for _, c := range change {
		c(pod)
	}
	return pod
}

func tolerating(t corev1.Toleration) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Spec.Tolerations = append(pod.Spec.Tolerations, t) }
}

func outdated(pod *corev1.Pod)   { pod.Labels[v1alpha1.LabelTemplate] = "old" }
func unlabelled(pod *corev1.Pod) { pod.Labels = nil }

func tainted(taints ...corev1.Taint) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Spec: corev1.NodeSpec{Taints: taints}}
}

func noExecute(key string, since *metav1.Time) corev1.Taint {
	return corev1.Taint{Key: key, Effect: corev1.TaintEffectNoExecute, TimeAdded: since}
}

func noSchedule(key, value string, since *metav1.Time) corev1.Taint {
	return corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffectNoSchedule, TimeAdded: since}
}

// updated is a pool whose template is "new" since some time, with a deadline of an hour.
func updated(since *metav1.Time) *v1alpha1.MediaPool {
	pool := &v1alpha1.MediaPool{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
	pool.Spec.Update.Deadline = &metav1.Duration{Duration: time.Hour}
	pool.Status.Template = v1alpha1.TemplateStatus{Hash: "new", Since: since}
	return pool
}

func TestJudge(t *testing.T) {
	cordoned := tainted()
	cordoned.Spec.Unschedulable = true
	leaving := tainted()
	leaving.DeletionTimestamp = ago(time.Minute)
	byDefault := updated(ago(24 * time.Hour))
	byDefault.Spec.Update.Deadline = nil
	deleted := func(pod *corev1.Pod) {
		pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = ptr.To(metav1.NewTime(now.Add(50*time.Second))), ptr.To[int64](60)
	}
	later := func(d time.Duration) Verdict { return Verdict{Again: d} }
	for name, tt := range map[string]struct {
		pod  *corev1.Pod
		node *corev1.Node
		pool *v1alpha1.MediaPool
		want Verdict
	}{
		"nothing is known":     {podWith(), nil, nil, Verdict{}},
		"nothing is wrong":     {podWith(), tainted(), updated(ago(time.Hour)), Verdict{}},
		"deleted":              {podWith(deleted), nil, nil, Verdict{Reason: PodDeleted, Since: now.Add(-10 * time.Second), Urgent: true}},
		"deleted comes first":  {podWith(deleted, outdated), cordoned, updated(ago(2 * time.Hour)), Verdict{Reason: PodDeleted, Since: now.Add(-10 * time.Second), Urgent: true}},
		"cordoned":             {podWith(), cordoned, nil, Verdict{Reason: NodeLeaving}},
		"cordoned, with taint": {podWith(), tainted(noSchedule(corev1.TaintNodeUnschedulable, "", ago(time.Minute))), nil, Verdict{Reason: NodeLeaving, Since: now.Add(-time.Minute)}},
		"cordoned, tolerated": {podWith(tolerating(corev1.Toleration{Operator: corev1.TolerationOpExists})),
			tainted(noSchedule(corev1.TaintNodeUnschedulable, "", nil)), nil, Verdict{Reason: NodeLeaving}},
		"cluster autoscaler": {podWith(), tainted(noSchedule("ToBeDeletedByClusterAutoscaler", "1699999990", nil)), nil,
			Verdict{Reason: NodeLeaving, Since: now.Add(-10 * time.Second)}},
		"a candidate of it":               {podWith(), tainted(corev1.Taint{Key: "DeletionCandidateOfClusterAutoscaler", Effect: corev1.TaintEffectPreferNoSchedule}), nil, Verdict{}},
		"karpenter":                       {podWith(), tainted(noSchedule("karpenter.sh/disrupted", "", nil)), nil, Verdict{Reason: NodeLeaving}},
		"the node is deleted":             {podWith(), leaving, nil, Verdict{Reason: NodeLeaving, Since: now.Add(-time.Minute)}},
		"another taint":                   {podWith(), tainted(noSchedule("gpu", "yes", nil)), nil, Verdict{}},
		"NoExecute":                       {podWith(), tainted(noExecute("maintenance", ago(time.Second))), nil, Verdict{Reason: NodeEvicting, Since: now.Add(-time.Second), Urgent: true}},
		"NoExecute, tolerated":            {podWith(tolerating(corev1.Toleration{Key: "maintenance", Operator: corev1.TolerationOpExists})), tainted(noExecute("maintenance", nil)), nil, Verdict{}},
		"NoExecute, tolerated for now":    {podWith(), tainted(noExecute(corev1.TaintNodeNotReady, ago(time.Minute))), nil, later(4 * time.Minute)},
		"NoExecute, tolerated too long":   {podWith(), tainted(noExecute(corev1.TaintNodeNotReady, ago(5*time.Minute))), nil, Verdict{Reason: NodeEvicting, Since: now, Urgent: true}},
		"NoExecute, since nobody knows":   {podWith(), tainted(noExecute(corev1.TaintNodeNotReady, nil)), nil, Verdict{}},
		"NoExecute is worse than a drain": {podWith(), tainted(noSchedule(corev1.TaintNodeUnschedulable, "", nil), noExecute("maintenance", ago(0))), nil, Verdict{Reason: NodeEvicting, Since: now, Urgent: true}},
		"old template":                    {podWith(outdated), nil, updated(ago(time.Minute)), later(59 * time.Minute)},
		"old template, deadline":          {podWith(outdated), nil, updated(ago(time.Hour)), Verdict{Reason: PoolUpdated, Since: now}},
		"no template, deadline":           {podWith(unlabelled), nil, updated(ago(2 * time.Hour)), Verdict{Reason: PoolUpdated, Since: now.Add(-time.Hour)}},
		"default deadline":                {podWith(outdated), nil, byDefault, Verdict{Reason: PoolUpdated, Since: now}},
		"pool without a template yet":     {podWith(unlabelled), nil, &v1alpha1.MediaPool{}, Verdict{}},
		"the toleration ends first":       {podWith(outdated), tainted(noExecute(corev1.TaintNodeNotReady, ago(time.Minute))), updated(ago(0)), later(4 * time.Minute)},
		"the deadline comes first":        {podWith(outdated), tainted(noExecute(corev1.TaintNodeNotReady, ago(time.Minute))), updated(ago(58 * time.Minute)), later(2 * time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			got := Judge(tt.pod, tt.node, tt.pool, now)
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(Verdict{}, "Message")); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
			if got.MustGo() != (got.Message != "") {
				t.Errorf("reason %q goes with message %q", got.Reason, got.Message)
			}
		})
	}
}

func TestMessagesName(t *testing.T) {
	onNode := Judge(podWith(), tainted(noSchedule("karpenter.sh/disrupted", "", nil)), nil, now)
	if !strings.Contains(onNode.Message, "node n ") || !strings.Contains(onNode.Message, "karpenter.sh/disrupted") {
		t.Errorf("%q names neither node nor taint", onNode.Message)
	}
	ofPool := Judge(podWith(outdated), nil, updated(ago(time.Hour)), now)
	if !strings.Contains(ofPool.Message, "pool p ") || !strings.Contains(ofPool.Message, "update.deadline of 1h0m0s") {
		t.Errorf("%q names neither pool nor deadline", ofPool.Message)
	}
}

func TestNodeChanged(t *testing.T) {
	cordoned := tainted()
	cordoned.Spec.Unschedulable = true
	moved := tainted()
	moved.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}}
	for name, tt := range map[string]struct {
		before, now *corev1.Node
		want        bool
	}{
		"heartbeat":  {tainted(), tainted(), false},
		"address":    {tainted(), moved, false},
		"cordoned":   {tainted(), cordoned, true},
		"uncordoned": {cordoned, tainted(), true},
		"tainted":    {tainted(), tainted(noExecute("maintenance", nil)), true},
	} {
		if got := NodeChanged.Update(event.UpdateEvent{ObjectOld: tt.before, ObjectNew: tt.now}); got != tt.want {
			t.Errorf("%s passes: %v, want %v", name, got, tt.want)
		}
	}
	if NodeChanged.Create(event.CreateEvent{Object: tainted()}) || !NodeChanged.Create(event.CreateEvent{Object: cordoned}) {
		t.Error("of the nodes that a watch starts with, those pass that something is against")
	}
}
