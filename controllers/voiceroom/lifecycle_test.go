package voiceroom

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

var epochZero = time.Unix(1_700_000_000, 0).UTC()

func at(minutes int) *metav1.Time {
	t := metav1.NewTime(epochZero.Add(time.Duration(minutes) * time.Minute))
	return &t
}

func minutes(n int) *metav1.Duration {
	return &metav1.Duration{Duration: time.Duration(n) * time.Minute}
}

// testRoom was made at minute 0 and closes after 10 minutes unclaimed, or 5 empty.
func testRoom(change func(*v1alpha1.VoiceRoom)) *v1alpha1.VoiceRoom {
	vr := &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "r", UID: "uid", Generation: 1, CreationTimestamp: *at(0)}}
	vr.Spec = v1alpha1.VoiceRoomSpec{Owner: "key:k:ann", MaxMembers: 10, MaxMics: 2,
		Lifecycle: v1alpha1.RoomLifecycle{UnclaimedTimeout: minutes(10), EmptyTimeout: minutes(5), WhenEmpty: v1alpha1.EmptyClose}}
	if change != nil {
		change(vr)
	}
	return vr
}

func TestDecide(t *testing.T) {
	started := func(vr *v1alpha1.VoiceRoom) { vr.Status.StartedAt = at(1) }
	empty := func(vr *v1alpha1.VoiceRoom) { started(vr); vr.Status.EmptySince = at(20) }
	both := func(a, b func(*v1alpha1.VoiceRoom)) func(*v1alpha1.VoiceRoom) {
		return func(vr *v1alpha1.VoiceRoom) { a(vr); b(vr) }
	}
	sleeps := func(vr *v1alpha1.VoiceRoom) { vr.Spec.Lifecycle.WhenEmpty = v1alpha1.EmptySleep }
	hour := func(vr *v1alpha1.VoiceRoom) { vr.Spec.Lifecycle.MaxDuration = minutes(60) }
	sleeping := func(vr *v1alpha1.VoiceRoom) {
		vr.Status.StartedAt, vr.Status.EmptySince, vr.Status.Phase = at(1), at(20), v1alpha1.RoomAsleep
		vr.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Reason: v1alpha1.ReasonAsleep, LastTransitionTime: *at(25)}}
	}
	woken := func(minute int) func(*v1alpha1.VoiceRoom) {
		return both(sleeping, func(vr *v1alpha1.VoiceRoom) {
			vr.Annotations = map[string]string{v1alpha1.AnnotationWake: at(minute).Format(time.RFC3339)}
		})
	}
	for name, tt := range map[string]struct {
		room    func(*v1alpha1.VoiceRoom)
		unknown bool // the pod cannot be heard
		minute  int
		want    verdict
	}{
		"waits for its owner":              {nil, false, 4, verdict{wait: 6 * time.Minute}},
		"unclaimed":                        {nil, false, 10, verdict{act: shut, reason: v1alpha1.CloseUnclaimed}},
		"unclaimed as far as is known":     {nil, true, 10, verdict{}},
		"claimed, for ever":                {started, false, 100_000, verdict{}},
		"claimed, for an hour":             {both(started, hour), false, 31, verdict{wait: 30 * time.Minute}},
		"an hour is over":                  {both(started, hour), false, 61, verdict{act: shut, reason: v1alpha1.CloseMaxDuration}},
		"an hour is over, pod unheard":     {both(started, hour), true, 61, verdict{act: shut, reason: v1alpha1.CloseMaxDuration}},
		"empty for a while":                {empty, false, 22, verdict{wait: 3 * time.Minute}},
		"whichever comes first":            {both(empty, hour), false, 22, verdict{wait: 3 * time.Minute}},
		"empty for long":                   {empty, false, 25, verdict{act: shut, reason: v1alpha1.CloseEmpty}},
		"empty for long, pod unheard":      {empty, true, 25, verdict{}},
		"empty for long, sleeps":           {both(empty, sleeps), false, 25, verdict{act: sleep}},
		"sleeping":                         {sleeping, false, 1000, verdict{}},
		"sleeping, an hour is over":        {both(sleeping, hour), false, 61, verdict{act: shut, reason: v1alpha1.CloseMaxDuration}},
		"woken":                            {woken(30), false, 30, verdict{act: wake}},
		"woken in the second it fell over": {woken(25), false, 26, verdict{act: wake}},
		"woken before it fell asleep":      {woken(24), false, 30, verdict{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := decide(testRoom(tt.room), !tt.unknown, at(tt.minute).Time); got != tt.want {
				t.Errorf("verdict %+v, want %+v", got, tt.want)
			}
		})
	}
}
