package mediaapi_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// exchange is a call that was granted, as it went over the wire. Tokens and SDP are left out.
type exchange struct {
	Method, Path      string
	Request, Response json.RawMessage
}

// wire are the types of today's requests and answers, as recorded paths have them.
var wire = map[string]struct{ request, response func() any }{
	"PUT /v1/room":                       {of[mediaapi.PutRequest], of[room.State]},
	"GET /v1/room":                       {nil, of[room.State]},
	"GET /v1/room/watch":                 {nil, of[mediaapi.Frame]},
	"DELETE /v1/room":                    {nil, nil},
	"POST /v1/room/reservations":         {of[mediaapi.ReserveRequest], of[mediaapi.Reservation]},
	"POST /v1/room/commands":             {of[mediaapi.CommandRequest], of[mediaapi.CommandResult]},
	"PUT /v1/room/lease":                 {of[mediaapi.LeaseRequest], nil},
	"GET /v1/room/members":               {nil, of[mediaapi.SessionInfo]},
	"GET /v1/room/sessions/{session}":    {nil, of[mediaapi.SessionInfo]},
	"POST /v1/room/sessions":             {of[mediaapi.SignalRequest], of[mediaapi.SignalAnswer]},
	"PATCH /v1/room/sessions/{session}":  {of[mediaapi.SignalRequest], of[mediaapi.SignalAnswer]},
	"DELETE /v1/room/sessions/{session}": {of[mediaapi.HangupRequest], nil},
	"PUT /v1/keys":                       {of[mediaapi.Keys], nil},
}

func of[T any]() any { return new(T) }

// TestSkew: operators, gateways and media pods of neighbouring versions work together while
// a cluster is upgraded, for pods keep their rooms. testdata has, a file for each version,
// what callers and pods of that version said to each other. Today's types read all of it,
// every field, and write the same: so today's pods understand older callers, today's
// callers older pods, and older ones are told nothing that they do not know unless
// somebody uses what is new. A field that is new is left out while it is empty.
func TestSkew(t *testing.T) {
	files, err := filepath.Glob("testdata/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			missing := map[string]bool{}
			for name := range wire {
				missing[name] = true
			}
			for _, e := range exchanges(t, path) {
				name := e.Method + " " + e.Path
				types, ok := wire[name]
				if !ok {
					t.Errorf("%s is no call any more", name)
					continue
				}
				delete(missing, name)
				same(t, name, types.request, e.Request)
				same(t, name, types.response, e.Response)
				if name == "POST /v1/room/commands" {
					command(t, e.Request)
				}
			}
			if len(missing) > 0 {
				t.Errorf("not recorded: %v", missing)
			}
		})
	}
}

func exchanges(t *testing.T, path string) []exchange {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var all []exchange
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, mediaapi.MaxRequest)
	for lines.Scan() {
		var e exchange
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// same reads raw into a value, every field of it, and writes that again.
func same(t *testing.T, name string, value func() any, raw json.RawMessage) {
	t.Helper()
	if len(raw) == 0 || string(raw) == "null" {
		return
	}
	if value == nil {
		t.Errorf("%s carries %s, which nobody reads", name, raw)
		return
	}
	v := value()
	strict := json.NewDecoder(bytes.NewReader(raw))
	strict.DisallowUnknownFields()
	if err := strict.Decode(v); err != nil {
		t.Errorf("%s: reading %s: %v", name, raw, err)
		return
	}
	again, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	differ(t, name, raw, again)
}

// command reads a recorded command as a pod does, and writes it as a caller does.
func command(t *testing.T, raw json.RawMessage) {
	t.Helper()
	var r mediaapi.CommandRequest
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	c, err := room.Decode(r.Type, r.Body)
	if err != nil {
		t.Errorf("command %s %s: %v", r.Type, r.Body, err)
		return
	}
	again, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Body) > 0 {
		differ(t, "command "+r.Type, r.Body, again)
	}
}

func differ(t *testing.T, name string, before, now []byte) {
	t.Helper()
	var b, n any
	if err := json.Unmarshal(before, &b); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(now, &n); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, n); diff != "" {
		t.Errorf("%s is said otherwise now (-then +now):\n%s", name, diff)
	}
}
