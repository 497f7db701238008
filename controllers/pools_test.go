package controllers_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/scale"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/fleet"
	"voiceroom.dev/voiceroom/hack/devnode"
)

// idlePods lists the pods of a pool that no room has, those that leave left out.
func idlePods(ctx context.Context, pool string) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := cluster.List(ctx, &pods, client.InNamespace(mediaNamespace), client.MatchingLabels{v1alpha1.LabelPool: pool})
	var idle []corev1.Pod
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp == nil && !fleet.Assigned(&pod) {
			idle = append(idle, pod)
		}
	}
	return idle, err
}

// waitProgressing waits until a pool's condition Progressing has a reason, and returns its
// message. mp is updated.
func waitProgressing(t *testing.T, mp *v1alpha1.MediaPool, reason string) string {
	t.Helper()
	var message string
	until(t, fmt.Sprintf("pool %s is progressing or not: %s", mp.Name, reason), func() (bool, error) {
		err := cluster.Get(t.Context(), client.ObjectKeyFromObject(mp), mp)
		c := meta.FindStatusCondition(mp.Status.Conditions, v1alpha1.ConditionProgressing)
		if c != nil {
			message = c.Message
		}
		return c != nil && c.Reason == reason, err
	})
	return message
}

// waitEvent waits for an Event about a pool.
func waitEvent(t *testing.T, pool, reason string) {
	t.Helper()
	until(t, fmt.Sprintf("an Event of pool %s says %s", pool, reason), func() (bool, error) {
		var events corev1.EventList
		err := cluster.List(t.Context(), &events)
		for _, e := range events.Items {
			if e.InvolvedObject.Kind == "MediaPool" && e.InvolvedObject.Name == pool && e.Reason == reason {
				return true, err
			}
		}
		return false, err
	})
}

// changePool patches a pool's spec.
func changePool(t *testing.T, mp *v1alpha1.MediaPool, change func(*v1alpha1.MediaPoolSpec)) {
	t.Helper()
	must(t, cluster.Get(t.Context(), client.ObjectKeyFromObject(mp), mp))
	stored := mp.DeepCopy()
	change(&mp.Spec)
	must(t, cluster.Patch(t.Context(), mp, client.MergeFrom(stored)))
}

// removePool deletes a pool and waits until its idle pods are gone.
func removePool(t *testing.T, mp *v1alpha1.MediaPool) {
	t.Helper()
	must(t, cluster.Delete(t.Context(), mp))
	until(t, "the idle pods of pool "+mp.Name+" go with it", func() (bool, error) {
		idle, err := idlePods(t.Context(), mp.Name)
		return len(idle) == 0, err
	})
}

// TestPoolUpdate: idle pods are replaced at once, one that holds a room at the deadline.
// Pods that an earlier version made say nothing of a template.
func TestPoolUpdate(t *testing.T) {
	startOperator(t, nil)
	mp := newPool("updated", 2, 10, 23000)
	must(t, cluster.Create(t.Context(), mp))
	vr := newRoom(t, "in-old-pod", inPool("updated"))
	waitReady(t, vr)
	old := podOf(t, vr)
	if len(old.Spec.TopologySpreadConstraints) != 2 || old.Labels[v1alpha1.LabelTemplate] == "" {
		t.Errorf("pod with labels %v is spread by %v", old.Labels, old.Spec.TopologySpreadConstraints)
	}
	stored := old.DeepCopy()
	delete(old.Labels, v1alpha1.LabelTemplate)
	must(t, cluster.Patch(t.Context(), old, client.MergeFrom(stored)))
	changePool(t, mp, func(s *v1alpha1.MediaPoolSpec) {
		s.Template.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("110m")}
	})
	until(t, "all idle pods are of the new template and the room's pod is the only old one", func() (bool, error) {
		if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(mp), mp); err != nil {
			return false, err
		}
		idle, err := idlePods(t.Context(), mp.Name)
		now := mp.Status.Template.Hash != stored.Labels[v1alpha1.LabelTemplate] && mp.Status.Ready == 2 && mp.Status.Outdated == 1
		for _, pod := range idle {
			now = now && pod.Labels[v1alpha1.LabelTemplate] == mp.Status.Template.Hash
		}
		return now && len(idle) >= 2, err
	})
	waitEvent(t, mp.Name, "TemplateChanged")
	must(t, cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr))
	if m := vr.Status.Media; m.PodUID != string(old.UID) || m.Epoch != 1 {
		t.Errorf("before the deadline the room is in pod %s, epoch %d", m.Pod, m.Epoch)
	}

	good := mp.Spec.Template
	changePool(t, mp, func(s *v1alpha1.MediaPoolSpec) { s.Template.Image = "nowhere:v1" })
	if message := waitProgressing(t, mp, v1alpha1.ReasonImageUnavailable); !strings.Contains(message, "set template.image") {
		t.Errorf("message %q", message)
	}
	if mp.Status.Ready != 2 || !meta.IsStatusConditionTrue(mp.Status.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("pods that run went before there were others: %+v", mp.Status)
	}
	waitEvent(t, mp.Name, v1alpha1.ReasonImageUnavailable)
	changePool(t, mp, func(s *v1alpha1.MediaPoolSpec) { s.Template, s.Update.Deadline = good, &metav1.Duration{} })
	until(t, "the room has moved and no old pod is left", func() (bool, error) {
		if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr); err != nil {
			return false, err
		}
		err := cluster.Get(t.Context(), client.ObjectKeyFromObject(mp), mp)
		m := vr.Status.Media
		return m != nil && m.Epoch > 1 && m.PodUID != string(old.UID) && mp.Status.Outdated == 0 &&
			meta.IsStatusConditionTrue(vr.Status.Conditions, v1alpha1.ConditionReady), err
	})
	removeRoom(t, vr)
	removePool(t, mp)
}

