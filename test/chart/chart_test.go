// Package chart tests the Helm chart: every object that it renders is accepted by a
// real kube-apiserver, broken values are refused before anything is applied, and what
// runs in the operator's namespace fits the restricted Pod Security level.
package chart

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/hack/controlplane"
	"voiceroom.dev/voiceroom/hack/kubeassets/kubebin"
	"voiceroom.dev/voiceroom/hack/stack"
)

const (
	root      = "../.."
	chartPath = "charts/voiceroom"
	namespace = "voiceroom-system"
)

// helm runs the pinned helm in the repository.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"tool", "-modfile=hack/tools/go.mod", "helm"}, args...)...)
	cmd.Dir = root
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String() + errs.String(), err
	}
	return out.String(), nil
}

// variants of values that must all work.
var variants = map[string][]string{
	"defaults": nil,
	"everything": {"--set", "gateway.publicURL=https://voice.example.org", "--set", "gateway.allowGuests=true", "--set", "gateway.allowedOrigins={https://app.example.org}",
		"--set", "gateway.oidc.issuer=https://login.example.org", "--set", "gateway.oidc.audience=voiceroom", "--set", "gateway.apiKeysSecret=my-keys",
		"--set", "gateway.chatSecrets={matrix,xmpp}",
		"--set", "gateway.ingress.enabled=true", "--set", "gateway.ingress.host=voice.example.org", "--set", "gateway.ingress.tlsSecret=voice-tls",
		"--set", "gateway.ingress.className=nginx", "--set", "gateway.trustedProxies={10.0.0.0/8}", "--set", "gateway.service.type=LoadBalancer",
		"--set", "chat.existingSecret=my-chat", "--set", "chat.storage.className=fast", "--set", "imagePullSecrets[0].name=pull", "--set", "image.tag=v9",
		"--set", "webhook.url=https://shop.example.org/voice?of=calls", "--set", "webhook.secretName=my-webhook",
		"--set", "operator.nodeSelector.pool=system", "--set", "operator.tolerations[0].operator=Exists"},
	"no chat":             {"--set", "chat.enabled=false"},
	"no defaults":         {"--set", "defaultMediaPool.create=false", "--set", "defaultChatProvider.create=false"},
	"another media place": {"--set", "media.namespace=calls"},
}

