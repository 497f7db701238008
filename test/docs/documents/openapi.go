// Package documents reads the two descriptions of the API, docs/openapi.yaml and
// docs/protocol.md, for the tests that compare them with the code and with what is
// really sent.
package documents

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

// root is the repository.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}

// Schema is a JSON schema, which is checked by its own rules when it is compiled.
type Schema = map[string]any

// The parts of an OpenAPI 3.1 document that ours has. A field that is not here is an error.
type (
	// Document is docs/openapi.yaml.
	Document struct {
		OpenAPI    string                `json:"openapi"`
		Info       map[string]any        `json:"info"`
		Servers    []map[string]any      `json:"servers"`
		Tags       []Tag                 `json:"tags"`
		Security   []map[string][]string `json:"security"`
		Paths      map[string]PathItem   `json:"paths"`
		Components Components            `json:"components"`

		mu       sync.Mutex
		compiler *jsonschema.Compiler
	}

	// Tag groups operations.
	Tag struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	}

	// PathItem is what can be done at an address.
	PathItem struct {
		Parameters []Parameter `json:"parameters,omitempty"`
		Get        *Operation  `json:"get,omitempty"`
		Post       *Operation  `json:"post,omitempty"`
		Patch      *Operation  `json:"patch,omitempty"`
		Delete     *Operation  `json:"delete,omitempty"`
	}

	// Operation is one route.
	Operation struct {
		OperationID string                 `json:"operationId"`
		Tags        []string               `json:"tags"`
		Summary     string                 `json:"summary"`
		Description string                 `json:"description,omitempty"`
		Security    *[]map[string][]string `json:"security,omitempty"`
		Parameters  []Parameter            `json:"parameters,omitempty"`
		RequestBody *Body                  `json:"requestBody,omitempty"`
		Responses   map[string]Response    `json:"responses"`
	}

	// Parameter of a path, query or header, or a reference to one.
	Parameter struct {
		Ref         string `json:"$ref,omitempty"`
		Name        string `json:"name,omitempty"`
		In          string `json:"in,omitempty"`
		Required    bool   `json:"required,omitempty"`
		Description string `json:"description,omitempty"`
		Schema      Schema `json:"schema,omitempty"`
	}

	// Body of a request.
	Body struct {
		Required bool               `json:"required,omitempty"`
		Content  map[string]Content `json:"content"`
	}

	// Response is an answer, or a reference to one.
	Response struct {
		Ref         string             `json:"$ref,omitempty"`
		Description string             `json:"description,omitempty"`
		Headers     map[string]Header  `json:"headers,omitempty"`
		Content     map[string]Content `json:"content,omitempty"`
	}

	// Header of an answer.
	Header struct {
		Description string `json:"description,omitempty"`
		Schema      Schema `json:"schema"`
	}

	// Content is what a body of one media type holds.
	Content struct {
		Schema Schema `json:"schema"`
	}

	// Components are what the rest refers to.
	Components struct {
		SecuritySchemes map[string]map[string]any `json:"securitySchemes"`
		Parameters      map[string]Parameter      `json:"parameters"`
		Responses       map[string]Response       `json:"responses"`
		Schemas         map[string]Schema         `json:"schemas"`
	}
)

// location is the document's name within the compiler.
const location = "file:///openapi.json"

// OpenAPI reads docs/openapi.yaml. A part that OpenAPI does not have, or a schema that is
// none, is an error.
func OpenAPI() (*Document, error) {
	text, err := os.ReadFile(filepath.Join(root(), "docs", "openapi.yaml"))
	if err != nil {
		return nil, err
	}
	d := &Document{compiler: jsonschema.NewCompiler()}
	if err := yaml.UnmarshalStrict(text, d); err != nil {
		return nil, fmt.Errorf("reading the document: %w", err)
	}
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		return nil, err
	}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource(location, whole); err != nil {
		return nil, err
	}
	for name := range d.Components.Schemas {
		if _, err := d.compile("components", "schemas", name); err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
	}
	return d, nil
}

// compile returns the schema at a place of the document.
func (d *Document) compile(at ...string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	pointer := ""
	for _, part := range at {
		pointer += "/" + escape.Replace(part)
	}
	return d.compiler.Compile(location + "#" + pointer)
}

// Operations are those of a path by their method.
func (p PathItem) Operations() map[string]*Operation {
	all := map[string]*Operation{}
	for method, o := range map[string]*Operation{http.MethodGet: p.Get, http.MethodPost: p.Post, http.MethodPatch: p.Patch, http.MethodDelete: p.Delete} {
		if o != nil {
			all[method] = o
		}
	}
	return all
}

// Find returns the documented path that an address is of, and the operation.
func (d *Document) Find(method, address string) (path string, o *Operation, ok bool) {
	address, _, _ = strings.Cut(address, "?")
	for path, item := range d.Paths {
		if matches(path, address) {
			o, ok := item.Operations()[method]
			return path, o, ok
		}
	}
	return "", nil, false
}

