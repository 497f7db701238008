package joinrequest

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
)

var start = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

// aRoom is a room for two that its owner has opened, and how its pod sees it.
func aRoom(t *testing.T) (*v1alpha1.VoiceRoom, *room.Room) {
	t.Helper()
	vr := &v1alpha1.VoiceRoom{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "lobby", UID: "r-1"},
		Spec: v1alpha1.VoiceRoomSpec{Owner: "key:a:owner", MaxMembers: 2, MaxMics: 1, Access: v1alpha1.AccessPublic, MicPolicy: v1alpha1.MicAuto,
			Moderators: []string{"key:a:mod"}, Banned: []string{"key:a:banned"}},
		Status: v1alpha1.VoiceRoomStatus{Phase: v1alpha1.RoomOpen},
	}
	r := room.New(room.ID{UID: "r-1", Namespace: "demo", Name: "lobby", GroupID: "g"}, 1, room.Spec{Generation: 1, Owner: vr.Spec.Owner,
		MaxMembers: 2, MaxMics: 1, Access: room.Public, MicPolicy: room.Auto, Moderators: vr.Spec.Moderators, Banned: vr.Spec.Banned}, nil, start)
	do(t, r, room.Renew{Until: start.Add(time.Hour)})
	enter(t, r, vr.Spec.Owner)
	return vr, r
}

func do(t *testing.T, r *room.Room, c room.Command) {
	t.Helper()
	if _, err := r.Do(start, room.Control, c); err != nil {
		t.Fatal(err)
	}
}

// enter takes a client through the whole way in.
func enter(t *testing.T, r *room.Room, subject string) {
	t.Helper()
	for _, c := range []room.Command{room.Reserve{Subject: subject, Session: "s-" + subject, Role: room.Speaker},
		room.Open{Session: "s-" + subject}, room.Associate{Session: "s-" + subject}, room.Enter{Session: "s-" + subject}} {
		do(t, r, c)
	}
}