// runNode runs a node that takes the pods of one pool only, until the test ends.
func runNode(t *testing.T, name, pool string) *corev1.Node {
	t.Helper()
	node, err := devnode.New(devnode.Options{Config: plane.Config(), Name: name, Namespaces: []string{mediaNamespace},
		Labels: map[string]string{"takes": pool}, Selector: labels.SelectorFromSet(labels.Set{v1alpha1.LabelPool: pool}),
		Binaries: binaries})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("node %s ended with: %v", name, err)
		}
		if err := cluster.Delete(context.Background(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}); client.IgnoreNotFound(err) != nil {
			t.Error(err)
		}
	})
	var registered corev1.Node
	until(t, "node "+name+" is there", func() (bool, error) {
		err := cluster.Get(t.Context(), client.ObjectKey{Name: name}, &registered)
		return err == nil, client.IgnoreNotFound(err)
	})
	return &registered
}

func cordon(t *testing.T, node *corev1.Node, unschedulable bool) {
	t.Helper()
	must(t, cluster.Get(t.Context(), client.ObjectKeyFromObject(node), node))
	stored := node.DeepCopy()
	node.Spec.Unschedulable = unschedulable
	must(t, cluster.Patch(t.Context(), node, client.MergeFrom(stored)))
}

// TestDrainedNode: the idle pods of a node that is drained are replaced elsewhere, and only
// then go. A place elsewhere that is taken away again changes nothing about that.
func TestDrainedNode(t *testing.T) {
	startOperator(t, nil)
	first, second := runNode(t, "first", "drained"), runNode(t, "second", "drained")
	cordon(t, second, true)
	mp := newPool("drained", 2, 4, 23300)
	mp.Spec.Template.NodeSelector = map[string]string{"takes": "drained"}
	must(t, cluster.Create(t.Context(), mp))
	waitWarm(t, mp.Name)
	cordon(t, first, true)
	message := waitProgressing(t, mp, v1alpha1.ReasonUnschedulable)
	if !strings.Contains(message, "is cordoned") {
		t.Errorf("message %q", message)
	}
	idle, err := idlePods(t.Context(), mp.Name)
	must(t, err)
	onFirst := 0
	for _, pod := range idle {
		if pod.Spec.NodeName == first.Name {
			onFirst++
		}
	}
	if onFirst != 2 {
		t.Errorf("%d of 2 pods are left on the drained node before there are others", onFirst)
	}
	cordon(t, second, false)
	until(t, "the idle pods are on the other node", func() (bool, error) {
		idle, err := idlePods(t.Context(), mp.Name)
		there := 0
		for _, pod := range idle {
			if pod.Spec.NodeName == second.Name && fleet.Idle(&pod) {
				there++
			}
		}
		return there == 2 && len(idle) == 2, err
	})
	waitProgressing(t, mp, v1alpha1.ReasonPodsComeUp)
	removePool(t, mp)
	until(t, "no pod is left on the nodes", func() (bool, error) {
		var pods corev1.PodList
		err := cluster.List(t.Context(), &pods, client.InNamespace(mediaNamespace), client.MatchingLabels{v1alpha1.LabelPool: mp.Name})
		return len(pods.Items) == 0, err
	})
}

// TestQuota: what the API server refuses is told, and tried again.
func TestQuota(t *testing.T) {
	startOperator(t, nil)
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: mediaNamespace, Name: "none"}}
	quota.Spec.Hard = corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}
	must(t, cluster.Create(t.Context(), quota))
	quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: quota.Spec.Hard} // its controller does not run here
	must(t, cluster.Status().Update(t.Context(), quota))
	mp := newPool("bounded", 1, 2, 23600)
	must(t, cluster.Create(t.Context(), mp))
	if message := waitProgressing(t, mp, v1alpha1.ReasonQuotaExceeded); !strings.Contains(message, "raise the ResourceQuota of namespace "+mediaNamespace) {
		t.Errorf("message %q", message)
	}
	waitEvent(t, mp.Name, v1alpha1.ReasonQuotaExceeded)
	must(t, cluster.Delete(t.Context(), quota))
	waitWarm(t, mp.Name)
	waitProgressing(t, mp, v1alpha1.ReasonPodsComeUp)
	removePool(t, mp)
}

