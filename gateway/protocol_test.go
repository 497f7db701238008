package gateway_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
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

// Each example of a request is one that is taken, and each example of an answer one that
// is given. Every route has an example; of the commands, one does.
func TestProtocolsExamples(t *testing.T) {
	shown := map[string]bool{}
	var asked *http.Request
	for _, example := range protocol.Examples("http") {
		head, body, _ := strings.Cut(example.Text, "\n\n")
		start, content := bufio.NewReader(strings.NewReader(head+"\n\n")), []byte(strings.TrimSpace(body))
		if strings.HasPrefix(head, "HTTP/") {
			r, err := http.ReadResponse(start, nil)
			if err != nil {
				t.Fatalf("protocol.md:%d: %v", example.Line, err)
			}
			_ = r.Body.Close()
			if err := checkAnswer(asked, r, content); err != nil {
				t.Errorf("protocol.md:%d: %v", example.Line, err)
			}
			continue
		}
		r, err := http.ReadRequest(start)
		if err != nil {
			t.Fatalf("protocol.md:%d: %v", example.Line, err)
		}
		asked = r
		path, _, _ := document.Find(r.Method, r.URL.Path)
		shown[r.Method+" "+path] = true
		if err := checkRequest(r, content); err != nil {
			t.Errorf("protocol.md:%d: %v", example.Line, err)
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

func checkRequest(r *http.Request, body []byte) error {
	mediaType := r.Header.Get("Content-Type")
	if err := document.CheckRequest(r.Method, r.URL.Path, mediaType, body); err != nil || len(body) == 0 {
		return err
	}
	path, o, _ := document.Find(r.Method, r.URL.Path)
	if _, name, ok := strings.Cut(path, "/commands/"); ok {
		_, err := room.Decode(name, body)
		return err
	}
	return strictly(o.RequestBody.Content[mediaType].Schema["$ref"], body)
}

func checkAnswer(asked *http.Request, r *http.Response, body []byte) error {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err := document.CheckAnswer(asked.Method, asked.URL.Path, r.StatusCode, mediaType, body); err != nil || len(body) == 0 {
		return err
	}
	_, o, _ := document.Find(asked.Method, asked.URL.Path)
	return strictly(o.Responses[strconv.Itoa(r.StatusCode)].Content[mediaType].Schema["$ref"], body)
}

// strictly reads JSON into the Go type of a schema, which must know every field.
func strictly(ref any, body []byte) error {
	name, _ := ref.(string)
	v, ok := gateway.Bodies[strings.TrimPrefix(name, "#/components/schemas/")]
	if !ok {
		return nil // a key set, which is token's; or described by the schema alone
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	return d.Decode(reflect.New(reflect.TypeOf(v)).Interface())
}

// agreeOnCode compares the code of a problem, and the status that it came with, with what
// protocol.md says.
func (w *world) agreeOnCode(c call, a answer) {
	w.t.Helper()
	if a.code != "" && !slices.Contains(codes[a.code], a.status) {
		w.t.Errorf("%s %s was answered %d %s, which is documented as %v", c.method, c.path, a.status, a.code, codes[a.code])
	}
}
