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
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"voiceroom.dev/voiceroom/hack/stack"
)

const (
	root      = "../.."
	chartPath = "charts/voiceroom"
	namespace = "voiceroom-system"
)

// helmPath is the pinned helm, built if need be.
var helmPath = sync.OnceValues(func() (string, error) {
	cmd := exec.CommandContext(context.Background(), "go", "tool", "-modfile=hack/tools/go.mod", "-n", "helm")
	cmd.Dir = root
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
})

// helm runs the pinned helm in the repository. It returns what it printed.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := helmPath()
	if err != nil {
		t.Fatalf("finding helm: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = root
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String() + errs.String(), err
	}
	return out.String(), nil
}

// render returns what the chart makes of values, in every namespace.
func render(t *testing.T, values ...string) []*unstructured.Unstructured {
	t.Helper()
	out, err := helm(t, append([]string{"template", "voiceroom", chartPath, "--namespace", namespace}, values...)...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", values, err, out)
	}
	path := filepath.Join(t.TempDir(), "rendered.yaml")
	if err := os.WriteFile(path, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	objects, err := stack.Objects(path)
	if err != nil || len(objects) < 5 {
		t.Fatalf("%v: %d objects, %v", values, len(objects), err)
	}
	return objects
}

// as is o as the type that its kind has.
func as[T any](t *testing.T, o *unstructured.Unstructured) T {
	t.Helper()
	var typed T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &typed); err != nil {
		t.Fatal(err)
	}
	return typed
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
		"--set", "operator.nodeSelector.pool=system", "--set", "operator.tolerations[0].operator=Exists", "--set", "gateway.priorityClassName=system-cluster-critical",
		"--set", "gateway.service.nodePort=30080", "--set", "chat.storage.retain=false", "--set", "networkPolicy.mediaPorts[0].min=30000",
		"--set", "networkPolicy.mediaPorts[0].max=30999", "--set", "networkPolicy.gatewayFrom[0].ipBlock.cidr=10.0.0.0/8"},
	"one of each":         {"--set", "operator.replicas=1", "--set", "gateway.replicas=1"},
	"open inside":         {"--set", "networkPolicy.enabled=false", "--set", "uninstall.cleanUp=false"},
	"no monitoring":       {"--set", "networkPolicy.metricsFrom=null"},
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
		var got map[string]string
		for _, o := range render(t, test.values...) {
			if o.GetKind() != "Role" || o.GetName() != "voiceroom-gateway-secrets" {
				continue
			}
			role := as[rbacv1.Role](t, o)
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
