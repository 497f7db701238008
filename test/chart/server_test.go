package chart

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/controlplane"
	"voiceroom.dev/voiceroom/hack/kubeassets/kubebin"
	"voiceroom.dev/voiceroom/hack/stack"
)

// server starts an API server and returns a client of it and its kubeconfig.
func server(t *testing.T, crds ...string) (client.Client, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	assets, err := kubebin.Ensure(ctx, os.Stderr, kubebin.ControlPlane()...)
	if err != nil {
		t.Fatal(err)
	}
	plane, err := controlplane.Start(ctx, controlplane.Options{Assets: assets, CRDPaths: crds, WithoutControllers: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	scheme := stack.Scheme()
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(plane.Config(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := controlplane.WriteKubeconfig(kubeconfig, plane.Config()); err != nil {
		t.Fatal(err)
	}
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	if err := c.Create(ctx, system); err != nil {
		t.Fatal(err)
	}
	return c, kubeconfig
}

func TestServerAcceptsEveryObject(t *testing.T) {
	c, _ := server(t, filepath.Join(root, chartPath, "crds"))
	for _, name := range []string{"voiceroom-media", "calls"} {
		if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	for name, values := range variants {
		t.Run(name, func(t *testing.T) {
			for _, o := range render(t, values...) {
				dryRun(t, c, o)
			}
		})
	}
}

// dryRun has the server accept o without keeping it, and, if it makes pods, the pod
// that it would make, which Pod Security judges.
func dryRun(t *testing.T, c client.Client, o *unstructured.Unstructured) {
	t.Helper()
	if err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o.DeepCopy()), client.DryRunAll, client.FieldOwner("test"), client.ForceOwnership); err != nil {
		t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
		return
	}
	template, ok := podTemplate(t, o)
	if !ok {
		return
	}
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.Name, pod.Namespace = o.GetName()+"-0", o.GetNamespace()
	pod.Spec.PriorityClassName = "" // its class need not exist here
	if err := c.Create(t.Context(), pod, client.DryRunAll); err != nil {
		t.Errorf("the pod of %s %s: %v", o.GetKind(), o.GetName(), err)
	}
}

// podTemplate is the template of the pods that o makes, if it makes any.
func podTemplate(t *testing.T, o *unstructured.Unstructured) (corev1.PodTemplateSpec, bool) {
	t.Helper()
	switch o.GetKind() {
	case "Deployment":
		return as[appsv1.Deployment](t, o).Spec.Template, true
	case "Job":
		return as[batchv1.Job](t, o).Spec.Template, true
	case "StatefulSet":
		s := as[appsv1.StatefulSet](t, o)
		for _, claim := range s.Spec.VolumeClaimTemplates { // the controller mounts one of each
			s.Spec.Template.Spec.Volumes = append(s.Spec.Template.Spec.Volumes, corev1.Volume{Name: claim.Name,
				VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name + "-0"}}})
		}
		return s.Spec.Template, true
	}
	return corev1.PodTemplateSpec{}, false
}

// A NetworkPolicy that selects no pod, or names a port that its pods lack, protects
// nothing, and nobody notices.
func TestNetworkPoliciesMeanOurPods(t *testing.T) {
	objects := render(t)
	var pods []corev1.PodTemplateSpec
	for _, o := range objects {
		if template, ok := podTemplate(t, o); ok {
			pods = append(pods, template)
		}
	}
	policies := 0
	for _, o := range objects {
		if o.GetKind() != "NetworkPolicy" || o.GetNamespace() != namespace { // a real cluster's test looks at the media pods
			continue
		}
		policies++
		policy := as[networkingv1.NetworkPolicy](t, o)
		selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
		if err != nil {
			t.Fatal(err)
		}
		selected := slices.DeleteFunc(slices.Clone(pods), func(p corev1.PodTemplateSpec) bool { return !selector.Matches(labels.Set(p.Labels)) })
		if len(selected) != 1 {
			t.Fatalf("%s selects %d of the chart's pods, want one", policy.Name, len(selected))
		}
		for _, rule := range policy.Spec.Ingress {
			for _, port := range rule.Ports {
				if !slices.ContainsFunc(selected[0].Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.Name == port.Port.String() }) {
					t.Errorf("%s lets in port %s, which its pods do not have", policy.Name, port.Port)
				}
			}
		}
	}
	if policies != 3 {
		t.Errorf("%d NetworkPolicies in %s, want those of operator, gateway and chat", policies, namespace)
	}
}

