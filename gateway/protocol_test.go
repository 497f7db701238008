package gateway_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"voiceroom.dev/voiceroom/gateway"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/docs/documents"
)

// protocol is docs/protocol.md, and codes what it says of codes.
var protocol, codes = func() (*documents.Protocol, map[string][]int) {
	p, err := documents.ReadProtocol()
	must(err)
	return p, p.Codes()
}()

// strictly reads JSON into the Go type of a schema, which must know every field.
func strictly(t *testing.T, line int, ref any, body []byte) {
	t.Helper()
	name, _ := ref.(string)
	v, ok := gateway.Bodies[strings.TrimPrefix(name, "#/components/schemas/")]
	if name == "#/components/schemas/State" {
		v, ok = room.State{}, true
	}
	if !ok {
		return // a key set, or a command, which its own test reads
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(reflect.New(reflect.TypeOf(v)).Interface()); err != nil {
		t.Errorf("protocol.md:%d: %v", line, err)
	}
}

// Each example of a request is one that is taken, and each example of an answer one that
// is given. Every route has an example; of the commands, one does.
func TestProtocolsExamples(t *testing.T) {
	shown := map[string]bool{}
	var asked *http.Request
	for _, example := range protocol.Examples("http") {
		head, text, _ := strings.Cut(example.Text, "\n\n")
		body := []byte(strings.TrimSpace(text))
		start := bufio.NewReader(strings.NewReader(head + "\n\n"))
		if !strings.HasPrefix(example.Text, "HTTP/") {
			r, err := http.ReadRequest(start)
			if err != nil {
				t.Fatalf("protocol.md:%d: %v", example.Line, err)
			}
			asked = r
			path, o, ok := document.Find(r.Method, r.URL.Path)
			if !ok {
				t.Errorf("protocol.md:%d: there is no such route", example.Line)
				continue
			}
			shown[r.Method+" "+path] = true
			if len(body) == 0 {
				continue
			}
			mediaType := r.Header.Get("Content-Type")
			if err := document.CheckRequest(r.Method, r.URL.Path, mediaType, body); err != nil {
				t.Errorf("protocol.md:%d: %v", example.Line, err)
			}
			strictly(t, example.Line, o.RequestBody.Content[mediaType].Schema["$ref"], body)
			if _, name, ok := strings.Cut(path, "/commands/"); ok {
				if _, err := room.Decode(name, body); err != nil {
					t.Errorf("protocol.md:%d: %v", example.Line, err)
				}
			}
			continue
		}
		r, err := http.ReadResponse(start, nil)
		if err != nil {
			t.Fatalf("protocol.md:%d: %v", example.Line, err)
		}
		_ = r.Body.Close()
		mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err := document.CheckAnswer(asked.Method, asked.URL.Path, r.StatusCode, mediaType, body); err != nil {
			t.Errorf("protocol.md:%d: %v", example.Line, err)
		}
		_, o, _ := document.Find(asked.Method, asked.URL.Path)
		for _, documented := range o.Responses {
			if content, ok := documented.Content[mediaType]; ok && r.StatusCode/100 == 2 && len(body) > 0 {
				strictly(t, example.Line, content.Schema["$ref"], body)
			}
		}
	}
	for path, item := range document.Paths {
		for method := range item.Operations() {
			if !shown[method+" "+path] && !strings.Contains(path, "/commands/") && !strings.HasPrefix(path, "/rtc/") {
				t.Errorf("%s %s has no example", method, path)
			}
		}
	}
}

// agreeOnCode compares the code of a problem, and the status that it came with, with what
// protocol.md says.
func (w *world) agreeOnCode(c call, a answer) {
	w.t.Helper()
	if a.code != "" && !slices.Contains(codes[a.code], a.status) {
		w.t.Errorf("%s %s was answered %d %s, which is documented as %v", c.method, c.path, a.status, a.code, codes[a.code])
	}
}
