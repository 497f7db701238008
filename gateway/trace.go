package gateway

import (
	"context"
	"crypto/sha256"
	"net/http"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

const tracerName = "voiceroom.dev/voiceroom/gateway"

// step begins the span of a request that is a step of a longer story: of a room that is made, or
// of a session on its way in. The caller's traceparent says which trace it belongs to; without
// one, all steps of a session are in a trace whose ID follows from the session's, so that
// no client has to carry it. It began when the request came.
func (g *Gateway) step(r *http.Request, name, session string, began time.Time) (context.Context, trace.Span) {
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	if !trace.SpanContextFromContext(ctx).IsValid() && session != "" {
		ctx = trace.ContextWithSpanContext(ctx, traceOf(session))
	}
	attributes := []attribute.KeyValue{attribute.String("http.request.method", r.Method), attribute.String("http.route", r.Pattern)}
	if room := r.PathValue("room"); room != "" {
		attributes = append(attributes, attribute.String("voiceroom.room", r.PathValue("namespace")+"/"+room))
	}
	if session != "" {
		attributes = append(attributes, attribute.String("voiceroom.session", session))
	}
	return otel.Tracer(tracerName).Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(began), trace.WithAttributes(attributes...))
}

// taken ends a step's span.
func taken(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, string(refusalOf(err).code))
	}
	span.End()
}

// traceOf is the trace of a session that nobody gave one. It has no span yet: the first step
// is its root, and the sampler decides.
func traceOf(session string) trace.SpanContext {
	sum := sha256.Sum256([]byte("voiceroom session " + session)) // the ratio sampler needs all of its bits
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID(sum[:16])})
}

// carry writes the trace of ctx on a room that is about to be made: the operator goes on with it.
func carry(ctx context.Context, vr *v1alpha1.VoiceRoom) {
	header := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, header)
	if parent := header["traceparent"]; parent != "" {
		vr.Annotations = map[string]string{v1alpha1.AnnotationTraceparent: parent}
	}
}
