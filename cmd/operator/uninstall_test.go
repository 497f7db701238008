package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/groupchat"
	"voiceroom.dev/voiceroom/hack/controlplane"
	"voiceroom.dev/voiceroom/hack/kubeassets/kubebin"
	"voiceroom.dev/voiceroom/hack/stack"
)

// TestUninstall runs it as the user whose role is generated from its markers, against an
// API server with a garbage collector.
func TestUninstall(t *testing.T) {
	admin, ours := uninstallCluster(t)
	u := &uninstalling{namespace: "voiceroom-system", mediaNamespace: "voiceroom-media"}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	runtimeObjects := leftovers()
	for _, o := range runtimeObjects {
		create(t, admin, o)
	}
	room := &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "lobby"}, Spec: v1alpha1.VoiceRoomSpec{Owner: "key:t:ann"}}
	create(t, admin, room)
	err := u.run(ctx, ours)
	if err == nil || !strings.Contains(err.Error(), "voiceroom default/lobby") || !strings.Contains(err.Error(), "kubectl delete") {
		t.Fatalf("uninstalling while there is a room: %v", err)
	}
	for _, o := range runtimeObjects {
		if err := admin.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil || o.GetDeletionTimestamp() != nil {
			t.Errorf("the refusal deleted %T %s: %v", o, o.GetName(), err)
		}
	}
	if err := admin.Delete(ctx, room); err != nil {
		t.Fatal(err)
	}
	if err := u.run(ctx, ours); err != nil {
		t.Fatal(err)
	}
	for _, o := range runtimeObjects {
		if err := admin.Get(ctx, client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			t.Errorf("%T %s is left: %v", o, o.GetName(), err)
		}
	}
	if err := u.run(ctx, ours); err != nil {
		t.Errorf("running it again: %v", err)
	}
}

// leftovers are what an operator and the chart made.
func leftovers() []client.Object {
	meta := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name}
	}
	selector := map[string]string{"app": "operator"}
	return []client.Object{
		&v1alpha1.ChatProvider{ObjectMeta: meta("", "default"), Spec: v1alpha1.ChatProviderSpec{NATS: &v1alpha1.NATSProvider{URL: "nats://chat:4222"}}},
		&v1alpha1.MediaPool{ObjectMeta: meta("", "default")},
		&appsv1.Deployment{ObjectMeta: meta("voiceroom-system", "voiceroom-operator"), Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: selector},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: selector},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "operator", Image: "operator"}}}}}},
		&corev1.Secret{ObjectMeta: meta("voiceroom-system", v1alpha1.TokenKeysSecret)},
		&corev1.Secret{ObjectMeta: meta("voiceroom-system", v1alpha1.OperatorKeySecret)},
		&corev1.Secret{ObjectMeta: meta("voiceroom-system", v1alpha1.GatewayKeySecret)},
		&corev1.Secret{ObjectMeta: meta("voiceroom-system", v1alpha1.CASecret)},
		&corev1.ConfigMap{ObjectMeta: meta("voiceroom-system", v1alpha1.PublicKeysConfigMap)},
		&corev1.ConfigMap{ObjectMeta: meta("voiceroom-media", v1alpha1.PublicKeysConfigMap)},
		&corev1.ConfigMap{ObjectMeta: meta("voiceroom-system", groupchat.OrphansConfigMap)},
		&coordinationv1.Lease{ObjectMeta: meta("kube-system", "voiceroom-operator")},
	}
}

// uninstallCluster returns clients of an API server: an administrator's, and that of the
// generated role.
func uninstallCluster(t *testing.T) (admin, ours client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	assets, err := kubebin.Ensure(ctx, os.Stderr, kubebin.ControlPlane()...)
	if err != nil {
		t.Fatal(err)
	}
	plane, err := controlplane.Start(ctx, controlplane.Options{Assets: assets, CRDPaths: []string{"../../config/crd"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	user, err := plane.User("uninstall")
	if err != nil {
		t.Fatal(err)
	}
	scheme, err := uninstallScheme()
	if err != nil {
		t.Fatal(err)
	}
	admin, err = client.New(plane.Config(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	ours, err = client.New(user, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"voiceroom-system", "voiceroom-media"} {
		create(t, admin, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	roles, err := stack.Objects(filepath.Join("../../config/rbac", "uninstall.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	subject := rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "uninstall"}
	for _, role := range roles {
		create(t, admin, role)
		ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: role.GetKind(), Name: role.GetName()}
		if role.GetKind() == "ClusterRole" {
			create(t, admin, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: role.GetName()}, Subjects: []rbacv1.Subject{subject}, RoleRef: ref})
			continue
		}
		create(t, admin, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: role.GetNamespace(), Name: role.GetName()},
			Subjects: []rbacv1.Subject{subject}, RoleRef: ref})
	}
	return admin, ours
}

func create(t *testing.T, c client.Client, o client.Object) {
	t.Helper()
	if err := c.Create(t.Context(), o); err != nil {
		t.Fatalf("creating %T %s: %v", o, o.GetName(), err)
	}
}
