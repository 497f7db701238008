package system

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/bot"
)

// traces is the collector of these tests: every process sends its spans there.
var traces = &spans{}

// spans are what was collected. Safe for concurrent use.
type spans struct {
	mu  sync.Mutex
	all []span
	err error
}

type span struct {
	service, name     string
	trace, id, parent string // hexadecimal
	room, session     string
}

// start makes the collector listen, and returns where.
func (s *spans) start() (url string, stop func()) {
	server := httptest.NewServer(s)
	return server.URL, server.Close
}

// ServeHTTP implements OTLP over HTTP.
func (s *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.err = err
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, resource := range request.ResourceSpans {
		service := ""
		for _, a := range resource.Resource.Attributes {
			if a.Key == "service.name" {
				service = a.Value.GetStringValue()
			}
		}
		for _, scope := range resource.ScopeSpans {
			for _, raw := range scope.Spans {
				got := span{service: service, name: raw.Name, trace: hex.EncodeToString(raw.TraceId), id: hex.EncodeToString(raw.SpanId), parent: hex.EncodeToString(raw.ParentSpanId)}
				for _, a := range raw.Attributes {
					switch a.Key {
					case "voiceroom.room":
						got.room = a.Value.GetStringValue()
					case "voiceroom.session":
						got.session = a.Value.GetStringValue()
					}
				}
				s.all = append(s.all, got)
			}
		}
	}
}

// of returns the spans of a trace as "service: name", sorted, without doubles.
func (s *spans) of(trace string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, got := range s.all {
		if got.trace == trace {
			names = append(names, strings.TrimPrefix(got.service, "voiceroom-")+": "+got.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// traceWith finds the trace of a span.
func (s *spans) traceWith(match func(span) bool) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, got := range s.all {
		if match(got) {
			return got.trace
		}
	}
	return ""
}

// orphans are the spans of a trace whose parent was not sent, but for what parent itself began.
func (s *spans) orphans(trace, parent string) []span {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lost []span
	for _, got := range s.all {
		if got.trace == trace && got.parent != "" && got.parent != parent &&
			!slices.ContainsFunc(s.all, func(o span) bool { return o.trace == trace && o.id == got.parent }) {
			lost = append(lost, got)
		}
	}
	return lost
}

func waitSpans(t *testing.T, trace func() string, want []string) {
	t.Helper()
	until(t, "all spans of the story are there", func() (bool, error) {
		got := traces.of(trace())
		for _, name := range want {
			if !slices.Contains(got, name) {
				return false, nil
			}
		}
		return true, traces.err
	})
}

// TestTraceOfARoom: one trace tells how a room that a back end asked for gets ready, through
// gateway, operator and media pod.
func TestTraceOfARoom(t *testing.T) {
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	body, err := json.Marshal(map[string]any{"namespace": "default", "name": "traced", "maxMembers": 5, "maxMics": 1})
	must(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, system.GatewayURL+"/v1/rooms", bytes.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("X-Voiceroom-User", "ann")
	req.Header.Set("Traceparent", "00-"+trace+"-"+parent+"-01")
	res, err := http.DefaultClient.Do(req)
	must(t, err)
	answer, err := io.ReadAll(res.Body)
	must(t, err)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("HTTP %d: %s", res.StatusCode, answer)
	}
	r := &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "traced"}}
	t.Cleanup(func() { deleteRoom(t, r) })
	ready(t, r)
	waitSpans(t, func() string { return trace }, []string{
		"gateway: create room", "media: PUT /v1/room", "operator: bind", "operator: claim", "operator: group", "operator: hand over",
		"operator: put", "operator: room gets ready",
	})
	if lost := traces.orphans(trace, parent); len(lost) > 0 {
		t.Errorf("spans without the one that they belong to: %+v", lost)
	}
}

// TestTraceOfAJoin: one trace tells how somebody comes in who sends no traceparent, from the
// question for a place to the first packet.
func TestTraceOfAJoin(t *testing.T) {
	r := newRoom(t, "traced-join")
	ann := open(t, r)
	bob := join(t, bot.Config{Room: r.Namespace + "/" + r.Name, Credential: guest(t, "Bob"), Name: "Bob"})
	hears(t, ann, bob)
	trace := func() string {
		return traces.traceWith(func(s span) bool { return s.name == "join" && s.session == bob.Grant.Session })
	}
	waitSpans(t, trace, []string{"gateway: confirm", "gateway: join", "gateway: signal",
		"media: POST /v1/room/sessions", "media: associate", "media: dtls", "media: first audio", "media: ice"})
	if lost := traces.orphans(trace(), ""); len(lost) > 0 {
		t.Errorf("spans without the one that they belong to: %+v", lost)
	}
}

// TestTraceOfAnAppliedRoom: a room that nobody gave a trace has one of its own.
func TestTraceOfAnAppliedRoom(t *testing.T) {
	r := newRoom(t, "traced-apply")
	ready(t, r)
	trace := func() string {
		return traces.traceWith(func(s span) bool { return s.name == "room gets ready" && s.room == "default/traced-apply" })
	}
	waitSpans(t, trace, []string{"media: PUT /v1/room", "operator: bind", "operator: put", "operator: room gets ready"})
	if lost := traces.orphans(trace(), ""); len(lost) > 0 {
		t.Errorf("spans without the one that they belong to: %+v", lost)
	}
}
