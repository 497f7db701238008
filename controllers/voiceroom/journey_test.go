package voiceroom

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// walk takes a room through statuses, a second apart, as the reconciler does.
type walk struct {
	journeys journeys
	metrics  *Metrics
	now      time.Time
	vr       *v1alpha1.VoiceRoom
}

func (w *walk) to(t *testing.T, silent bool, change func(*v1alpha1.VoiceRoomStatus)) trace.SpanContext {
	w.now = w.now.Add(time.Second)
	stored := w.vr.DeepCopy()
	within := w.journeys.enter(t.Context(), w.vr, w.now)
	change(&w.vr.Status)
	w.journeys.follow(stored, w.vr, silent, w.now, w.metrics)
	return trace.SpanContextFromContext(within)
}

func is(kind string, status metav1.ConditionStatus, reason string) func(*v1alpha1.VoiceRoomStatus) {
	return func(s *v1alpha1.VoiceRoomStatus) {
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason})
	}
}

func nextClaim(s *v1alpha1.VoiceRoomStatus) {
	s.Media = &v1alpha1.RoomMediaStatus{Pod: "p", PodUID: "p", Epoch: epochOfStatus(s) + 1}
}

func epochOfStatus(s *v1alpha1.VoiceRoomStatus) int64 {
	if s.Media == nil {
		return 0
	}
	return s.Media.Epoch
}

// A room gets ready, loses a pod that was deleted and one that fell silent, and is moved: each
// is counted once, by its cause, and takes as long as it took.
func TestJourneys(t *testing.T) {
	collected := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(collected))
	otel.SetTracerProvider(provider)
	t.Cleanup(func() { _ = provider.Shutdown(t.Context()) })
	w := &walk{metrics: NewMetrics(), now: time.Unix(1000, 0), vr: &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "r", UID: "u"}}}
	nothing := func(*v1alpha1.VoiceRoomStatus) {}
	mediaReady := is(v1alpha1.ConditionMediaReady, metav1.ConditionTrue, v1alpha1.ReasonPodClaimed)
	notReady := is(v1alpha1.ConditionMediaReady, metav1.ConditionFalse, v1alpha1.ReasonPending)
	ready := func(s *v1alpha1.VoiceRoomStatus) {
		mediaReady(s)
		is(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)(s)
	}
	lose := func(s *v1alpha1.VoiceRoomStatus) { nextClaim(s); notReady(s) }

	if !w.to(t, false, nothing).IsSampled() {
		t.Error("calls for a new room belong to no trace")
	}
	w.to(t, false, func(s *v1alpha1.VoiceRoomStatus) { // finds its group and a pod at once
		s.GroupID = "g"
		w.journeys.claims(w.vr.UID, w.now)
		nextClaim(s)
		notReady(s)
	})
	w.to(t, false, ready) // 2 s after the first
	if w.to(t, false, nothing).IsValid() {
		t.Error("calls for a room that is ready belong to a trace")
	}
	w.to(t, false, lose)
	w.to(t, false, ready)
	w.to(t, true, lose)
	w.to(t, false, nothing)
	w.to(t, false, ready)
	w.to(t, false, func(s *v1alpha1.VoiceRoomStatus) {
		nextClaim(s)
		is(v1alpha1.ConditionMediaReady, metav1.ConditionTrue, v1alpha1.ReasonMigrating)(s)
	})
	w.to(t, false, ready)

	for why, want := range map[cause]float64{podGone: 1, podSilent: 1, drained: 1} {
		if got := testutil.ToFloat64(w.metrics.moves.WithLabelValues(string(why))); got != want {
			t.Errorf("%v moves for %s, want %v", got, why, want)
		}
	}
	took := map[string][]time.Duration{}
	var stages []string
	for _, s := range collected.GetSpans() {
		if s.Parent.IsValid() {
			stages = append(stages, s.Name)
			continue
		}
		took[s.Name] = append(took[s.Name], s.EndTime.Sub(s.StartTime))
	}
	want := map[string][]time.Duration{"room gets ready": {2 * time.Second}, "room moves": {time.Second, 2 * time.Second, time.Second}}
	if diff := cmp.Diff(want, took); diff != "" {
		t.Errorf("journeys (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"group", "claim", "hand over", "hand over", "hand over", "hand over"}, stages); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
	if len(w.journeys.byRoom) != 0 {
		t.Error("a journey is still on")
	}
}

// A room that is deleted or closed on its way is not counted, and nothing of it is kept.
func TestJourneyThatEnds(t *testing.T) {
	for name, end := range map[string]func(*walk, *testing.T){
		"deleted": func(w *walk, _ *testing.T) { w.journeys.gone(client.ObjectKeyFromObject(w.vr), w.now) },
		"closed": func(w *walk, t *testing.T) {
			w.to(t, false, func(s *v1alpha1.VoiceRoomStatus) { at := metav1.NewTime(w.now); s.ClosedAt = &at })
		},
	} {
		w := &walk{metrics: NewMetrics(), now: time.Unix(1000, 0), vr: &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "r", UID: "u"}}}
		w.to(t, false, func(*v1alpha1.VoiceRoomStatus) {})
		if len(w.journeys.byRoom) != 1 {
			t.Fatalf("%s: the journey did not begin", name)
		}
		end(w, t)
		if len(w.journeys.byRoom) != 0 {
			t.Errorf("%s: the journey is still on", name)
		}
	}
}

// A room that carries a trace goes on with it; another has one that follows from its UID.
func TestTraceOfARoom(t *testing.T) {
	vr := &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{UID: "u", Annotations: map[string]string{
		v1alpha1.AnnotationTraceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}}
	if got := trace.SpanContextFromContext(traceOf(vr)); got.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" || !got.IsSampled() || !got.IsRemote() {
		t.Errorf("%+v", got)
	}
	var ids []string
	for _, asked := range []string{"", "not a traceparent"} {
		vr.Annotations[v1alpha1.AnnotationTraceparent] = asked
		got := trace.SpanContextFromContext(traceOf(vr))
		if !got.HasTraceID() || got.HasSpanID() {
			t.Errorf("%q: %+v; want a trace whose root is ours", asked, got)
		}
		ids = append(ids, got.TraceID().String())
	}
	if len(slices.Compact(ids)) != 1 {
		t.Errorf("the same room is in different traces: %v", ids)
	}
}
