package e2e

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// patience is how long anything may take before a test gives up; nothing asserts it.
const patience = 2 * time.Minute

// command runs a program against the cluster and returns what it printed.
func command(t testing.TB, path string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+world.cluster.Kubeconfig())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// kubectl must succeed.
func kubectl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := command(t, world.kubectl, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// helm runs in the installation's namespace.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return command(t, world.helm, append(args, "--namespace", systemNamespace)...)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until asks again and again; it fails the test after patience.
func until(t testing.TB, what string, done func() (bool, error)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s (%v)", patience, what, err)
		}
		<-tick.C
	}
}

// await reads o again and again until ready says so.
func await(t testing.TB, o client.Object, what string, ready func() bool) {
	t.Helper()
	until(t, what, func() (bool, error) {
		if err := world.client.Get(context.WithoutCancel(t.Context()), client.ObjectKeyFromObject(o), o); err != nil {
			return false, err
		}
		if !ready() {
			return false, fmt.Errorf("last seen: %s", state(o))
		}
		return true, nil
	})
}

// state is what a failure says of o.
func state(o client.Object) string {
	switch o := o.(type) {
	case *v1alpha1.VoiceRoom:
		return fmt.Sprintf("%s %+v %v", o.Status.Phase, o.Status.Media, o.Status.Conditions)
	case *v1alpha1.MediaPool:
		return fmt.Sprintf("%+v", o.Status)
	}
	return fmt.Sprint(client.ObjectKeyFromObject(o))
}

// gone waits until o does not exist.
func gone(t testing.TB, o client.Object) {
	t.Helper()
	until(t, fmt.Sprintf("%T %s is gone", o, o.GetName()), func() (bool, error) {
		err := world.client.Get(context.WithoutCancel(t.Context()), client.ObjectKeyFromObject(o), o)
		return err != nil && client.IgnoreNotFound(err) == nil, err
	})
}

// create makes o until the test ends.
func create(t testing.TB, o client.Object) {
	t.Helper()
	must(t, world.client.Create(t.Context(), o))
	t.Cleanup(func() {
		must(t, client.IgnoreNotFound(world.client.Delete(context.Background(), o)))
		gone(t, o)
	})
}

// told waits for an Event about o that gives this reason, and returns what it says.
func told(t testing.TB, o client.Object, reason string) string {
	t.Helper()
	var note string
	until(t, fmt.Sprintf("an Event about %s says %s", o.GetName(), reason), func() (bool, error) {
		var events eventsv1.EventList
		if err := world.client.List(t.Context(), &events); err != nil {
			return false, err
		}
		for _, e := range events.Items {
			if e.Regarding.UID == o.GetUID() && e.Reason == reason {
				note = e.Note
			}
		}
		return note != "", nil
	})
	return note
}

// condition is one of a resource's; empty if it is not there.
func condition(all []metav1.Condition, name string) metav1.Condition {
	if c := meta.FindStatusCondition(all, name); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// inventory lists every object of the cluster but what comes and goes by itself.
func inventory(t testing.TB) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	lists, err := discovery.NewDiscoveryClientForConfigOrDie(world.config).ServerPreferredResources()
	must(t, err)
	objects, err := metadata.NewForConfig(world.config)
	must(t, err)
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		must(t, err)
		for _, r := range list.APIResources {
			if r.Kind == "Event" || gv.Group == "metrics.k8s.io" || !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "delete") {
				continue
			}
			found, err := objects.Resource(gv.WithResource(r.Name)).List(context.WithoutCancel(t.Context()), metav1.ListOptions{})
			if err != nil {
				t.Logf("listing %s: %v", r.Name, err) // a kind that is just going
				continue
			}
			for _, o := range found.Items {
				if o.Namespace == corev1.NamespaceNodeLease { // a node makes its own, some time after it is ready
					continue
				}
				all[fmt.Sprintf("%s %s/%s", r.Kind, o.Namespace, o.Name)] = true
			}
		}
	}
	return all
}

// since are the objects that were not there before.
func since(t testing.TB, before map[string]bool) []string {
	now := inventory(t)
	maps.DeleteFunc(now, func(o string, _ bool) bool { return before[o] })
	return slices.Sorted(maps.Keys(now))
}

// dumpIfFailed writes what there is to find out why into a directory that it names.
func dumpIfFailed(t *testing.T) {
	if !t.Failed() {
		return
	}
	dir, err := os.MkdirTemp("", "voiceroom-e2e-failed-")
	if err != nil {
		t.Log(err)
		return
	}
	t.Logf("pods, events, logs and resources are in %s; logs of the nodes in %s", dir, world.cluster.LogDir())
	for file, args := range map[string][]string{
		"pods.txt":       {"get", "pods", "-A", "-o", "wide"},
		"events.txt":     {"get", "events", "-A", "--sort-by=.lastTimestamp"},
		"resources.yaml": {"get", "voicerooms,groupchats,joinrequests,mediapools,chatproviders", "-A", "-o", "yaml"},
		"dump.txt":       {"cluster-info", "dump", "--all-namespaces", "--output-directory", dir},
	} {
		out, err := command(t, world.kubectl, args...)
		if err != nil {
			t.Logf("kubectl %s: %v", strings.Join(args, " "), err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(out), 0o600); err != nil {
			t.Log(err)
		}
	}
}
