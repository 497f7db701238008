package gateway_test

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/yaml"

	"voiceroom.dev/voiceroom/gateway"
)

// document is docs/openapi.yaml, as far as it is compared.
type document struct {
	Paths      map[string]map[string]any `json:"paths"`
	Components map[string]map[string]any `json:"components"`
}

func readDocument(t *testing.T) (document, any) {
	t.Helper()
	text, err := os.ReadFile("../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d document
	var whole any
	for _, into := range []any{&d, &whole} {
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	return d, whole
}

// Every route is documented and everything that is documented is a route.
func TestDocumentHasEveryRoute(t *testing.T) {
	d, _ := readDocument(t)
	g, err := gateway.New(gateway.Config{Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	operations := map[string]bool{}
	for path, item := range d.Paths {
		for method, operation := range item {
			if method == "parameters" {
				continue
			}
			documented = append(documented, strings.ToUpper(method)+" "+path)
			o, _ := operation.(map[string]any)
			id, _ := o["operationId"].(string)
			if id == "" || operations[id] || o["summary"] == nil {
				t.Errorf("%s %s: operationId %q is missing or not the only one, or there is no summary", method, path, id)
			}
			operations[id] = true
			if responses, _ := o["responses"].(map[string]any); len(responses) < 2 || responses["default"] == nil {
				t.Errorf("%s %s does not say how it succeeds and fails", method, path)
			}
		}
	}
	served := g.Routes()
	slices.Sort(served)
	slices.Sort(documented)
	if diff := cmp.Diff(served, documented); diff != "" {
		t.Errorf("routes (-served +documented):\n%s", diff)
	}
}

// The schemas have the fields that are sent and taken.
func TestDocumentHasEveryField(t *testing.T) {
	d, _ := readDocument(t)
	schemas := d.Components["schemas"]
	for name, body := range gateway.Bodies {
		var sent, documented []string
		for f := range reflect.TypeOf(body).Fields() {
			field, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			sent = append(sent, field)
		}
		schema, _ := schemas[name].(map[string]any)
		properties, _ := schema["properties"].(map[string]any)
		for field := range properties {
			documented = append(documented, field)
		}
		slices.Sort(sent)
		slices.Sort(documented)
		if diff := cmp.Diff(sent, documented); diff != "" {
			t.Errorf("schema %s (-sent +documented):\n%s", name, diff)
		}
	}
}

func TestDocumentsReferencesResolve(t *testing.T) {
	d, whole := readDocument(t)
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				parts := strings.Split(strings.TrimPrefix(ref, "#/components/"), "/")
				if len(parts) != 2 || d.Components[parts[0]][parts[1]] == nil {
					t.Errorf("%s leads nowhere", ref)
				}
			}
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		}
	}
	walk(whole)
}
