package webhook

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/room"
)

func TestParseAnswer(t *testing.T) {
	for body, want := range map[string]struct {
		cursor *Cursor
		says   string // of the error
	}{
		"":                                  {},
		"ok":                                {},
		"null":                              {},
		"[1]":                               {},
		`"epoch"`:                           {},
		"{":                                 {},
		`{"status":"stored"}`:               {},
		`{"epoch":3,"seq":41}`:              {cursor: &Cursor{3, 41}},
		`{"epoch":3,"seq":0,"more":true}`:   {cursor: &Cursor{3, 0}},
		`{"epoch":3}`:                       {says: "half a cursor"},
		`{"seq":41}`:                        {says: "half a cursor"},
		`{"epoch":3,"seq":"41"}`:            {says: "seq"},
		`{"epoch":-3,"seq":41}`:             {says: "epoch"},
		`{"epoch":3,"seq":1e40}`:            {says: "seq"},
		`{"epoch":3,"seq":41} and the rest`: {},
	} {
		c, err := parseAnswer([]byte(body))
		if diff := cmp.Diff(want.cursor, c); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
		if (err == nil) != (want.says == "") || err != nil && !strings.Contains(err.Error(), want.says) {
			t.Errorf("%s: error %v, want %q", body, err, want.says)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	for _, body := range []string{"", "ok", `{"epoch":3,"seq":41}`, `{"epoch":null,"seq":[]}`, `{"EPOCH":1,"seq":2}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := parseAnswer(body)
		if err != nil && c != nil {
			t.Fatalf("%q: %v and %v", body, c, err)
		}
		if c == nil {
			return
		}
		again, err := json.Marshal(c)
		must(t, err)
		if same, err := parseAnswer(again); err != nil || *same != *c {
			t.Fatalf("%q was read as %v, and that as %v, %v", body, c, same, err)
		}
	})
}

// TestBatches: a delivery is bounded in events and in bytes, but one event always fits.
func TestBatches(t *testing.T) {
	f := &feed{}
	for seq := range uint64(300) {
		f.add(1, queued{seq: seq, event: []byte("{}")})
	}
	if n := len(f.batch()); n != maxBatch {
		t.Errorf("%d small events in one delivery", n)
	}
	f.acknowledge(Cursor{1, 299})
	if f.bytes != 0 || f.queue != nil {
		t.Errorf("%d bytes, %d events are left", f.bytes, len(f.queue))
	}
	for seq := range uint64(4) {
		f.add(1, queued{seq: seq, event: make([]byte, maxBatchBytes/2)})
	}
	if n := len(f.batch()); n != 2 {
		t.Errorf("%d halves in one delivery", n)
	}
	f.queue[0].event = make([]byte, 2*maxBatchBytes)
	if n := len(f.batch()); n != 1 {
		t.Errorf("%d events with a large one first", n)
	}
}

// TestOlderEvents: what is put before the queue leads up to it, whole.
func TestOlderEvents(t *testing.T) {
	events := []room.Event{{Epoch: 1, Seq: 4}, {Epoch: 1, Seq: 5}}
	older, err := recalled(events, Cursor{1, 3}, 5, t0)
	must(t, err)
	f := &feed{}
	f.add(1, queued{seq: 6})
	if !f.prepend(1, older) || len(f.queue) != 3 || f.queue[0].seq != 4 || f.bytes != f.queue[0].size()+f.queue[1].size()+f.queue[2].size() {
		t.Errorf("the queue is %v, %d bytes", f.queue, f.bytes)
	}
	if f.prepend(1, older) || f.prepend(2, older) {
		t.Error("events were put before a queue that they do not lead up to")
	}
	if (&feed{}).prepend(1, []queued{{event: make([]byte, maxQueueBytes)}}) {
		t.Error("a queue may be longer than the bound")
	}
	for name, tt := range map[string]struct {
		after Cursor
		last  uint64
	}{"begin too late": {Cursor{1, 2}, 5}, "end too soon": {Cursor{1, 3}, 6}, "are of another epoch": {Cursor{2, 3}, 5}} {
		if _, err := recalled(events, tt.after, tt.last, t0); err == nil {
			t.Errorf("taken, although they %s", name)
		}
	}
	if _, err := recalled(nil, Cursor{1, 3}, 3, t0); err == nil {
		t.Error("no events were taken for some")
	}
}

// TestNothingIsShownThatOnlyTheMachineryNeeds, and nothing of the room is changed by that.
func TestNothingIsShownThatOnlyTheMachineryNeeds(t *testing.T) {
	spec := &room.Spec{}
	s := &room.State{Settings: room.Settings{Owner: "o", Spec: spec}, Members: []room.Member{{ID: 1, Subject: "u", Session: "s"}}}
	want := &room.State{Settings: room.Settings{Owner: "o"}, Members: []room.Member{{ID: 1, Subject: "u"}}}
	if diff := cmp.Diff(want, stateShown(s)); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	for _, e := range []room.Event{{Member: &s.Members[0]}, {Settings: &s.Settings}} {
		shown := eventShown(e)
		if shown.Member != nil && shown.Member.Session != "" || shown.Settings != nil && shown.Settings.Spec != nil {
			t.Errorf("shown: %+v", shown)
		}
	}
	if s.Members[0].Session != "s" || s.Settings.Spec != spec {
		t.Error("the room itself was changed")
	}
}
