package e2e

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// values of the installation in a version.
func values(version string) []string {
	return []string{"--set", "image.tag=" + version, "--set", "gateway.allowGuests=true", "--set", "gateway.publicURL=" + world.gateway,
		"--set", "gateway.service.type=NodePort", "--set", fmt.Sprintf("gateway.service.nodePort=%d", nodePort),
		"--set", "chat.storage.size=1Gi", "--set", "chat.storage.retain=false"}
}

// install installs the chart into a namespace where only restricted pods may run.
func install(t *testing.T) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: systemNamespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	must(t, world.client.Create(t.Context(), ns))
	if out, err := helm(t, append([]string{"install", release, chartPath, "--wait", "--timeout", "4m"}, values(firstVersion)...)...); err != nil {
		t.Fatalf("helm install: %v\n%s", err, out)
	}
	for _, name := range []string{"voiceroom-operator", "voiceroom-gateway"} {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: name}}
		await(t, d, name+" has two replicas", func() bool { return d.Status.ReadyReplicas == 2 })
	}
	provider := &v1alpha1.ChatProvider{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	await(t, provider, "the chat provider answers", func() bool { return meta.IsStatusConditionTrue(provider.Status.Conditions, v1alpha1.ConditionReady) })
	await(t, defaultPool(), "two pods are warm", func() bool { return pool.Status.Ready >= 2 })
}

var pool = &v1alpha1.MediaPool{ObjectMeta: metav1.ObjectMeta{Name: "default"}}

func defaultPool() *v1alpha1.MediaPool { return pool }

// samples applies config/samples as the documentation says, and lets two people talk.
func samples(t *testing.T) {
	kubectl(t, "apply", "-k", root+"/config/samples")
	t.Cleanup(func() { kubectl(t, "delete", "--wait", "-k", root+"/config/samples") })
	lobby := &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "lobby"}}
	ann := stay(t, lobby, "Ann", ticket(t, lobby))
	bob := stay(t, lobby, "Bob", guest(t, "Bob"))
	speech(t, ann, bob)
	speech(t, bob, ann)
	await(t, lobby, "the room is open, with two people and microphones", func() bool {
		return lobby.Status.Phase == v1alpha1.RoomOpen && lobby.Status.Members == 2 && len(lobby.Status.Mics) == 2
	})
	recorder := &v1alpha1.JoinRequest{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "recorder"}}
	await(t, recorder, "the request is granted", func() bool { return recorder.Status.Phase == v1alpha1.JoinGranted })
	t.Logf("kubectl get voicerooms:\n%s", kubectl(t, "get", "voicerooms"))
	must(t, bob.Leave(t.Context()))
	must(t, ann.Leave(t.Context()))
}

// upgrade installs the next version while people talk. Their pod is of the version before,
// and stays; idle pods are replaced.
func upgrade(t *testing.T) {
	r, ann, bob := call(t, "skew")
	before := *r.Status.Media
	talking := speak(t, ann, bob)
	if out, err := helm(t, append([]string{"upgrade", release, chartPath, "--wait", "--timeout", "4m"}, values(nextVersion)...)...); err != nil {
		t.Fatalf("helm upgrade: %v\n%s", err, out)
	}
	until(t, "idle pods are of the next version", func() (bool, error) {
		var pods corev1.PodList
		if err := world.client.List(t.Context(), &pods, client.InNamespace(mediaNamespace), client.HasLabels{v1alpha1.LabelPool}); err != nil {
			return false, err
		}
		next := 0
		for _, p := range pods.Items {
			switch idle := p.Labels[v1alpha1.LabelRoomUID] == ""; {
			case idle && !strings.HasSuffix(p.Spec.Containers[0].Image, nextVersion):
				return false, fmt.Errorf("%s runs %s", p.Name, p.Spec.Containers[0].Image)
			case idle:
				next++
			}
		}
		return next >= 2, fmt.Errorf("%d idle pods", next)
	})
	talking.goesOn(t, before.Epoch)
	heard, lost, gap := talking.report()
	t.Logf("%d frames heard during the upgrade, %d lost, the longest time between two was %v", heard, lost, gap)
	if lost > 1 {
		t.Errorf("%d of %d frames were lost during the upgrade", lost, heard+lost)
	}
	await(t, r, "the room is there", func() bool { return r.Status.Media != nil })
	if r.Status.Media.PodUID != before.PodUID || r.Status.Media.Epoch != before.Epoch {
		t.Errorf("the room left its pod: %+v, was %+v", r.Status.Media, before)
	}
	cyd := stay(t, r, "Cyd", guest(t, "Cyd")) // through gateways and operators of the next version
	speak(t, bob, cyd).goesOn(t, before.Epoch)
}

