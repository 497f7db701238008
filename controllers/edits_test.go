package controllers_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// TestEditsApplyOnlyWhatChanged: moderators change everything in the call; then each field
// of the spec is edited in turn, and nothing else in the pod follows the spec.
func TestEditsApplyOnlyWhatChanged(t *testing.T) {
	startOperator(t, nil)
	vr := newRoom(t, "edits", func(vr *v1alpha1.VoiceRoom) {
		vr.Spec.Moderators, vr.Spec.Banned = []string{"key:test:mod"}, []string{"key:test:bad"}
	})
	waitReady(t, vr)
	pod := dial(t, vr, token.CallerOperator, v1alpha1.OperatorKeySecret)
	call := room.Configure{DisplayName: new("In the call"), Access: new(room.InviteOnly), MicPolicy: new(room.OnRequest), MuteOnEntry: new(true),
		SpeakingSeconds: new(77), Announcement: new("Said in the call"), Metadata: &map[string]string{"by": "moderator"}}
	for _, c := range []room.Command{call, room.LockMic{Index: 2, Locked: true}, room.ResetInvites{}, room.Unban{Subject: "key:test:bad"}} {
		_, err := pod.Command(t.Context(), 1, "", c)
		must(t, err)
	}
	for _, tt := range []struct {
		name string
		edit func(*v1alpha1.VoiceRoomSpec)
		want func(*room.State)
	}{
		{"displayName", func(s *v1alpha1.VoiceRoomSpec) { s.DisplayName = "Edited" }, func(s *room.State) { s.Settings.DisplayName = "Edited" }},
		{"maxMembers", func(s *v1alpha1.VoiceRoomSpec) { s.MaxMembers = 20 }, func(s *room.State) { s.Settings.MaxMembers = 20 }},
		{"maxMics", func(s *v1alpha1.VoiceRoomSpec) { s.MaxMics = 4 }, func(s *room.State) { s.Settings.MaxMics = 4 }},
		{"access", func(s *v1alpha1.VoiceRoomSpec) { s.Access = v1alpha1.AccessLocked }, func(s *room.State) { s.Settings.Access = room.Locked }},
		{"micPolicy", func(s *v1alpha1.VoiceRoomSpec) { s.MicPolicy = v1alpha1.MicAppointed }, func(s *room.State) { s.Settings.MicPolicy = room.Appointed }},
		{"duplicates", func(s *v1alpha1.VoiceRoomSpec) { s.Duplicates = v1alpha1.DuplicatesRefuse }, func(s *room.State) { s.Settings.Duplicates = room.Refuse }},
		{"audience, of which the pod makes no mix", func(s *v1alpha1.VoiceRoomSpec) { s.Audience = v1alpha1.AudienceMix }, func(*room.State) {}},
		{"speakingSeconds", func(s *v1alpha1.VoiceRoomSpec) { s.SpeakingSeconds = 180 }, func(s *room.State) { s.Settings.SpeakingSeconds = 180 }},
		{"speakingSeconds, no limit", func(s *v1alpha1.VoiceRoomSpec) { s.SpeakingSeconds = 0 }, func(s *room.State) { s.Settings.SpeakingSeconds = 0 }},
		{"muteOnEntry", func(s *v1alpha1.VoiceRoomSpec) { s.MuteOnEntry = true }, func(s *room.State) {}}, // it is so already
		{"muteOnEntry, off", func(s *v1alpha1.VoiceRoomSpec) { s.MuteOnEntry = false }, func(s *room.State) { s.Settings.MuteOnEntry = false }},
		{"announcement", func(s *v1alpha1.VoiceRoomSpec) { s.Announcement = "Edited" }, func(s *room.State) { s.Settings.Announcement = "Edited" }},
		{"metadata", func(s *v1alpha1.VoiceRoomSpec) { s.Metadata = map[string]string{"by": "edit"} }, func(s *room.State) { s.Settings.Metadata = map[string]string{"by": "edit"} }},
		{"metadata, none", func(s *v1alpha1.VoiceRoomSpec) { s.Metadata = nil }, func(s *room.State) { s.Settings.Metadata = nil }},
		{"moderators", func(s *v1alpha1.VoiceRoomSpec) { s.Moderators = append(s.Moderators, "key:test:new") },
			func(s *room.State) { s.Settings.Moderators = []string{"key:test:mod", "key:test:new"} }},
		{"banned", func(s *v1alpha1.VoiceRoomSpec) { s.Banned = append(s.Banned, "key:test:worse") },
			func(s *room.State) { s.Records = []room.Record{{Subject: "key:test:worse", Banned: true}} }},
		{"banned, nobody", func(s *v1alpha1.VoiceRoomSpec) { s.Banned = nil }, func(s *room.State) { s.Records = nil }},
		{"emptyTimeout, which the pod is not told", func(s *v1alpha1.VoiceRoomSpec) { s.Lifecycle.WhenEmpty = v1alpha1.EmptySleep }, func(*room.State) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, err := pod.Get(t.Context(), 1)
			must(t, err)
			stored := vr.DeepCopy()
			tt.edit(&vr.Spec)
			must(t, cluster.Patch(t.Context(), vr, client.MergeFrom(stored)))
			var after *room.State
			until(t, "the pod has the edit", func() (bool, error) {
				after, err = pod.Get(t.Context(), 1)
				return err == nil && after.Settings.Generation == vr.Generation, err
			})
			tt.want(before)
			if diff := cmp.Diff(before, after, cmpopts.IgnoreFields(room.Settings{}, "Generation", "Spec"), cmpopts.IgnoreFields(room.State{}, "Seq"), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("in the pod (-want +got):\n%s", diff)
			}
		})
	}
	until(t, "the status says that there is no mix", func() (bool, error) {
		err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr)
		c := meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionMediaReady)
		return c != nil && c.Reason == v1alpha1.ReasonMixUnavailable && c.Status == metav1.ConditionTrue, err
	})
	until(t, "the status has the caps", func() (bool, error) {
		err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr)
		return vr.Status.EffectiveMaxMembers == 20 && vr.Status.EffectiveMaxMics == 4, err
	})
	removeRoom(t, vr)
}