// TestUpgradeBringsDefinitions installs an older chart, whose definitions lack a field,
// and upgrades it; then a pool in use is not deleted, and uninstalling leaves rooms alone.
func TestUpgradeBringsDefinitions(t *testing.T) {
	c, kubeconfig := server(t)
	ctx := t.Context()
	run := func(args ...string) {
		t.Helper()
		if out, err := helm(t, append(args, "--kubeconfig", kubeconfig, "--namespace", namespace)...); err != nil {
			t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	run("install", "voiceroom", olderChart(t))
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "mediapools.voiceroom.dev"}}
	update := func() bool {
		if err := c.Get(ctx, client.ObjectKeyFromObject(crd), crd); err != nil {
			t.Fatal(err)
		}
		_, ok := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties["update"]
		return ok
	}
	if update() {
		t.Fatal("the older definition has the newer field: the test proves nothing")
	}
	run("upgrade", "voiceroom", chartPath, "--set", "defaultMediaPool.spec.update.deadline=1h")
	if !update() {
		t.Error("the upgrade left the old definition")
	}
	pool := &v1alpha1.MediaPool{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if err := c.Get(ctx, client.ObjectKeyFromObject(pool), pool); err != nil {
		t.Fatal(err)
	}
	if d := pool.Spec.Update.Deadline; d == nil || d.Duration != time.Hour {
		t.Errorf("the upgraded pool has deadline %v, want 1h", d)
	}
	poolInUse(t, c, pool)
	run("uninstall", "voiceroom", "--no-hooks") // no kubelet would run them
	if err := c.Get(ctx, client.ObjectKeyFromObject(crd), crd); err != nil || crd.DeletionTimestamp != nil {
		t.Errorf("the definitions after uninstalling: %v, deleted at %v", err, crd.DeletionTimestamp)
	}
}

// olderChart is a copy of the chart whose MediaPools have no update deadline.
func olderChart(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "voiceroom")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, chartPath))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "crds/voiceroom.dev_mediapools.yaml")
	var crd apiextensionsv1.CustomResourceDefinition
	read(t, path, &crd)
	delete(crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties, "update")
	write(t, path, crd)
	return dir
}

// poolInUse checks that a pool is deleted only when no pod of it holds a room.
func poolInUse(t *testing.T, c client.Client, pool *v1alpha1.MediaPool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	assigned := func(n int32) {
		t.Helper()
		pool.Status.Assigned = n
		if err := c.Status().Update(ctx, pool); err != nil {
			t.Fatal(err)
		}
	}
	assigned(3)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for { // the server takes up a new policy within a second or so
		err := c.Delete(ctx, pool, client.DryRunAll)
		if apierrors.IsForbidden(err) {
			for _, says := range []string{fmt.Sprintf("MediaPool %s hold rooms (3)", pool.Name), "Delete these rooms", "kubectl get pods -n voiceroom-media"} {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("the refusal lacks %q: %v", says, err)
				}
			}
			break
		}
		if err != nil || ctx.Err() != nil {
			t.Fatalf("deleting a pool in use: %v", err)
		}
		<-tick.C
	}
	assigned(0)
	if err := c.Delete(ctx, pool, client.DryRunAll); err != nil {
		t.Errorf("deleting a pool that holds no room: %v", err)
	}
}

// write writes an object as YAML.
func write(t *testing.T, path string, o any) {
	t.Helper()
	b, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
