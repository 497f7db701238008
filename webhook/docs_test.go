package webhook

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"voiceroom.dev/voiceroom/room"
)

// TestDocumentation: the examples of docs/webhooks.md are what is sent and understood,
// they fit together, and the metrics that it names are there.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../docs/webhooks.md")
	must(t, err)
	var examples []Delivery
	var answer *Cursor
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(text, -1) {
		if !bytes.Contains(block[1], []byte(`"type"`)) {
			answer, err = parseAnswer(block[1])
			must(t, err)
			continue
		}
		d := json.NewDecoder(bytes.NewReader(block[1]))
		d.DisallowUnknownFields()
		var example Delivery
		if err := d.Decode(&example); err != nil {
			t.Fatalf("%v in\n%s", err, block[1])
		}
		sameJSON(t, block[1], example)
		examples = append(examples, example)
	}
	if len(examples) != 3 || examples[0].Type != Resync || examples[1].Type != Events || examples[2].Type != Ended {
		t.Fatalf("examples: %+v", examples)
	}
	b := &book{cursor: Cursor{examples[0].Epoch, examples[0].Seq}, state: examples[0].State}
	must(t, b.apply(examples[1]))
	if answer == nil || b.cursor != *answer || b.cursor != (Cursor{examples[1].Epoch, examples[1].Seq}) {
		t.Errorf("a receiver of the examples is at %v, and answers %v", b.cursor, answer)
	}
	if p, err := eventsOf(examples[1].Room, 3, []queued{{seq: 41, event: []byte("{}")}, {seq: 42, event: []byte("{}")}}); err != nil || !strings.Contains(string(text), "webhook-id: "+p.id+"\n") {
		t.Errorf("the example of an id is not %s (%v)", p.id, err)
	}
	for _, kind := range []room.EventType{room.EventSettings, room.EventMember, room.EventLeft, room.EventMic, room.EventRecord, room.EventInvite, room.EventRoom} {
		if !strings.Contains(string(text), "\n| `"+string(kind)+"` |") {
			t.Errorf("event type %s is not explained", kind)
		}
	}
	registry := prometheus.NewRegistry()
	c := config("http://127.0.0.1")
	c.Metrics = registry
	s, err := New(c, nil)
	must(t, err)
	s.metrics.delivered(Events, nil, 0)
	families, err := registry.Gather()
	must(t, err)
	for _, f := range families {
		if !strings.Contains(string(text), "| `"+f.GetName()) {
			t.Errorf("metric %s is not explained", f.GetName())
		}
	}
}

// sameJSON checks that d is written as it is in the text: a field that is empty there is
// one that is never sent.
func sameJSON(t *testing.T, text []byte, d Delivery) {
	t.Helper()
	var want, got any
	must(t, json.Unmarshal(text, &want))
	written, err := json.Marshal(d)
	must(t, err)
	must(t, json.Unmarshal(written, &got))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("an example is not what is sent (-example +sent):\n%s", diff)
	}
}
