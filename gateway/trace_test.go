package gateway_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// collect keeps every span from now on.
func collect(t *testing.T) *tracetest.InMemoryExporter {
	t.Helper()
	collected := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(collected))
	otel.SetTracerProvider(provider)
	t.Cleanup(func() { _ = provider.Shutdown(t.Context()) })
	return collected
}

// All steps of one who comes in without a traceparent are in one trace, in the gateway and in
// the media pod, and nobody else's are.
func TestTraceOfAJoin(t *testing.T) {
	collected := collect(t)
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 3, MaxMics: 2}, nil)
	ann := w.enter(w.hostTicket(), "Ann")
	traces := map[string]bool{}
	var names []string
	for _, s := range collected.GetSpans() {
		traces[s.SpanContext.TraceID().String()] = true
		names = append(names, s.Name)
		for _, a := range s.Attributes {
			if a.Key == "voiceroom.session" && a.Value.AsString() != ann.Grant.Session {
				t.Errorf("%s is of session %s", s.Name, a.Value.AsString())
			}
		}
	}
	slices.Sort(names)
	want := []string{"GET /v1/room/sessions/{session}", "POST /v1/room/commands", "POST /v1/room/sessions", "associate", "confirm", "dtls", "ice", "join", "signal"} // nobody has spoken
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	if len(traces) != 1 {
		t.Errorf("they are in %d traces", len(traces))
	}
	w.do(call{method: "POST", path: w.path("/join"), bearer: w.hostTicket(), body: `{}`})
	for _, s := range collected.GetSpans()[len(names):] {
		if traces[s.SpanContext.TraceID().String()] {
			t.Errorf("another session's %s is in the same trace", s.Name)
		}
	}
}

// A room carries the trace that asked for it.
func TestRoomCarriesItsTrace(t *testing.T) {
	collected := collect(t)
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 3, MaxMics: 2}, nil)
	const trace = "0af7651916cd43dd8448eb211c80319c"
	a := w.do(call{method: "POST", path: "/v1/rooms", bearer: apiKey, body: `{"namespace":"default"}`,
		header: http.Header{"X-Voiceroom-User": {"ann"}, "Traceparent": {"00-" + trace + "-b7ad6b7169203331-01"}}})
	var made summary
	a.into(t, &made)
	var vr v1alpha1.VoiceRoom
	if err := direct.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: made.Name}, &vr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = direct.Delete(t.Context(), &vr) })
	for _, s := range collected.GetSpans() {
		if s.Name != "create room" {
			continue
		}
		want := "00-" + trace + "-" + s.SpanContext.SpanID().String() + "-01"
		if got := vr.Annotations[v1alpha1.AnnotationTraceparent]; got != want || s.SpanContext.TraceID().String() != trace {
			t.Errorf("the room carries %s, want %s", got, want)
		}
		return
	}
	t.Error("no span tells that the room was made")
}
