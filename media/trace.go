package media

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const tracerName = "voiceroom.dev/voiceroom/media"

// traced makes a span of each control call that belongs to a trace.
func traced(next http.Handler) http.Handler {
	tracer := otel.Tracer(tracerName)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		if !trace.SpanContextFromContext(ctx).IsSampled() {
			next.ServeHTTP(w, r)
			return
		}
		ctx, span := tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		r = r.WithContext(ctx)
		next.ServeHTTP(w, r)
		span.SetName(r.Pattern) // the mux has set it
	})
}

// journey is one session's way from its offer to its first audio, as spans: ice, dtls and
// associate, which follow on each other, and first audio, which begins when the member
// enters. Each is made when it is over. The zero value is the journey of a session that
// belongs to no trace, and costs nothing. It is the keeper's.
type journey struct {
	parent trace.SpanContext
	last   time.Time // when the latest span ended
}

func newJourney(ctx context.Context, opened time.Time) journey {
	parent := trace.SpanContextFromContext(ctx)
	if !parent.IsSampled() {
		return journey{}
	}
	return journey{parent: parent, last: opened}
}

func (j *journey) traced() bool { return j.parent.IsSampled() }

// reached makes the span of a step that began when the one before it ended.
func (j *journey) reached(step, session string, at time.Time, err error) {
	if !j.traced() {
		return
	}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), j.parent)
	_, span := otel.Tracer(tracerName).Start(ctx, step, trace.WithTimestamp(j.last), trace.WithAttributes(attribute.String("voiceroom.session", session)))
	if err != nil {
		span.SetStatus(codes.Error, string(failure(err)))
	}
	span.End(trace.WithTimestamp(at))
	j.last = at
}

// stands notes that a connection stands, which was first checked at a time.
func (j *journey) stands(session string, checked, now time.Time) {
	j.reached("ice", session, checked, nil)
	j.reached("dtls", session, now, nil)
}

// failed notes why a connection never stood; checked is zero if nobody came.
func (j *journey) failed(session string, checked, now time.Time, err error) {
	if checked.IsZero() {
		j.reached("ice", session, now, err)
		return
	}
	j.reached("ice", session, checked, nil)
	j.reached("dtls", session, now, err)
}
