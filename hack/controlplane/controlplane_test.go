package controlplane_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"voiceroom.dev/voiceroom/hack/controlplane"
	"voiceroom.dev/voiceroom/hack/kubeassets/kubebin"
)

const roleVariable = "CONTROLPLANE_TEST_ROLE"

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	if os.Getenv(roleVariable) == "parent" {
		parent()
		return
	}
	goleak.VerifyTestMain(m)
}

// parent starts a plane, says so, and stops it when it is interrupted.
func parent() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	plane, err := start(ctx, controlplane.Options{})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("up")
	<-ctx.Done()
	if err := plane.Stop(); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, opts controlplane.Options) (*controlplane.Plane, error) {
	assets, err := kubebin.Ensure(ctx, os.Stderr, kubebin.All()...)
	if err != nil {
		return nil, err
	}
	opts.Assets = assets
	return controlplane.Start(ctx, opts)
}

func TestPlane(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	scratch := t.TempDir()
	auditLog := filepath.Join(scratch, "audit.log")
	plane, err := start(t.Context(), controlplane.Options{
		CRDPaths: []string{writeCRD(t, scratch)},
		AuditLog: auditLog,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plane.Stop() })
	c, err := client.New(plane.Config(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}

	t.Run("collects what an owner leaves behind", func(t *testing.T) { testGarbage(t, c) })
	t.Run("ends namespaces", func(t *testing.T) { testNamespace(t, c) })
	t.Run("enforces Pod Security", func(t *testing.T) { testPodSecurity(t, c) })
	t.Run("knows users", func(t *testing.T) { testUser(t, plane) })
	t.Run("writes a kubeconfig that kubectl takes", func(t *testing.T) { testKubeconfig(t, plane) })
	t.Run("records writes", func(t *testing.T) { testAudit(t, c, auditLog) })

	for range 2 {
		if err := plane.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if left := commandLines(t, temp); len(left) > 0 {
		t.Errorf("processes left behind: %q", left)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("files left behind: %v, %v", left, err)
	}
}

func TestStartLeavesNothingBehindWhenItFails(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	_, err := controlplane.Start(t.Context(), controlplane.Options{Assets: filepath.Join(temp, "nothing-here")})
	if err == nil || !strings.Contains(err.Error(), "nothing-here/etcd") {
		t.Errorf("got %v, want an error that names the missing binary", err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("files left behind: %v, %v", left, err)
	}
}

func TestProcessesEndWithTheProgram(t *testing.T) {
	for name, test := range map[string]struct {
		signal   syscall.Signal
		cleansUp bool
	}{
		// As a terminal does it: Ctrl-C reaches the program's whole process group.
		"interrupted": {syscall.SIGINT, true},
		"killed":      {syscall.SIGKILL, false},
	} {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), roleVariable+"=parent", "TMPDIR="+temp)
			cmd.Stderr = os.Stderr
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil || line != "up\n" {
				t.Fatalf("the program said %q, %v", line, err)
			}
			if got := len(commandLines(t, temp)); got != 3 {
				t.Errorf("%d processes, want etcd, kube-apiserver and kube-controller-manager", got)
			}
			if err := syscall.Kill(-cmd.Process.Pid, test.signal); err != nil {
				t.Fatal(err)
			}
			err = cmd.Wait()
			if !test.cleansUp {
				eventually(t, func(context.Context) (bool, error) { return len(commandLines(t, temp)) == 0, nil })
				return
			}
			if left := commandLines(t, temp); err != nil || len(left) > 0 {
				t.Errorf("it ended with %v and left %q", err, left)
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("files left behind: %v, %v", left, err)
			}
		})
	}
}

func testGarbage(t *testing.T, c client.Client) {
	owner := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "test.voiceroom.dev/v1", "kind": "Widget",
		"metadata": map[string]any{"name": "owner", "namespace": "default"},
	}}
	create(t, c, owner)
	owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owned", Namespace: "default"}}
	if err := controllerutil.SetOwnerReference(owner, owned, c.Scheme()); err != nil {
		t.Fatal(err)
	}
	create(t, c, owned)
	if err := c.Delete(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	eventuallyGone(t, c, owned)
}

func testNamespace(t *testing.T, c client.Client) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "short-lived"}}
	create(t, c, namespace)
	inside := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "inside", Namespace: namespace.Name}}
	create(t, c, inside)
	if err := c.Delete(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	eventuallyGone(t, c, inside)
	eventuallyGone(t, c, namespace)
}

func testPodSecurity(t *testing.T, c client.Client) {
	create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "restricted", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}})
	err := c.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "pod", Namespace: "restricted"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "PodSecurity") {
		t.Errorf("got %v, want a refusal by PodSecurity", err)
	}
}

func testUser(t *testing.T, plane *controlplane.Plane) {
	cfg, err := plane.User("nobody-special")
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cfg, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = c.List(t.Context(), &corev1.SecretList{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "nobody-special") {
		t.Errorf("got %v, want a refusal of that user by RBAC", err)
	}
}

func testKubeconfig(t *testing.T, plane *controlplane.Plane) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := controlplane.WriteKubeconfig(path, plane.Config()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	assets, err := kubebin.Ensure(t.Context(), io.Discard, kubebin.All()...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(filepath.Join(assets, "kubectl"), "--kubeconfig", path, "get", "widgets", "-A").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "No resources found") {
		t.Errorf("kubectl said %q, %v", out, err)
	}
}

func testAudit(t *testing.T, c client.Client, path string) {
	create(t, c, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "audited", Namespace: "default"}})
	type event struct {
		Verb      string
		User      struct{ Username string }
		ObjectRef struct{ Resource, Name string }
	}
	eventually(t, func(context.Context) (bool, error) {
		file, err := os.Open(path)
		if err != nil {
			return false, err
		}
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			var e event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				continue // a line that is still being written
			}
			if e.Verb == "create" && e.ObjectRef.Name == "audited" {
				return e.ObjectRef.Resource == "configmaps" && e.User.Username == "admin", nil
			}
		}
		return false, nil
	})
}

func create(t *testing.T, c client.Client, obj client.Object) {
	t.Helper()
	if err := c.Create(t.Context(), obj); err != nil {
		t.Fatal(err)
	}
}

func eventuallyGone(t *testing.T, c client.Client, obj client.Object) {
	t.Helper()
	eventually(t, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, client.ObjectKeyFromObject(obj), obj)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
}

func eventually(t *testing.T, condition wait.ConditionWithContextFunc) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, condition); err != nil {
		t.Fatal(err)
	}
}

// commandLines returns the command lines of running processes that mention what.
func commandLines(t *testing.T, what string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), what) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

func writeCRD(t *testing.T, dir string) string {
	t.Helper()
	const crd = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.test.voiceroom.dev}
spec:
  group: test.voiceroom.dev
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object}}
`
	path := filepath.Join(dir, "widgets.yaml")
	if err := os.WriteFile(path, []byte(crd), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
