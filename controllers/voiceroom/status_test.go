package voiceroom

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
)

func TestConclude(t *testing.T) {
	r := &Reconciler{Clock: testclock.NewFakePassiveClock(epochZero), GatewayURL: "https://voice.example.org"}
	condition := func(kind string, ok metav1.ConditionStatus, reason string) func(*v1alpha1.VoiceRoom) {
		return func(vr *v1alpha1.VoiceRoom) { r.set(vr, kind, ok, reason, "because of %s", reason) }
	}
	chatUp := condition(v1alpha1.ConditionChatReady, metav1.ConditionTrue, v1alpha1.ReasonGroupCreated)
	mediaUp := condition(v1alpha1.ConditionMediaReady, metav1.ConditionTrue, v1alpha1.ReasonPodClaimed)
	entered := func(vr *v1alpha1.VoiceRoom) { vr.Status.GroupID, vr.Status.StartedAt = "g", at(1) }
	degrade := func(vr *v1alpha1.VoiceRoom) { vr.Spec.Chat.FailurePolicy = v1alpha1.ChatDegrade }
	for name, tt := range map[string]struct {
		changes []func(*v1alpha1.VoiceRoom)
		phase   v1alpha1.RoomPhase
		reason  string
	}{
		"new":       {nil, v1alpha1.RoomPending, v1alpha1.ReasonPending},
		"no chat":   {[]func(*v1alpha1.VoiceRoom){condition(v1alpha1.ConditionChatReady, metav1.ConditionFalse, v1alpha1.ReasonProviderNotFound), mediaUp}, v1alpha1.RoomPending, v1alpha1.ReasonProviderNotFound},
		"chat lost": {[]func(*v1alpha1.VoiceRoom){condition(v1alpha1.ConditionChatReady, metav1.ConditionFalse, v1alpha1.ReasonProviderUnavailable), mediaUp, entered}, v1alpha1.RoomPending, v1alpha1.ReasonProviderUnavailable},
		"degraded":  {[]func(*v1alpha1.VoiceRoom){condition(v1alpha1.ConditionChatReady, metav1.ConditionFalse, v1alpha1.ReasonProviderUnavailable), mediaUp, entered, degrade}, v1alpha1.RoomOpen, v1alpha1.ReasonReady},
		"no pod":    {[]func(*v1alpha1.VoiceRoom){chatUp, condition(v1alpha1.ConditionMediaReady, metav1.ConditionFalse, v1alpha1.ReasonPoolExhausted)}, v1alpha1.RoomPending, v1alpha1.ReasonPoolExhausted},
		"up":        {[]func(*v1alpha1.VoiceRoom){chatUp, mediaUp}, v1alpha1.RoomReady, v1alpha1.ReasonReady},
		"entered":   {[]func(*v1alpha1.VoiceRoom){chatUp, mediaUp, func(vr *v1alpha1.VoiceRoom) { vr.Status.StartedAt = at(1) }}, v1alpha1.RoomOpen, v1alpha1.ReasonReady},
		"asleep":    {[]func(*v1alpha1.VoiceRoom){chatUp, func(vr *v1alpha1.VoiceRoom) { vr.Status.Phase = v1alpha1.RoomAsleep }}, v1alpha1.RoomAsleep, v1alpha1.ReasonAsleep},
		"over":      {[]func(*v1alpha1.VoiceRoom){chatUp, mediaUp, func(vr *v1alpha1.VoiceRoom) { vr.Status.ClosedAt = at(1) }}, v1alpha1.RoomClosed, v1alpha1.ReasonClosed},
		"over, with a word": {[]func(*v1alpha1.VoiceRoom){func(vr *v1alpha1.VoiceRoom) {
			vr.Status.ClosedAt, vr.Status.CloseReason, vr.Status.CloseMessage = at(1), v1alpha1.CloseByModerator, "See you next week."
		}}, v1alpha1.RoomClosed, v1alpha1.ReasonClosed},
		"just woken": {[]func(*v1alpha1.VoiceRoom){chatUp, func(vr *v1alpha1.VoiceRoom) { vr.Status.Phase = v1alpha1.RoomPending }}, v1alpha1.RoomPending, v1alpha1.ReasonPending},
	} {
		t.Run(name, func(t *testing.T) {
			vr := testRoom(nil)
			for _, change := range tt.changes {
				change(vr)
			}
			r.conclude(vr)
			var ready metav1.Condition
			for _, c := range vr.Status.Conditions {
				if c.Type == v1alpha1.ConditionReady {
					ready = c
				}
				if c.ObservedGeneration != vr.Generation {
					t.Errorf("%s observed generation %d, want %d", c.Type, c.ObservedGeneration, vr.Generation)
				}
			}
			if vr.Status.Phase != tt.phase || ready.Reason != tt.reason || (ready.Status == metav1.ConditionTrue) != (tt.reason == v1alpha1.ReasonReady) {
				t.Errorf("phase %s, Ready %s for %s; want %s for %s", vr.Status.Phase, ready.Status, ready.Reason, tt.phase, tt.reason)
			}
			if vr.Status.CloseMessage != "" && ready.Message != "the room has ended: ClosedByModerator: See you next week." {
				t.Errorf("Ready says %q", ready.Message)
			}
			if want := "https://voice.example.org/r/default/r"; vr.Status.JoinURL != want {
				t.Errorf("join URL %q, want %q", vr.Status.JoinURL, want)
			}
		})
	}
}