// TestPodSecurity: a namespace that takes no host ports takes no media pods.
func TestPodSecurity(t *testing.T) {
	startOperator(t, nil)
	enforce := func(level string) {
		t.Helper()
		ns := &corev1.Namespace{}
		must(t, cluster.Get(t.Context(), client.ObjectKey{Name: mediaNamespace}, ns))
		stored := ns.DeepCopy()
		metav1.SetMetaDataLabel(&ns.ObjectMeta, "pod-security.kubernetes.io/enforce", level)
		must(t, cluster.Patch(t.Context(), ns, client.MergeFrom(stored)))
	}
	enforce("restricted")
	mp := newPool("insecure", 1, 2, 23900)
	must(t, cluster.Create(t.Context(), mp))
	if message := waitProgressing(t, mp, v1alpha1.ReasonPodsRefused); !strings.Contains(message, "pod-security.kubernetes.io/enforce=privileged") {
		t.Errorf("message %q", message)
	}
	enforce("privileged")
	waitWarm(t, mp.Name)
	removePool(t, mp)
}

// TestScale: as kubectl scale and autoscalers see a pool.
func TestScale(t *testing.T) {
	startOperator(t, nil)
	mp := newPool("scaled", 1, 10, 24200)
	must(t, cluster.Create(t.Context(), mp))
	finder, err := discovery.NewDiscoveryClientForConfig(plane.Config())
	must(t, err)
	scales, err := scale.NewForConfig(plane.Config(), cluster.RESTMapper(), dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(finder))
	must(t, err)
	pools := v1alpha1.GroupVersion.WithResource("mediapools").GroupResource()
	for _, n := range []int32{3, 0, 1} {
		until(t, fmt.Sprintf("the pool is scaled to %d", n), func() (bool, error) {
			s, err := scales.Scales("").Get(t.Context(), pools, mp.Name, metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			s.Spec.Replicas = n
			_, err = scales.Scales("").Update(t.Context(), pools, s, metav1.UpdateOptions{})
			return err == nil, client.IgnoreNotFound(ignoreConflict(err))
		})
		until(t, fmt.Sprintf("it tells %d replicas, which the selector finds", n), func() (bool, error) {
			s, err := scales.Scales("").Get(t.Context(), pools, mp.Name, metav1.GetOptions{})
			if err != nil || s.Status.Replicas != n || s.Spec.Replicas != n {
				return false, err
			}
			selector, err := metav1.ParseToLabelSelector(s.Status.Selector)
			if err != nil {
				return false, err
			}
			matching, err := metav1.LabelSelectorAsSelector(selector)
			if err != nil {
				return false, err
			}
			var pods corev1.PodList
			err = cluster.List(t.Context(), &pods, client.InNamespace(mediaNamespace), client.MatchingLabelsSelector{Selector: matching})
			ready := 0
			for i := range pods.Items {
				if fleet.Idle(&pods.Items[i]) {
					ready++
				}
			}
			return ready == int(n), err
		})
	}
	removePool(t, mp)
}

func ignoreConflict(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// TestPoolDeleted: its rooms go on and can be changed; who wants a pod of it now is told.
func TestPoolDeleted(t *testing.T) {
	startOperator(t, nil)
	mp := newPool("deleted", 1, 10, 24500)
	must(t, cluster.Create(t.Context(), mp))
	vr := newRoom(t, "outlives", inPool("deleted"))
	waitReady(t, vr)
	before := *vr.Status.Media
	removePool(t, mp)
	stored := vr.DeepCopy()
	vr.Spec.MaxMembers = 9
	must(t, cluster.Patch(t.Context(), vr, client.MergeFrom(stored)))
	until(t, "the room's pod takes its newer spec", func() (bool, error) {
		err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr)
		return vr.Status.EffectiveMaxMembers == 9, err
	})
	if m := vr.Status.Media; m == nil || m.PodUID != before.PodUID || !meta.IsStatusConditionTrue(vr.Status.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("without its pool the room has %+v", vr.Status)
	}
	next := newRoom(t, "too-late", inPool("deleted"))
	waitCondition(t, next, v1alpha1.ConditionMediaReady, metav1.ConditionFalse, v1alpha1.ReasonPoolNotFound)
	removeRoom(t, next)
	removeRoom(t, vr)
}
