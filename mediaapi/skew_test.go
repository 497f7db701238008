package mediaapi_test

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/recording"
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
			for _, e := range recording.Read[exchange](t, path) {
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
	recording.Same(t, name, value(), raw)
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
		recording.Unchanged(t, "command "+r.Type, r.Body, again)
	}
}
