package chart

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// Each broken value is refused before anything is applied, with its name.
func TestBrokenValuesAreRefused(t *testing.T) {
	for _, broken := range []struct {
		name   string   // what the refusal names; an unknown key is named within its parent
		values []string // --set, all of them
	}{
		{"/operator/replicas", []string{"operator.replicas=0"}},
		{"/operator/replicas", []string{"operator.replicas=2.5"}},
		{"/operator/resources/limits/memory", []string{"operator.resources.limits.memory=lots"}},
		{"/operator/tolerations/0", []string{"operator.tolerations[0].operation=Exists"}},
		{"/operator/nodeSelector/pool", []string{"operator.nodeSelector.pool=7"}},
		{"/operator/priorityClassName", []string{"operator.priorityClassName=Very_High"}},
		{"/gateway/replicas", []string{"gateway.replicas=many"}},
		{"/gateway/publicURL", []string{"gateway.publicURL=voice.example.org"}},
		{"/gateway/publicURL", []string{"gateway.publicURL=https://voice.example.org/path"}},
		{"/gateway/allowGuests", []string{"gateway.allowGuests=maybe"}},
		{"/gateway/allowedOrigins/0", []string{"gateway.allowedOrigins={app.example.org}"}},
		{"/gateway/oidc/audience", []string{"gateway.oidc.issuer=https://login.example.org"}},
		{"/gateway/oidc/issuer", []string{"gateway.oidc.issuer=login.example.org", "gateway.oidc.audience=voice"}},
		{"/gateway/apiKeysSecret", []string{"gateway.apiKeysSecret=Not_A_Name"}},
		{"/gateway/chatSecrets/0", []string{"gateway.chatSecrets={voiceroom-operator-key}"}},
		{"/gateway/chatSecrets/0", []string{"gateway.chatSecrets={Not_A_Name}"}},
		{"/gateway/roomNamespaces/0", []string{"gateway.roomNamespaces={Team A}"}},
		{"/gateway/trustedProxies/0", []string{"gateway.trustedProxies={everyone}"}},
		{"/gateway/service/port", []string{"gateway.service.port=0"}},
		{"/gateway/service/port", []string{"gateway.service.port=65536"}},
		{"/gateway/service/type", []string{"gateway.service.type=ExternalName"}},
		{"/gateway/ingress/host", []string{"gateway.ingress.enabled=true"}},
		{"/gateway/ingress/host", []string{"gateway.ingress.host=https://voice.example.org"}},
		{"/media/namespace", []string{"media.namespace=Not_A_Name"}},
		{"/chat/storage/size", []string{"chat.storage.size=lots"}},
		{"/chat/storage/retain", []string{"chat.storage.retain=perhaps"}},
		{"/image/pullPolicy", []string{"image.pullPolicy=Sometimes"}},
		{"/image/repository", []string{"image.repository="}},
		{"/image/tag", []string{"image.tag=not a tag"}},
		{"/imagePullSecrets/0", []string{"imagePullSecrets[0].nam=pull"}},
		{"/webhook/secretName", []string{"webhook.url=https://shop.example.org/voice"}},
		{"/monitoring/interval", []string{"monitoring.interval=often"}},
		{"/monitoring/labels/release", []string{"monitoring.labels.release=7"}},
		{"/monitoring/rules/runbooks", []string{"monitoring.rules.runbooks=no#anchor"}},
		{"/tracing/endpoint", []string{"tracing.endpoint=collector:4318"}},
		{"/tracing/ratio", []string{"tracing.ratio=2"}},
		{"/webhook/url", []string{"webhook.url=shop.example.org", "webhook.secretName=hook"}},
		{"/webhook/secretName", []string{"webhook.secretName=Not_A_Name"}},
		{"/defaultMediaPool/spec/network/portRange/min", []string{"defaultMediaPool.spec.network.portRange.min=80"}},
		{"/defaultMediaPool/spec/network/portRange/max", []string{"defaultMediaPool.spec.network.portRange.max=70000"}},
		{"/defaultMediaPool/spec/network/advertise/0", []string{"defaultMediaPool.spec.network.advertise={voice.example.org}"}},
		{"/defaultMediaPool/spec/warm", []string{"defaultMediaPool.spec.warm=-1"}},
		{"/defaultMediaPool/spec/maxPods", []string{"defaultMediaPool.spec.maxPods=0"}},
		{"/defaultMediaPool/spec/update/deadline", []string{"defaultMediaPool.spec.update.deadline=tomorrow"}},
		{"/defaultMediaPool/spec/audienceTick", []string{"defaultMediaPool.spec.audienceTick=20"}},
		{"/defaultMediaPool/spec", []string{"defaultMediaPool.spec.worm=2"}},
		{"/networkPolicy/mediaPorts/0", []string{"networkPolicy.mediaPorts[0].min=30000"}},
		{"/networkPolicy/metricsFrom/0", []string{"networkPolicy.metricsFrom[0].namespace=monitoring"}},
		{"/networkPolicy/gatewayFrom/0/ipBlock/cidr", []string{"networkPolicy.gatewayFrom[0].ipBlock.cidr=everyone"}},
		{"/crds/upgrade", []string{"crds.upgrade=often"}},
		{"/uninstall/cleanUp", []string{"uninstall.cleanUp=often"}},
		{"'no'", []string{"no.such=value"}},
		{"/gateway", []string{"gateway.replica=3"}},
	} {
		args := []string{"template", "voiceroom", chartPath, "--namespace", namespace}
		for _, value := range broken.values {
			args = append(args, "--set", value)
		}
		out, err := helm(t, args...)
		if err == nil {
			t.Errorf("--set %v was accepted", broken.values)
		} else if !strings.Contains(out, "don't meet the specifications of the schema") || !strings.Contains(out, broken.name) {
			t.Errorf("--set %v was refused without the schema's words or the name %s:\n%s", broken.values, broken.name, out)
		}
	}
}

// schema is as much of a JSON schema as lists fields.
type schema struct {
	Ref         string            `json:"$ref"`
	Properties  map[string]schema `json:"properties"`
	Additional  any               `json:"additionalProperties"`
	Definitions map[string]schema `json:"definitions"`
}

// The default pool's values are the MediaPool's own fields: what one knows, the other does too.
func TestSchemaKnowsThePoolsFields(t *testing.T) {
	var values schema
	read(t, filepath.Join(root, chartPath, "values.schema.json"), &values)
	var crd apiextensionsv1.CustomResourceDefinition
	read(t, filepath.Join(root, "config/crd/voiceroom.dev_mediapools.yaml"), &crd)
	ours := values.Properties["defaultMediaPool"].Properties["spec"]
	theirs := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	for path := range map[string]bool{"": true, "network": true, "network.portRange": true, "template": true, "update": true, "namespaceQuota": true} {
		of, want := ours, theirs
		for _, field := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' }) {
			of, want = of.Properties[field], want.Properties[field]
			if name, isRef := strings.CutPrefix(of.Ref, "#/definitions/"); isRef {
				of = values.Definitions[name]
			}
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want.Properties)), slices.Sorted(maps.Keys(of.Properties))); diff != "" {
			t.Errorf("defaultMediaPool.spec.%s (-MediaPool +values.schema.json):\n%s", path, diff)
		}
		if of.Additional != false {
			t.Errorf("defaultMediaPool.spec.%s takes unknown fields", path)
		}
	}
}

// read reads a file of JSON or YAML.
func read(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = yaml.YAMLToJSON(b); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}
