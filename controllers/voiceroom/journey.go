package voiceroom

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

const tracerName = "voiceroom.dev/voiceroom/controllers/voiceroom"

// cause is why a room is on its way to a pod.
type cause string

const (
	created   cause = "created"
	podGone   cause = "pod-gone"   // its pod was deleted or has ended
	podSilent cause = "pod-silent" // its pod did not answer
	drained   cause = "drained"    // its pod had to go, and it moves
)

// journeys are the rooms that are on their way to a pod that holds them: how long it takes
// them, and what a trace of it shows. They are read off the status before and after each
// reconcile, so that the steps know nothing of them. What a leader did not see begin, it
// does not measure. The zero value is ready to use. Safe for concurrent use.
type journeys struct {
	mu     sync.Mutex
	byRoom map[types.UID]*journey
}

// journey is one room's: a span of the whole, and one of the stage that it is at.
type journey struct {
	room  types.NamespacedName
	why   cause
	began time.Time
	whole trace.Span
	stage trace.Span
	name  string // of the stage
}

// enter begins the journey of a room that is new, and returns ctx with the room's stage in
// it: calls to pods belong to that.
func (j *journeys) enter(ctx context.Context, vr *v1alpha1.VoiceRoom, now time.Time) context.Context {
	j.mu.Lock()
	defer j.mu.Unlock()
	on := j.byRoom[vr.UID]
	if on == nil && epoch(vr) == 0 && !closed(vr) {
		on = j.begin(vr, created, now)
	}
	if on == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, on.stage)
}

// follow takes a room from the status that was stored to the one that was written. silent
// says that its pod did not answer.
func (j *journeys) follow(stored, vr *v1alpha1.VoiceRoom, silent bool, now time.Time, m *Metrics) {
	j.mu.Lock()
	defer j.mu.Unlock()
	on := j.byRoom[vr.UID]
	if on == nil && settled(stored) && !settled(vr) && !closed(vr) && !asleep(vr) {
		on = j.begin(vr, whyLeft(vr, silent), now)
	}
	switch {
	case on == nil:
	case closed(vr), asleep(vr):
		j.end(vr.UID, on, now, "the room ended on the way")
	case on.why != created && settled(vr), on.why == created && meta.IsStatusConditionTrue(vr.Status.Conditions, v1alpha1.ConditionReady):
		m.done(on.why, now.Sub(on.began))
		on.whole.AddEvent("ready", trace.WithTimestamp(now))
		j.end(vr.UID, on, now, "")
	default:
		on.at(stageOf(vr), now)
	}
}

// claims notes that a room is about to claim a pod: usually in the same reconcile that finds its
// group, so that its status never shows that stage.
func (j *journeys) claims(room types.UID, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if on := j.byRoom[room]; on != nil {
		on.at("claim", now)
	}
}

// gone ends the journey of a room that was deleted on the way.
func (j *journeys) gone(room types.NamespacedName, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for uid, on := range j.byRoom {
		if on.room == room {
			j.end(uid, on, now, "the room was deleted on the way")
		}
	}
}

// whyLeft is why a room that had a pod needs another.
func whyLeft(vr *v1alpha1.VoiceRoom, silent bool) cause {
	switch {
	case moves(vr):
		return drained
	case silent:
		return podSilent
	}
	return podGone
}

// settled says whether a pod holds the room and it is not on its way to another.
func settled(vr *v1alpha1.VoiceRoom) bool {
	return claim(vr) != nil && meta.IsStatusConditionTrue(vr.Status.Conditions, v1alpha1.ConditionMediaReady) && !moves(vr)
}

// moves says whether the room is on its way from a pod that had to go.
func moves(vr *v1alpha1.VoiceRoom) bool {
	c := meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionMediaReady)
	return c != nil && c.Reason == v1alpha1.ReasonMigrating
}

// stageOf is what a room that is not ready waits for: the stages follow on each other.
func stageOf(vr *v1alpha1.VoiceRoom) string {
	switch {
	case vr.Status.GroupID == "":
		return "group"
	case claim(vr) == nil:
		return "claim"
	case !settled(vr):
		return "hand over"
	}
	return "ready"
}

// begin is called with the lock held.
func (j *journeys) begin(vr *v1alpha1.VoiceRoom, why cause, now time.Time) *journey {
	ctx, name := context.Background(), "room moves"
	if why == created {
		ctx, name = traceOf(vr), "room gets ready"
	}
	_, whole := otel.Tracer(tracerName).Start(ctx, name, trace.WithTimestamp(now), trace.WithAttributes(
		attribute.String("voiceroom.room", vr.Namespace+"/"+vr.Name), attribute.String("voiceroom.room.uid", string(vr.UID)),
		attribute.String("voiceroom.cause", string(why))))
	on := &journey{room: client.ObjectKeyFromObject(vr), why: why, began: now, whole: whole}
	on.at(stageOf(vr), now)
	if j.byRoom == nil {
		j.byRoom = map[types.UID]*journey{}
	}
	j.byRoom[vr.UID] = on
	return on
}

// at takes the journey to a stage, unless it is there.
func (on *journey) at(stage string, now time.Time) {
	if on.name == stage {
		return
	}
	if on.stage != nil {
		on.stage.End(trace.WithTimestamp(now))
	}
	on.name = stage
	_, on.stage = otel.Tracer(tracerName).Start(trace.ContextWithSpan(context.Background(), on.whole), stage, trace.WithTimestamp(now))
}

// end is called with the lock held. failed says what went wrong, if anything did.
func (j *journeys) end(uid types.UID, on *journey, now time.Time, failed string) {
	for _, span := range []trace.Span{on.stage, on.whole} {
		if failed != "" {
			span.SetStatus(codes.Error, failed)
		}
		span.End(trace.WithTimestamp(now))
	}
	delete(j.byRoom, uid)
}

// traceOf is the trace that asked for a room, or, if it was made without one, a trace whose
// ID follows from the room's UID. That has no span yet: ours is its root, and the sampler decides.
func traceOf(vr *v1alpha1.VoiceRoom) context.Context {
	asked := propagation.MapCarrier{"traceparent": vr.Annotations[v1alpha1.AnnotationTraceparent]}
	ctx := propagation.TraceContext{}.Extract(context.Background(), asked)
	if trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	sum := sha256.Sum256([]byte("voiceroom room " + string(vr.UID))) // the ratio sampler needs all of its bits
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID(sum[:16])}))
}

// within makes a span of one call of a stage, if its room is in a trace. The caller ends it.
func within(ctx context.Context, name string) (context.Context, func()) {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, func() {}
	}
	ctx, span := otel.Tracer(tracerName).Start(ctx, name)
	return ctx, func() { span.End() }
}