// TestReadyOfAnOlderGeneration: an edit that the pod has not taken was not observed.
func TestReadyOfAnOlderGeneration(t *testing.T) {
	r := &Reconciler{Clock: testclock.NewFakePassiveClock(epochZero)}
	vr := testRoom(nil)
	r.set(vr, v1alpha1.ConditionMediaReady, metav1.ConditionTrue, v1alpha1.ReasonPodClaimed, "it holds the room")
	taken := vr.Generation
	vr.Generation++
	r.set(vr, v1alpha1.ConditionChatReady, metav1.ConditionTrue, v1alpha1.ReasonGroupCreated, "it exists")
	r.conclude(vr)
	ready := meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionReady)
	if ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != taken {
		t.Errorf("Ready %s observed generation %d, want True for %d", ready.Status, ready.ObservedGeneration, taken)
	}
}

// TestConcludeIsStable: what was written once is not written again.
func TestConcludeIsStable(t *testing.T) {
	clk := testclock.NewFakePassiveClock(epochZero)
	r := &Reconciler{Clock: clk}
	vr := testRoom(nil)
	r.conclude(vr)
	stored := vr.DeepCopy()
	clk.SetTime(epochZero.Add(time.Hour))
	r.conclude(vr)
	if diff := cmp.Diff(stored.Status, vr.Status); diff != "" {
		t.Errorf("time alone changed the status (-before +after):\n%s", diff)
	}
}

func TestSummarize(t *testing.T) {
	instant := epochZero.Add(1234 * time.Millisecond)
	state := &room.State{Epoch: 1, ActivatedAt: &instant,
		Settings: room.Settings{MaxMembers: 9, MaxMics: 3},
		Records:  []room.Record{{Subject: "key:k:call", Banned: true}, {Subject: "key:k:spec", Banned: true}},
		Members: []room.Member{
			{ID: 1, Subject: "key:k:ann", Status: room.Entered}, {ID: 2, Subject: "key:k:bob", Status: room.Away},
			{ID: 3, Subject: "key:k:cid", Status: room.Reserved}, {ID: 4, Subject: "key:k:dan", Status: room.Held}},
		Mics: []room.Mic{{Index: 0, Member: 1}, {Index: 1, Member: 4}, {Index: 2, Member: 2, ModMuted: true}}}
	vr := testRoom(func(vr *v1alpha1.VoiceRoom) { vr.Spec.Banned = []string{"key:k:spec"} })
	summarize(vr, state)
	second := metav1.NewTime(epochZero.Add(time.Second))
	want := v1alpha1.VoiceRoomStatus{Members: 2, EffectiveMaxMembers: 9, EffectiveMaxMics: 3, Banned: []string{"key:k:call"}, StartedAt: &second,
		Mics: []v1alpha1.MicStatus{{Index: 0, Holder: "key:k:ann"}, {Index: 1, Holder: "key:k:dan"}, {Index: 2, Holder: "key:k:bob", Muted: true}}, OnMic: "key:k:ann,key:k:bob"}
	if diff := cmp.Diff(want, vr.Status); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	later := instant.Add(time.Hour)
	state.ActivatedAt = &later
	if summarize(vr, state); !vr.Status.StartedAt.Equal(&second) {
		t.Errorf("startedAt moved to %v: it is a latch", vr.Status.StartedAt)
	}
}

func TestOnlySummary(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.VoiceRoomStatus)
		want   bool
	}{
		"members": {func(s *v1alpha1.VoiceRoomStatus) { s.Members = 3 }, true},
		"mics":    {func(s *v1alpha1.VoiceRoomStatus) { s.Mics = []v1alpha1.MicStatus{{Index: 1}} }, true},
		"kicked":  {func(s *v1alpha1.VoiceRoomStatus) { s.Kicked = []v1alpha1.KickedStatus{{Subject: "a"}} }, true},
		"host":    {func(s *v1alpha1.VoiceRoomStatus) { s.Host, s.Muted, s.ChatMuted = "b", []string{"c"}, []string{"d"} }, true},
		"links":   {func(s *v1alpha1.VoiceRoomStatus) { s.InvitesResetAt = at(1) }, true},
		"empty":   {func(s *v1alpha1.VoiceRoomStatus) { s.EmptySince = at(1) }, true},
		"words":   {func(s *v1alpha1.VoiceRoomStatus) { s.Conditions[0].Message = "3 assigned" }, true},
		"reason":  {func(s *v1alpha1.VoiceRoomStatus) { s.Conditions[0].Reason = "Other" }, false},
		"claim":   {func(s *v1alpha1.VoiceRoomStatus) { s.Media = &v1alpha1.RoomMediaStatus{Epoch: 1} }, false},
		"started": {func(s *v1alpha1.VoiceRoomStatus) { s.Members, s.StartedAt = 1, at(1) }, false},
		"closed":  {func(s *v1alpha1.VoiceRoomStatus) { s.ClosedAt = at(1) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			stored := testRoom(nil)
			stored.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Reason: v1alpha1.ReasonPoolExhausted, Message: "2 assigned"}}
			vr := stored.DeepCopy()
			tt.change(&vr.Status)
			if got := onlySummary(stored, vr); got != tt.want {
				t.Errorf("onlySummary = %v", got)
			}
		})
	}
}
