package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// install creates the namespaces and binds the generated roles to the service
// accounts.
func (s *Stack) install(ctx context.Context) error {
	s.opts.Progress("installing roles and namespaces")
	for _, n := range []*corev1.Namespace{namespace(SystemNamespace, "restricted"), namespace(MediaNamespace, "privileged")} {
		if err := s.Client.Create(ctx, n); err != nil {
			return fmt.Errorf("creating namespace %s: %w", n.Name, err)
		}
	}
	for _, name := range []string{"operator", "gateway"} {
		objects, err := Objects(filepath.Join(s.opts.Root, "config/rbac", name+".yaml"))
		if err != nil {
			return err
		}
		for _, o := range objects {
			if err := s.Client.Create(ctx, o); err != nil {
				return fmt.Errorf("creating role %s: %w", o.GetName(), err)
			}
			if err := s.bind(ctx, o, "voiceroom-"+name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Stack) bind(ctx context.Context, role *unstructured.Unstructured, account string) error {
	subject := rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: fmt.Sprintf("system:serviceaccount:%s:%s", SystemNamespace, account)}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: role.GetKind(), Name: role.GetName()}
	var binding client.Object = &rbacv1.RoleBinding{Subjects: []rbacv1.Subject{subject}, RoleRef: ref}
	if role.GetKind() == "ClusterRole" {
		binding = &rbacv1.ClusterRoleBinding{Subjects: []rbacv1.Subject{subject}, RoleRef: ref}
	}
	binding.SetName(role.GetName())
	binding.SetNamespace(role.GetNamespace())
	if err := s.Client.Create(ctx, binding); err != nil {
		return fmt.Errorf("binding role %s: %w", role.GetName(), err)
	}
	return nil
}

// applyDefaults creates the default chat provider and media pool.
func (s *Stack) applyDefaults(ctx context.Context) error {
	provider := &v1alpha1.ChatProvider{Spec: v1alpha1.ChatProviderSpec{NATS: &v1alpha1.NATSProvider{URL: s.ChatURL}}}
	provider.Name = "default"
	pool := &v1alpha1.MediaPool{Spec: v1alpha1.MediaPoolSpec{Warm: s.opts.Warm, Network: v1alpha1.PoolNetwork{Advertise: s.opts.Advertise}}}
	if s.opts.Pool != nil {
		pool.Spec = *s.opts.Pool
	}
	pool.Name = "default"
	for _, o := range []client.Object{provider, pool} {
		if err := s.Client.Create(ctx, o); err != nil {
			return fmt.Errorf("creating %T %s: %w", o, o.GetName(), err)
		}
	}
	return nil
}

// OwnAddresses are the ones that browsers here reach media pods by. Chromium takes
// the loopback address; Firefox ignores it as an ICE candidate, and needs the one
// that routes to elsewhere start from.
func OwnAddresses() []string {
	addresses := []string{"127.0.0.1"}
	conn, err := net.Dial("udp4", "203.0.113.1:9") // sends nothing: it asks for the route
	if err != nil {
		return addresses // there is none
	}
	defer func() { _ = conn.Close() }()
	return append(addresses, conn.LocalAddr().(*net.UDPAddr).IP.String())
}

// waitReady waits for the provider and the warm pods.
func (s *Stack) waitReady(ctx context.Context) error {
	s.opts.Progress("waiting for the chat provider and the first media pods")
	provider, pool := &v1alpha1.ChatProvider{}, &v1alpha1.MediaPool{}
	provider.Name, pool.Name = "default", "default"
	err := s.Wait(ctx, provider, 90*time.Second, func() bool { return meta.IsStatusConditionTrue(provider.Status.Conditions, v1alpha1.ConditionReady) })
	if err != nil {
		return err
	}
	return s.Wait(ctx, pool, 90*time.Second, func() bool { return pool.Status.Ready >= min(1, s.opts.Warm) })
}

// Wait reads o again and again until done says so.
func (s *Stack) Wait(ctx context.Context, o client.Object, timeout time.Duration, done func() bool) error {
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, timeout, true, func(ctx context.Context) (bool, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil && done(), err
	})
	if err != nil {
		return fmt.Errorf("waiting for %T %s: %w; its status: %s", o, o.GetName(), err, statusOf(o))
	}
	return nil
}

// WaitGone waits until o does not exist.
func (s *Stack) WaitGone(ctx context.Context, o client.Object, timeout time.Duration) error {
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, timeout, true, func(ctx context.Context) (bool, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(o), o)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	if err != nil {
		return fmt.Errorf("waiting for the end of %T %s: %w", o, o.GetName(), err)
	}
	return nil
}

// statusOf says what the conditions of o say.
func statusOf(o client.Object) string {
	switch o := o.(type) {
	case *v1alpha1.VoiceRoom:
		return fmt.Sprint(o.Status.Phase, " ", o.Status.Conditions)
	case *v1alpha1.ChatProvider:
		return fmt.Sprint(o.Status.Conditions)
	case *v1alpha1.MediaPool:
		return fmt.Sprintf("%+v", o.Status)
	}
	return "?"
}

// Objects reads the objects of a YAML file.
func Objects(path string) ([]*unstructured.Unstructured, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading objects: %w", err)
	}
	defer func() { _ = f.Close() }()
	var objects []*unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(f, 4096)
	for {
		o := &unstructured.Unstructured{}
		err := d.Decode(&o.Object)
		switch {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, fmt.Errorf("reading objects of %s: %w", path, err)
		case len(o.Object) > 0:
			objects = append(objects, o)
		}
	}
}
