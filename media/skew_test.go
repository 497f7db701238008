package media

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/test/recording"
)

// said is a message as it went over the data channel.
type said struct {
	From    string // pod or client
	Message json.RawMessage
}

// TestSkew: pages stay open, and pods keep their rooms, while a cluster is upgraded, so
// that clients and pods of neighbouring versions talk to each other. testdata has, a file
// for each version, what they said on the data channel. Today's pods understand what clients
// said. Today's types read all that pods said and write the same: older clients are told
// nothing else unless somebody uses what is new.
func TestSkew(t *testing.T) {
	files, err := filepath.Glob("testdata/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			heard := map[string]bool{}
			for _, s := range recording.Read[said](t, path) {
				var named struct{ Type string }
				if err := json.Unmarshal(s.Message, &named); err != nil {
					t.Fatal(err)
				}
				if s.From == "client" {
					understand(t, s.Message)
					continue
				}
				heard[named.Type] = true
				message, ok := sent()[named.Type]
				if !ok {
					t.Errorf("%s is no message any more", named.Type)
					continue
				}
				recording.Same(t, named.Type, message, s.Message)
			}
			for _, kind := range []string{"welcome", "snapshot", "events", "slots", "heartbeat", "reply", "bye"} {
				if !heard[kind] {
					t.Errorf("not recorded: %s", kind)
				}
			}
		})
	}
}

// understand reads a client's request as a pod does, and loses nothing of a command.
func understand(t *testing.T, raw json.RawMessage) {
	t.Helper()
	r := parseRequest(raw)
	if r.err != nil {
		t.Errorf("a pod refuses %s: %v", raw, r.err)
		return
	}
	if r.command == nil {
		return
	}
	var asked struct{ Body map[string]any }
	if err := json.Unmarshal(raw, &asked); err != nil {
		t.Fatal(err)
	}
	var taken map[string]any
	if err := json.Unmarshal(marshal(r.command), &taken); err != nil {
		t.Fatal(err)
	}
	for field, value := range asked.Body {
		if diff := cmp.Diff(value, taken[field]); diff != "" {
			t.Errorf("%s: %s is taken as another (-asked +taken):\n%s", raw, field, diff)
		}
	}
}
