package media

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"voiceroom.dev/voiceroom/test/docs/documents"
)

// sent are the messages that a pod sends, by their type.
func sent() map[string]any {
	return map[string]any{"welcome": &welcome{}, "snapshot": &snapshot{}, "events": &eventBatch{}, "slots": &slotsMessage{},
		"heartbeat": &heartbeat{}, "reply": &replyMessage{}, "moved": &movedMessage{}, "bye": &bye{}}
}

// Every example of a message in docs/protocol.md is one: those of the server have only
// fields that it sends, those of clients are requests that it takes.
func TestProtocolsExamples(t *testing.T) {
	p, err := documents.ReadProtocol()
	if err != nil {
		t.Fatal(err)
	}
	messages := sent()
	shown := map[string]bool{}
	for _, example := range p.Examples("json") {
		for texts := json.NewDecoder(bytes.NewReader([]byte(example.Text))); ; {
			var text json.RawMessage
			if err := texts.Decode(&text); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("protocol.md:%d: %v", example.Line, err)
			}
			var named struct{ Type string }
			if err := json.Unmarshal(text, &named); err != nil {
				t.Fatalf("protocol.md:%d: %v", example.Line, err)
			}
			message, ofServer := messages[named.Type]
			if !ofServer {
				if r := parseRequest(text); r.err != nil {
					t.Errorf("protocol.md:%d: %s: %v", example.Line, text, r.err)
				}
				continue
			}
			shown[named.Type] = true
			strict := json.NewDecoder(bytes.NewReader(text))
			strict.DisallowUnknownFields()
			if err := strict.Decode(message); err != nil {
				t.Errorf("protocol.md:%d: %v", example.Line, err)
			}
		}
	}
	for kind := range messages {
		if !shown[kind] {
			t.Errorf("no example of %s", kind)
		}
	}
}