func TestDecide(t *testing.T) {
	const stranger, second = "key:a:stranger", "key:a:second"
	as := func(role v1alpha1.JoinRole) func(*v1alpha1.VoiceRoom, *room.Room, *v1alpha1.JoinRequest) {
		return func(_ *v1alpha1.VoiceRoom, _ *room.Room, jr *v1alpha1.JoinRequest) { jr.Spec.Role = role }
	}
	phase := func(p v1alpha1.RoomPhase) func(*v1alpha1.VoiceRoom, *room.Room, *v1alpha1.JoinRequest) {
		return func(vr *v1alpha1.VoiceRoom, _ *room.Room, _ *v1alpha1.JoinRequest) { vr.Status.Phase = p }
	}
	in := func(c room.Command) func(*v1alpha1.VoiceRoom, *room.Room, *v1alpha1.JoinRequest) {
		return func(_ *v1alpha1.VoiceRoom, r *room.Room, _ *v1alpha1.JoinRequest) { do(t, r, c) }
	}
	full := func(_ *v1alpha1.VoiceRoom, r *room.Room, _ *v1alpha1.JoinRequest) { enter(t, r, second) }
	for _, tt := range []struct {
		name   string
		user   string
		change func(*v1alpha1.VoiceRoom, *room.Room, *v1alpha1.JoinRequest)
		phase  v1alpha1.JoinPhase
		code   room.Code
	}{
		{"a stranger in a public room", stranger, nil, v1alpha1.JoinGranted, ""},
		{"new, without a phase", stranger, phase(""), v1alpha1.JoinPending, codeRoomNotReady},
		{"being made", stranger, phase(v1alpha1.RoomPending), v1alpha1.JoinPending, codeRoomNotReady},
		{"waiting for its owner", stranger, phase(v1alpha1.RoomReady), v1alpha1.JoinGranted, ""},
		{"asleep: it wakes", stranger, phase(v1alpha1.RoomAsleep), v1alpha1.JoinGranted, ""},
		{"closed", stranger, phase(v1alpha1.RoomClosed), v1alpha1.JoinDenied, room.RoomClosed},
		{"being deleted", stranger, func(vr *v1alpha1.VoiceRoom, _ *room.Room, _ *v1alpha1.JoinRequest) {
			vr.DeletionTimestamp = &metav1.Time{Time: start}
		}, v1alpha1.JoinDenied, room.RoomClosed},
		{"banned by the spec", "key:a:banned", nil, v1alpha1.JoinDenied, room.IsBanned},
		{"banned by an edit that the pod has not seen", stranger, func(vr *v1alpha1.VoiceRoom, _ *room.Room, _ *v1alpha1.JoinRequest) {
			vr.Spec.Banned = append(vr.Spec.Banned, stranger)
		}, v1alpha1.JoinDenied, room.IsBanned},
		{"banned in the call", second, func(_ *v1alpha1.VoiceRoom, r *room.Room, _ *v1alpha1.JoinRequest) {
			enter(t, r, second)
			m, _ := r.View().Subject(second)
			do(t, r, room.Kick{Member: m.ID, Ban: true})
		}, v1alpha1.JoinDenied, room.IsBanned},
		{"kicked: the ticket is an invitation made for the user", second, func(_ *v1alpha1.VoiceRoom, r *room.Room, _ *v1alpha1.JoinRequest) {
			enter(t, r, second)
			m, _ := r.View().Subject(second)
			do(t, r, room.Kick{Member: m.ID})
		}, v1alpha1.JoinGranted, ""},
		{"a co-host by nobody's word", stranger, as(v1alpha1.JoinCoHost), v1alpha1.JoinDenied, codeRoleNotAllowed},
		{"a moderator as co-host", "key:a:mod", as(v1alpha1.JoinCoHost), v1alpha1.JoinGranted, ""},
		{"the owner as co-host", "key:a:owner", as(v1alpha1.JoinCoHost), v1alpha1.JoinGranted, ""},
		{"audience", stranger, as(v1alpha1.JoinAudience), v1alpha1.JoinGranted, ""},
		{"invited only: the ticket is the invitation", stranger, in(room.Configure{Access: new(room.InviteOnly)}), v1alpha1.JoinGranted, ""},
		{"locked in the call", stranger, in(room.Configure{Access: new(room.Locked)}), v1alpha1.JoinDenied, room.RoomLocked},
		{"a moderator of a locked room", "key:a:mod", in(room.Configure{Access: new(room.Locked)}), v1alpha1.JoinGranted, ""},
		{"full", stranger, full, v1alpha1.JoinDenied, room.RoomFull},
		{"full, but in it already", second, full, v1alpha1.JoinGranted, ""},
		{"one place left, and a reservation on it", stranger, in(room.Reserve{Subject: second, Session: "s"}), v1alpha1.JoinDenied, room.RoomFull},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vr, r := aRoom(t)
			jr := &v1alpha1.JoinRequest{Spec: v1alpha1.JoinRequestSpec{Room: v1alpha1.LocalReference{Name: "lobby"}, User: tt.user, Role: v1alpha1.JoinSpeaker}}
			if tt.change != nil {
				tt.change(vr, r, jr)
			}
			got := decide(jr, vr, r.State())
			if got.phase != tt.phase || got.code != tt.code {
				t.Errorf("%s %q (%s), want %s %q", got.phase, got.code, got.message, tt.phase, tt.code)
			}
			if got.code != "" && got.message == "" {
				t.Error("no words for people")
			}
		})
	}
}

// TestDecideWithoutAPod goes by the resource.
func TestDecideWithoutAPod(t *testing.T) {
	jr := &v1alpha1.JoinRequest{Spec: v1alpha1.JoinRequestSpec{Room: v1alpha1.LocalReference{Name: "lobby"}, User: "key:a:x"}}
	if got := decide(jr, nil, nil); got.phase != v1alpha1.JoinPending || got.code != codeRoomNotFound {
		t.Errorf("no such room: %+v", got)
	}
	for _, tt := range []struct {
		name   string
		change func(*v1alpha1.VoiceRoom)
		code   room.Code
	}{
		{"public", func(*v1alpha1.VoiceRoom) {}, ""},
		{"locked", func(vr *v1alpha1.VoiceRoom) { vr.Spec.Access = v1alpha1.AccessLocked }, room.RoomLocked},
		{"banned", func(vr *v1alpha1.VoiceRoom) { vr.Spec.Banned = []string{"key:a:x"} }, room.IsBanned},
		{"banned in an earlier call", func(vr *v1alpha1.VoiceRoom) { vr.Status.Banned = []string{"key:a:x"} }, room.IsBanned},
	} {
		vr, _ := aRoom(t)
		vr.Status.Phase = v1alpha1.RoomAsleep
		tt.change(vr)
		if got := decide(jr, vr, nil); got.code != tt.code {
			t.Errorf("%s: %+v, want %q", tt.name, got, tt.code)
		}
	}
}