func matches(path, address string) bool {
	want, got := strings.Split(path, "/"), strings.Split(address, "/")
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if !strings.HasPrefix(want[i], "{") && want[i] != got[i] {
			return false
		}
	}
	return true
}

// CheckRequest compares a body that was taken with what is documented.
func (d *Document) CheckRequest(method, address, mediaType string, body []byte) error {
	path, o, ok := d.Find(method, address)
	switch {
	case !ok:
		return fmt.Errorf("%s %s is not documented", method, address)
	case len(body) == 0 && (o.RequestBody == nil || !o.RequestBody.Required):
		return nil
	case o.RequestBody == nil:
		return fmt.Errorf("%s %s is documented to take no body", method, path)
	}
	if _, ok := o.RequestBody.Content[mediaType]; !ok {
		return fmt.Errorf("%s %s is not documented to take %s", method, path, mediaType)
	}
	return d.check(mediaType, body, "paths", path, strings.ToLower(method), "requestBody", "content", mediaType, "schema")
}

// CheckAnswer compares an answer with what is documented.
func (d *Document) CheckAnswer(method, address string, status int, mediaType string, body []byte) error {
	path, o, ok := d.Find(method, address)
	if !ok {
		if status == http.StatusNotFound || status == http.StatusMethodNotAllowed {
			return d.check(mediaType, body, "components", "responses", "Problem", "content", mediaType, "schema")
		}
		return fmt.Errorf("%s %s is not documented and was answered %d", method, address, status)
	}
	key := strconv.Itoa(status)
	response, ok := o.Responses[key]
	if !ok && status/100 == 2 {
		return fmt.Errorf("%s %s: %d is not documented", method, path, status)
	}
	if !ok {
		key, response = "default", o.Responses["default"]
	}
	at := []string{"paths", path, strings.ToLower(method), "responses", key}
	if response.Ref != "" {
		name := strings.TrimPrefix(response.Ref, "#/components/responses/")
		if response, ok = d.Components.Responses[name]; !ok {
			return fmt.Errorf("%s leads nowhere", response.Ref)
		}
		at = []string{"components", "responses", name}
	}
	if _, ok := response.Content[mediaType]; !ok && len(body) > 0 {
		return fmt.Errorf("%s %s: %d is not documented to be %s", method, path, status, mediaType)
	}
	return d.check(mediaType, body, append(at, "content", mediaType, "schema")...)
}

// check validates a body that is JSON.
func (d *Document) check(mediaType string, body []byte, at ...string) error {
	if len(body) == 0 || !strings.HasSuffix(mediaType, "json") {
		return nil
	}
	schema, err := d.compile(at...)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	if err := schema.Validate(value); err != nil {
		return fmt.Errorf("%s: %w", body, err)
	}
	return nil
}

// CheckReferences says which references lead nowhere; those of schemas did not compile.
func (d *Document) CheckReferences() error {
	var failed []error
	need := func(ref string, ok bool) {
		if ref != "" && !ok {
			failed = append(failed, fmt.Errorf("%s leads nowhere", ref))
		}
	}
	parameters := func(list []Parameter) {
		for _, p := range list {
			_, ok := d.Components.Parameters[strings.TrimPrefix(p.Ref, "#/components/parameters/")]
			need(p.Ref, ok)
		}
	}
	for _, item := range d.Paths {
		parameters(item.Parameters)
		for _, o := range item.Operations() {
			parameters(o.Parameters)
			for _, r := range o.Responses {
				_, ok := d.Components.Responses[strings.TrimPrefix(r.Ref, "#/components/responses/")]
				need(r.Ref, ok)
			}
		}
	}
	return errors.Join(failed...)
}

// keywords of JSON schema that the document uses. Whatever else is there is a slip of the
// pen, which JSON schema would let pass.
var keywords = strings.Fields(`$ref type enum format description examples default oneOf
	properties required additionalProperties propertyNames maxProperties items maxItems
	minLength maxLength minimum maximum`)

// CheckKeywords says what is in a schema that is no keyword.
func CheckKeywords(s Schema) error {
	var failed []error
	for keyword, value := range s {
		if !slices.Contains(keywords, keyword) {
			failed = append(failed, fmt.Errorf("%q is no keyword", keyword))
		}
		switch inner := value.(type) {
		case map[string]any:
			if keyword != "properties" {
				failed = append(failed, CheckKeywords(inner))
				continue
			}
			for _, property := range inner {
				s, _ := property.(map[string]any)
				failed = append(failed, CheckKeywords(s))
			}
		case []any:
			for _, one := range inner {
				if s, ok := one.(map[string]any); ok && keyword == "oneOf" {
					failed = append(failed, CheckKeywords(s))
				}
			}
		}
	}
	return errors.Join(failed...)
}