// brokenValues are refused, with their name: by the schema before anything is applied, and
// by the API server what no schema can say. The next upgrade is as if nothing had been.
func brokenValues(t *testing.T) {
	revision := func() string {
		out, err := helm(t, "list", "--output", "json")
		must(t, err)
		return regexp.MustCompile(`"revision":"[0-9]+"`).FindString(out)
	}
	with := func(value string) (string, error) {
		return helm(t, append([]string{"upgrade", release, chartPath, "--set", value}, values(nextVersion)...)...)
	}
	before := revision()
	if out, err := with("operator.replicas=0"); err == nil || !strings.Contains(out, "/operator/replicas") {
		t.Errorf("helm upgrade --set operator.replicas=0: %v\n%s", err, out)
	}
	if after := revision(); before == "" || after != before {
		t.Errorf("%s became %s", before, after)
	}
	if out, err := with("defaultMediaPool.spec.network.portRange.min=30000"); err == nil || !strings.Contains(out, "min must not exceed max") {
		t.Errorf("helm upgrade to a range that is none: %v\n%s", err, out)
	}
	if out, err := with("operator.replicas=2"); err != nil {
		t.Errorf("helm upgrade to what there was: %v\n%s", err, out)
	}
}

// uninstall is refused while there are rooms. Then it leaves the definitions, which are
// deleted by name, and nothing else.
func uninstall(t *testing.T, before map[string]bool) {
	r := newRoom(t, "last")
	ticket(t, r)
	out, err := helm(t, "uninstall", release, "--wait", "--timeout", "3m")
	if err == nil || !strings.Contains(out, "voiceroom default/last") {
		t.Fatalf("helm uninstall while there is a room: %v\n%s", err, out)
	}
	advice := regexp.MustCompile(`helm (rollback voiceroom [0-9]+) `).FindStringSubmatch(out)
	if advice == nil {
		t.Fatalf("the refusal does not say how to keep the release:\n%s", out)
	}
	if out, err := helm(t, append(strings.Fields(advice[1]), "--wait", "--timeout", "3m")...); err != nil {
		t.Fatalf("helm %s: %v\n%s", advice[1], err, out)
	}
	if out, err := helm(t, append([]string{"upgrade", release, chartPath, "--dry-run=server"}, values(nextVersion)...)...); err != nil {
		t.Errorf("helm upgrade after a refused uninstall: %v\n%s", err, out)
	}
	must(t, world.client.Delete(t.Context(), r))
	gone(t, r)
	until(t, "all groups are gone", func() (bool, error) {
		var groups v1alpha1.GroupChatList
		err := world.client.List(t.Context(), &groups)
		return len(groups.Items) == 0, err
	})
	if out, err := helm(t, "uninstall", release, "--wait", "--timeout", "3m"); err != nil {
		t.Fatalf("helm uninstall: %v\n%s", err, out)
	}
	must(t, world.client.Delete(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: systemNamespace}}, client.PropagationPolicy(metav1.DeletePropagationForeground)))
	until(t, "nothing but the definitions is left", func() (bool, error) {
		left := since(t, before)
		kept := len(left)
		left = slices.DeleteFunc(left, definition)
		return len(left) == 0 && kept > 0, fmt.Errorf("left: %v and %d definitions", left, kept-len(left))
	})
	kubectl(t, "delete", "-k", root+"/config/crd")
	until(t, "nothing is left", func() (bool, error) {
		left := since(t, before)
		return len(left) == 0, fmt.Errorf("left: %v", left)
	})
}

// definition says whether an object of the inventory is a definition of ours, or what the
// API server makes of these.
func definition(o string) bool {
	kind, name, _ := strings.Cut(o, " ")
	return (kind == "CustomResourceDefinition" || kind == "APIService") && strings.HasSuffix(name, ".voiceroom.dev")
}