func TestLint(t *testing.T) {
	for name, values := range variants {
		if out, err := helm(t, append([]string{"lint", "--strict", chartPath}, values...)...); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestBrokenValuesAreRefused(t *testing.T) {
	for _, values := range []string{
		"operator.replicas=0", "gateway.replicas=many", "gateway.publicURL=voice.example.org", "gateway.allowGuests=maybe", "gateway.oidc.issuer=https://login.example.org",
		"gateway.ingress.enabled=true", "media.namespace=Not_A_Name", "chat.storage.size=lots", "image.pullPolicy=Sometimes", "no.such=value", "gateway.service.port=0",
		"gateway.trustedProxies={everyone}", "gateway.chatSecrets={voiceroom-operator-key}", "gateway.chatSecrets={Not_A_Name}",
		"webhook.url=https://shop.example.org/voice", "webhook.url=shop.example.org", "webhook.secretName=Not_A_Name",
	} {
		out, err := helm(t, "template", "voiceroom", chartPath, "--namespace", namespace, "--set", values)
		if err == nil {
			t.Errorf("--set %s was accepted", values)
		} else if !strings.Contains(out, "don't meet the specifications of the schema") {
			t.Errorf("--set %s was refused without the schema's words:\n%s", values, out)
		}
	}
}

// The gateway may read the Secrets that its deployer names, each no more than it needs.
func TestSecretsOfTheGateway(t *testing.T) {
	for name, test := range map[string]struct {
		values []string
		want   map[string]string // verbs by Secret; none: no Role
	}{
		"defaults":  {nil, nil},
		"no chat":   {[]string{"--set", "chat.enabled=false"}, nil},
		"API keys":  {[]string{"--set", "gateway.apiKeysSecret=my-keys"}, map[string]string{"my-keys": "get list watch"}},
		"providers": {[]string{"--set", "gateway.chatSecrets={matrix,xmpp}"}, map[string]string{"matrix": "get", "xmpp": "get"}},
		"all": {[]string{"--set", "gateway.apiKeysSecret=my-keys", "--set", "gateway.chatSecrets={matrix}", "--set", "chat.existingSecret=my-chat"},
			map[string]string{"my-keys": "get list watch", "matrix": "get", "my-chat": "get"}},
	} {
		out, err := helm(t, append([]string{"template", "voiceroom", chartPath, "--namespace", namespace}, test.values...)...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		path := filepath.Join(t.TempDir(), "rendered.yaml")
		if err := os.WriteFile(path, []byte(out), 0o600); err != nil {
			t.Fatal(err)
		}
		objects, err := stack.Objects(path)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		for _, o := range objects {
			var role rbacv1.Role
			if o.GetKind() != "Role" || o.GetName() != "voiceroom-gateway-secrets" {
				continue
			}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role); err != nil {
				t.Fatal(err)
			}
			got = map[string]string{}
			for _, rule := range role.Rules {
				for _, secret := range rule.ResourceNames {
					got[secret] = strings.Join(rule.Verbs, " ")
				}
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestServerAcceptsEveryObject(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	assets, err := kubebin.Ensure(ctx, os.Stderr, kubebin.ControlPlane()...)
	if err != nil {
		t.Fatal(err)
	}
	plane, err := controlplane.Start(ctx, controlplane.Options{Assets: assets, CRDPaths: []string{filepath.Join(root, chartPath, "crds")}, WithoutControllers: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	c, err := client.New(plane.Config(), client.Options{Scheme: stack.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	for _, ns := range []*corev1.Namespace{system, {ObjectMeta: metav1.ObjectMeta{Name: "voiceroom-media"}}, {ObjectMeta: metav1.ObjectMeta{Name: "calls"}}} {
		if err := c.Create(ctx, ns); err != nil {
			t.Fatal(err)
		}
	}
	for name, values := range variants {
		t.Run(name, func(t *testing.T) {
			out, err := helm(t, append([]string{"template", "voiceroom", chartPath, "--namespace", namespace}, values...)...)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			path := filepath.Join(t.TempDir(), "rendered.yaml")
			if err := os.WriteFile(path, []byte(out), 0o600); err != nil {
				t.Fatal(err)
			}
			objects, err := stack.Objects(path)
			if err != nil || len(objects) < 5 {
				t.Fatalf("%d objects, %v", len(objects), err)
			}
			for _, o := range objects {
				dryRun(ctx, t, c, o)
			}
		})
	}
}

// dryRun has the server accept o without keeping it, and, if it makes pods, the pod
// that it would make, which Pod Security judges.
func dryRun(ctx context.Context, t *testing.T, c client.Client, o *unstructured.Unstructured) {
	t.Helper()
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(o.DeepCopy()), client.DryRunAll, client.FieldOwner("test"), client.ForceOwnership); err != nil {
		t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
		return
	}
	template, ok := podTemplate(t, o)
	if !ok {
		return
	}
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.Name, pod.Namespace = o.GetName()+"-0", o.GetNamespace()
	if err := c.Create(ctx, pod, client.DryRunAll); err != nil {
		t.Errorf("the pod of %s %s: %v", o.GetKind(), o.GetName(), err)
	}
}

// podTemplate is the template of the pods that o makes, if it makes any.
func podTemplate(t *testing.T, o *unstructured.Unstructured) (corev1.PodTemplateSpec, bool) {
	t.Helper()
	convert := func(typed any) {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, typed); err != nil {
			t.Fatal(err)
		}
	}
	switch o.GetKind() {
	case "Deployment":
		var d appsv1.Deployment
		convert(&d)
		return d.Spec.Template, true
	case "StatefulSet":
		var s appsv1.StatefulSet
		convert(&s)
		for _, claim := range s.Spec.VolumeClaimTemplates { // the controller mounts one of each
			s.Spec.Template.Spec.Volumes = append(s.Spec.Template.Spec.Volumes, corev1.Volume{Name: claim.Name,
				VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name + "-0"}}})
		}
		return s.Spec.Template, true
	}
	return corev1.PodTemplateSpec{}, false
}
