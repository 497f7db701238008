package media_test

import (
	"crypto/rand"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// A client whose offer belongs to a trace leaves a span of each step on its way to its first
// audio, each once. The others leave none.
func TestJourneyOfASession(t *testing.T) {
	collected := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(collected))
	otel.SetTracerProvider(provider)
	t.Cleanup(func() { _ = provider.Shutdown(t.Context()) })

	p := newPod(t)
	p.put()
	ann := p.join(owner, voice)
	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	session := "s-" + rand.Text()
	got, bearer := p.reserve("key:shop:bob", session)
	bob := &peer{Client: transporttest.New(t, voice), pod: p, member: got.Member.ID, session: session, token: bearer}
	answer, err := p.gateway.Signal(trace.ContextWithSpanContext(t.Context(), parent), mediaapi.SignalRequest{Epoch: 1, Token: bearer, Offer: string(bob.Offer())})
	if err != nil {
		t.Fatal(err)
	}
	bob.Answer([]byte(answer.Answer))
	bob.await("welcome", nil)
	p.command("", room.Enter{Session: session})
	for range 3 { // only the first of them is the first
		ann.say("\xfc from ann", 30)
		bob.hear()
	}
	want := []string{"POST /v1/room/sessions", "associate", "dtls", "first audio", "ice"}
	eventually(t, "all steps are told", func() bool { return len(collected.GetSpans()) >= len(want) })
	ann.say("\xfc one more", 30)
	bob.hear()
	p.state() // has been through the keeper after that
	var names []string
	offered := trace.SpanID{}
	for _, s := range collected.GetSpans() {
		names = append(names, s.Name)
		if s.SpanContext.TraceID() != parent.TraceID() {
			t.Errorf("%s is in trace %s", s.Name, s.SpanContext.TraceID())
		}
		if s.SpanKind == trace.SpanKindServer {
			offered = s.SpanContext.SpanID()
		}
		if s.EndTime.Before(s.StartTime) {
			t.Errorf("%s ends before it begins", s.Name)
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	for _, s := range collected.GetSpans() {
		if s.SpanKind != trace.SpanKindServer && s.Parent.SpanID() != offered {
			t.Errorf("%s belongs to span %s, want the offer's, %s", s.Name, s.Parent.SpanID(), offered)
		}
	}
}
