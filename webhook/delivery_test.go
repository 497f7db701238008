package webhook

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

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

func TestParseSecrets(t *testing.T) {
	raw := base64.StdEncoding.EncodeToString
	for name, tt := range map[string]struct {
		text string
		keys int
		says string
	}{
		"one":           {testSecret, 1, ""},
		"two":           {"\n" + testSecret + "\r\n\n  " + otherSecret + "\n", 2, ""},
		"without a tag": {strings.TrimPrefix(testSecret, "whsec_"), 1, ""},
		"longest":       {raw(make([]byte, 64)), 1, ""},
		"none":          {"\n \n", 0, "no webhook secret"},
		"too short":     {testSecret + "\n" + raw(make([]byte, 23)), 0, "line 2"},
		"too long":      {raw(make([]byte, 65)), 0, "65 bytes"},
		"not base64":    {"correct horse battery staple", 0, "base64"},
	} {
		keys, err := ParseSecrets([]byte(tt.text))
		if len(keys) != tt.keys || (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
		if err != nil && strings.Contains(err.Error(), "horse") {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
}

func TestCheckURL(t *testing.T) {
	for text, ok := range map[string]bool{
		"https://shop.example.org/voice?key=1":     true,
		"http://127.0.0.1:8080/hooks":              true,
		"http://[::1]/hooks":                       true,
		"http://localhost/hooks":                   true,
		"http://shop.default.svc/hooks":            true,
		"http://shop.default.svc.cluster.local":    true,
		"http://shop.example.org":                  false,
		"http://169.254.169.254/latest":            false,
		"http://svc":                               false,
		"https://user:password@shop.example.org":   false,
		"https://shop.example.org/#there":          false,
		"shop.example.org":                         false,
		"ftp://shop.example.org":                   false,
		"https://":                                 false,
		"":                                         false,
		"https://shop.example.org/%zz?secret=hunt": false,
	} {
		err := CheckURL(text)
		if (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && (strings.Contains(err.Error(), "password") || strings.Contains(err.Error(), "hunt")) {
			t.Errorf("%q: the error shows a secret: %v", text, err)
		}
	}
}

func TestBackoff(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 9: 256 * time.Second, 10: maxBackoff, 1000: maxBackoff} {
		if got := backoff(failures, 1); got != want {
			t.Errorf("after %d failures at most %v, want %v", failures, got, want)
		}
	}
	if got := backoff(5, 0); got != 0 {
		t.Errorf("with the least luck: %v", got)
	}
	if got := retryAfter("100000", t0); got != maxRetryAfter {
		t.Errorf("a receiver may ask to wait %v", got)
	}
	if got := retryAfter("soon", t0); got != 0 {
		t.Errorf("nonsense makes wait %v", got)
	}
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
