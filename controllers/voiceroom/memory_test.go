package voiceroom

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
)

// TestSeedFromStatus checks what a room that lost pod and replica starts from: what the
// status remembers of the state before, and the spec.
func TestSeedFromStatus(t *testing.T) {
	if s := seedFromStatus(testRoom(nil)); s != nil {
		t.Errorf("a room that nobody entered is seeded with %+v", s)
	}
	vr := testRoom(func(vr *v1alpha1.VoiceRoom) {
		vr.Spec.Banned = []string{"key:k:spec"}
		vr.Status.Media = &v1alpha1.RoomMediaStatus{PodUID: "pod", Epoch: 4}
	})
	kicked, reset := epochZero.Add(1200*time.Millisecond), epochZero.Add(5*time.Second)
	lost := &room.State{Epoch: 3, ActivatedAt: &at(1).Time,
		Settings: room.Settings{MaxMembers: 4, MaxMics: 1, Access: room.Locked, Host: "key:k:bob", InvitesSince: &reset},
		Records: []room.Record{
			{Subject: "key:k:call", Name: "Cal", Member: 3, Banned: true, Kicked: &kicked},
			{Subject: "key:k:kim", Kicked: &kicked},
			{Subject: "key:k:mia", Muted: true, ChatMuted: true, Audience: true},
			{Subject: "key:k:spec", Banned: true}}}
	summarize(vr, lost)
	state := room.New(idOf(vr), 4, specOf(vr), seedFromStatus(vr), epochZero).State()

	if state.Phase != room.Opened || state.ActivatedAt == nil || !state.ActivatedAt.Equal(at(1).Time) {
		t.Errorf("phase %s, activated at %v: the owner would have to come first again", state.Phase, state.ActivatedAt)
	}
	up := epochZero.Add(2 * time.Second)
	want := []room.Record{{Subject: "key:k:call", Banned: true}, {Subject: "key:k:kim", Kicked: &up},
		{Subject: "key:k:mia", Muted: true, ChatMuted: true}, {Subject: "key:k:spec", Banned: true}}
	if diff := cmp.Diff(want, state.Records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	s := state.Settings
	if s.Host != "key:k:bob" || s.InvitesSince == nil || !s.InvitesSince.Equal(reset) {
		t.Errorf("host %s, links reset at %v", s.Host, s.InvitesSince)
	}
	if s.MaxMembers != 10 || s.Access != room.Access(vr.Spec.Access) || s.Owner != "key:k:ann" || s.Generation != 1 {
		t.Errorf("settings %+v are not the spec's", s)
	}
}

// TestSeededRoomRefuses: the seed is a room's, not a likeness of one.
func TestSeededRoomRefuses(t *testing.T) {
	vr := testRoom(func(vr *v1alpha1.VoiceRoom) {
		vr.Spec.Access = v1alpha1.AccessPublic
		vr.Status.StartedAt, vr.Status.Media = at(1), &v1alpha1.RoomMediaStatus{PodUID: "pod", Epoch: 2}
		vr.Status.Kicked, vr.Status.Banned = []v1alpha1.KickedStatus{{Subject: "key:k:kim", At: *at(2)}}, []string{"key:k:eve"}
		vr.Status.InvitesResetAt = at(3)
	})
	now := at(4).Time
	link := func(minute int) room.Reserve {
		return room.Reserve{InvitedAt: at(minute).Time, Invite: &room.Invite{ID: "link", Until: now.Add(time.Hour)}}
	}
	for name, tt := range map[string]struct {
		reserve room.Reserve
		subject string
		want    room.Code
	}{
		"kicked":                    {room.Reserve{}, "key:k:kim", room.IsKicked},
		"kicked, by a newer link":   {link(4), "key:k:kim", room.IsKicked},
		"kicked, invited before":    {room.Reserve{InvitedAt: at(1).Time}, "key:k:kim", room.IsKicked},
		"kicked, invited by name":   {room.Reserve{InvitedAt: at(3).Time}, "key:k:kim", ""},
		"banned, invited by name":   {room.Reserve{InvitedAt: at(3).Time}, "key:k:eve", room.IsBanned},
		"a link from before reset":  {link(2), "key:k:new", room.InviteVoid},
		"a link from after a reset": {link(4), "key:k:new", ""},
	} {
		r := room.New(idOf(vr), 2, specOf(vr), seedFromStatus(vr), epochZero)
		for _, c := range []room.Command{room.Renew{Until: now.Add(time.Hour)}, room.ReleaseHeld{}} {
			if _, err := r.Do(now, room.Control, c); err != nil {
				t.Fatal(err)
			}
		}
		tt.reserve.Subject, tt.reserve.Session = tt.subject, name
		_, err := r.Do(now, room.Control, tt.reserve)
		if tt.want == "" && err != nil || tt.want != "" && !errors.Is(err, &room.Error{Code: tt.want}) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestRememberIsBounded: of more than a status may hold, the latest are kept.
func TestRememberIsBounded(t *testing.T) {
	state := &room.State{}
	for i := range 2 * mostBanned {
		kicked := epochZero.Add(time.Duration((i*7919)%(2*mostBanned)) * time.Second)
		state.Records = append(state.Records,
			room.Record{Subject: fmt.Sprintf("key:k:%05d-banned", i), Banned: true, Kicked: &kicked},
			room.Record{Subject: fmt.Sprintf("key:k:%05d-kicked", i), Kicked: &kicked},
			room.Record{Subject: fmt.Sprintf("key:k:%05d-muted", i), Muted: true, ChatMuted: true})
	}
	var s v1alpha1.VoiceRoomStatus
	remember(&s, &v1alpha1.VoiceRoomSpec{}, state)
	if got := []int{len(s.Banned), len(s.Kicked), len(s.Muted), len(s.ChatMuted)}; !cmp.Equal(got, []int{mostBanned, mostOthers, mostOthers, mostOthers}) {
		t.Fatalf("%v banned, kicked, muted, chat-muted", got)
	}
	oldest := metav1.NewTime(epochZero.Add(time.Duration(2*mostBanned-mostOthers) * time.Second))
	for i, k := range s.Kicked {
		if k.At.Before(&oldest) || i > 0 && k.Subject <= s.Kicked[i-1].Subject {
			t.Fatalf("kicked %d is %s at %v", i, k.Subject, k.At)
		}
	}
}

// TestRecall: a leader that was frozen seeds a pod with what it knew long ago.
func TestRecall(t *testing.T) {
	vr := testRoom(func(vr *v1alpha1.VoiceRoom) {
		vr.Status.StartedAt = at(1)
		vr.Status.Kicked, vr.Status.Banned = []v1alpha1.KickedStatus{{Subject: "key:k:kim", At: *at(3)}}, []string{"key:k:eve"}
	})
	old := &room.State{Epoch: 1, Phase: room.Prepared, Records: []room.Record{{Subject: "key:k:old", Muted: true}},
		Members: []room.Member{{ID: 1, Subject: "key:k:ann", Status: room.Entered}}}
	seed := *old
	recall(&seed, &vr.Status)
	want := []room.Record{{Subject: "key:k:eve", Banned: true}, {Subject: "key:k:kim", Kicked: &at(3).Time}, {Subject: "key:k:old", Muted: true}}
	if diff := cmp.Diff(want, seed.Records); diff != "" || seed.Phase != room.Opened || seed.ActivatedAt == nil || len(seed.Members) != 1 {
		t.Errorf("phase %s, activated at %v, records (-want +got):\n%s", seed.Phase, seed.ActivatedAt, diff)
	}
	if len(old.Records) != 1 || old.ActivatedAt != nil {
		t.Errorf("the replica itself changed: %+v", old)
	}
}
