package drain

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

// PodsByNode is the index of the cache that finds pods by the name of their node.
const PodsByNode = "spec.nodeName"

// Index adds PodsByNode.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	err := indexer.IndexField(ctx, &corev1.Pod{}, PodsByNode, func(o client.Object) []string {
		if node := o.(*corev1.Pod).Spec.NodeName; node != "" {
			return []string{node}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("indexing pods by their node: %w", err)
	}
	return nil
}

// NodeChanged passes nodes that may have changed the verdict on their pods. Those that a
// watch starts with pass only if there is something against them.
var NodeChanged = predicate.Funcs{
	CreateFunc: func(e event.CreateEvent) bool {
		node := e.Object.(*corev1.Node)
		return node.Spec.Unschedulable || len(node.Spec.Taints) > 0 || node.DeletionTimestamp != nil
	},
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, now := e.ObjectOld.(*corev1.Node), e.ObjectNew.(*corev1.Node)
		return before.Spec.Unschedulable != now.Spec.Unschedulable || !equality.Semantic.DeepEqual(before.Spec.Taints, now.Spec.Taints) ||
			(before.DeletionTimestamp == nil) != (now.DeletionTimestamp == nil)
	},
}

// leavingTaints are on nodes whose end has been decided. Taints of candidates are not
// among them: those may well stay.
var leavingTaints = map[string]bool{
	corev1.TaintNodeUnschedulable:                            true, // kubectl cordon and drain
	"ToBeDeletedByClusterAutoscaler":                         true,
	"karpenter.sh/disrupted":                                 true,
	"karpenter.sh/disruption":                                true, // before Karpenter 1.0
	"cloud.google.com/impending-node-termination":            true,
	"aws-node-termination-handler/spot-itn":                  true,
	"aws-node-termination-handler/scheduled-maintenance":     true,
	"aws-node-termination-handler/asg-lifecycle-termination": true,
	"node.cloudprovider.kubernetes.io/shutdown":              true,
}

// judgeNode holds a pod to the state of its node.
func judgeNode(pod *corev1.Pod, node *corev1.Node, now time.Time) Verdict {
	if node == nil {
		return Verdict{}
	}
	evicting := judgeNoExecute(pod, node, now)
	if evicting.MustGo() {
		return evicting
	}
	leaving := Verdict{Reason: NodeLeaving}
	switch taint := leavingTaint(node); {
	case taint != nil:
		leaving.Message = fmt.Sprintf("node %s is drained or about to be removed (taint %s)", node.Name, taint.Key)
		leaving.Since = added(taint)
	case node.DeletionTimestamp != nil:
		leaving.Message, leaving.Since = fmt.Sprintf("node %s is being deleted", node.Name), node.DeletionTimestamp.Time
	case node.Spec.Unschedulable:
		leaving.Message = fmt.Sprintf("node %s is drained (unschedulable)", node.Name)
	default:
		return evicting // with when a toleration ends
	}
	return leaving
}

// leavingTaint returns the taint that says that the node leaves; nil if none does.
func leavingTaint(node *corev1.Node) *corev1.Taint {
	for i := range node.Spec.Taints {
		if taint := &node.Spec.Taints[i]; leavingTaints[taint.Key] {
			return taint
		}
	}
	return nil
}

// added is when a taint was added, if that is known. The cluster autoscaler writes it
// into the value.
func added(taint *corev1.Taint) time.Time {
	if taint.TimeAdded != nil {
		return taint.TimeAdded.Time
	}
	if taint.Key == "ToBeDeletedByClusterAutoscaler" {
		if unix, err := strconv.ParseInt(taint.Value, 10, 64); err == nil {
			return time.Unix(unix, 0)
		}
	}
	return time.Time{}
}

// judgeNoExecute holds a pod to its node's NoExecute taints. What tolerates one for a
// while only, as every pod tolerates a node that does not answer, stays that long.
func judgeNoExecute(pod *corev1.Pod, node *corev1.Node, now time.Time) Verdict {
	var stays Verdict
	for i := range node.Spec.Taints {
		taint := &node.Spec.Taints[i]
		if taint.Effect != corev1.TaintEffectNoExecute {
			continue
		}
		tolerated, forever := tolerance(pod, taint)
		since := added(taint).Add(tolerated)
		switch left := since.Sub(now); {
		case forever, tolerated > 0 && added(taint).IsZero():
		case tolerated == 0, left <= 0:
			return Verdict{Reason: NodeEvicting, Since: since, Urgent: true,
				Message: fmt.Sprintf("node %s evicts pods that do not tolerate its taint %s", node.Name, taint.Key)}
		case stays.Again == 0 || left < stays.Again:
			stays.Again = left
		}
	}
	return stays
}

// tolerance is how long a pod tolerates a taint; 0: not at all. Of several limits the
// shortest counts, as it does for who evicts.
func tolerance(pod *corev1.Pod, taint *corev1.Taint) (limit time.Duration, forever bool) {
	tolerated, limited := false, false
	for i := range pod.Spec.Tolerations {
		t := &pod.Spec.Tolerations[i]
		if !t.ToleratesTaint(logr.Discard(), taint, true) {
			continue
		}
		tolerated = true
		if t.TolerationSeconds == nil {
			continue
		}
		seconds := time.Duration(max(*t.TolerationSeconds, 0)) * time.Second
		if !limited || seconds < limit {
			limit, limited = seconds, true
		}
	}
	return limit, tolerated && !limited
}

// Nodes gets, by name, the nodes of those pods that matter. Those that are gone are nil.
func Nodes(ctx context.Context, reader client.Reader, pods []corev1.Pod, matter func(*corev1.Pod) bool) (map[string]*corev1.Node, error) {
	nodes := map[string]*corev1.Node{}
	for i := range pods {
		name := pods[i].Spec.NodeName
		if _, known := nodes[name]; known || name == "" || !matter(&pods[i]) {
			continue
		}
		var node corev1.Node
		err := reader.Get(ctx, client.ObjectKey{Name: name}, &node)
		switch {
		case apierrors.IsNotFound(err):
			nodes[name] = nil
		case err != nil:
			return nil, fmt.Errorf("getting node %s: %w", name, err)
		default:
			nodes[name] = &node
		}
	}
	return nodes, nil
}
