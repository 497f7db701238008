package gateway_test

import (
	"maps"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"voiceroom.dev/voiceroom/gateway"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/docs/documents"
)

// document is docs/openapi.yaml. Every request that a test here makes is compared with it.
var document = func() *documents.Document {
	d, err := documents.OpenAPI()
	must(err)
	return d
}()

// agree compares a request and its answer with the document.
func (w *world) agree(c call, a answer) {
	w.t.Helper()
	if !strings.HasPrefix(c.path, "/v1") && !strings.HasPrefix(c.path, "/rtc") || c.method == http.MethodOptions {
		return // the page, and what a browser asks before
	}
	mediaType, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err := document.CheckAnswer(c.method, c.path, a.status, mediaType, a.body); err != nil {
		w.t.Errorf("%s %s: the answer is not as documented: %v", c.method, c.path, err)
	}
	w.agreeOnCode(c, a)
	if a.status/100 != 2 {
		return
	}
	if mediaType = "application/json"; c.contentType != "" {
		mediaType, _, _ = mime.ParseMediaType(c.contentType)
	}
	if err := document.CheckRequest(c.method, c.path, mediaType, []byte(c.body)); err != nil {
		w.t.Errorf("%s %s was taken and is not as documented: %v", c.method, c.path, err)
	}
}

// Every route is documented and everything that is documented is a route.
func TestDocumentHasEveryRoute(t *testing.T) {
	g, err := gateway.New(gateway.Config{Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	operations := map[string]bool{}
	for path, item := range document.Paths {
		for method, o := range item.Operations() {
			documented = append(documented, method+" "+path)
			if o.OperationID == "" || operations[o.OperationID] || o.Summary == "" {
				t.Errorf("%s %s: operationId %q is missing or not the only one, or there is no summary", method, path, o.OperationID)
			}
			operations[o.OperationID] = true
			if _, ok := o.Responses["default"]; !ok || len(o.Responses) < 2 {
				t.Errorf("%s %s does not say how it succeeds and fails", method, path)
			}
			for _, tag := range o.Tags {
				if !slices.ContainsFunc(document.Tags, func(t documents.Tag) bool { return t.Name == tag }) {
					t.Errorf("%s %s: there is no tag %s", method, path, tag)
				}
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
	schemas := maps.Clone(gateway.Bodies)
	for _, name := range room.CommandNames() {
		if !room.ClientCommand(name) {
			continue
		}
		c, err := room.Decode(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		schema := reflect.TypeOf(c).Name()
		schemas[schema] = c
		_, o, ok := document.Find("POST", "/v1/rooms/n/r/commands/"+name)
		if want := "#/components/schemas/" + schema; !ok || o.RequestBody == nil || o.RequestBody.Content["application/json"].Schema["$ref"] != want {
			t.Errorf("command %s: its body is not %s", name, want)
		}
	}
	for name, body := range schemas {
		properties, _ := document.Components.Schemas[name]["properties"].(map[string]any)
		documented := []string{}
		for field := range properties {
			documented = append(documented, field)
		}
		slices.Sort(documented)
		if diff := cmp.Diff(documents.Fields(body), documented); diff != "" {
			t.Errorf("schema %s (-sent +documented):\n%s", name, diff)
		}
	}
}

func TestDocumentIsSound(t *testing.T) {
	if err := document.CheckReferences(); err != nil {
		t.Error(err)
	}
	for name, s := range document.Components.Schemas {
		if err := documents.CheckKeywords(s); err != nil {
			t.Errorf("schema %s: %v", name, err)
		}
	}
	for path, item := range document.Paths {
		named := 0
		for _, p := range item.Parameters {
			if p.Ref != "" {
				p = document.Components.Parameters[strings.TrimPrefix(p.Ref, "#/components/parameters/")]
			}
			named++
			if p.In != "path" || !p.Required || !strings.Contains(path, "{"+p.Name+"}") {
				t.Errorf("%s: parameter %q is not in it", path, p.Name)
			}
		}
		if named != strings.Count(path, "{") {
			t.Errorf("%s: %d parameters are described", path, named)
		}
	}
}
