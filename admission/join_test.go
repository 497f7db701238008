package admission_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

func TestGrantOpensTheReservedSession(t *testing.T) {
	w := newWorld(t, 5)
	grant := w.join(owner)
	got, err := token.NewVerifier(func() *token.PublicSet { return w.keys }, time.Now).Room(grant.Token, w.room.ID.UID, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if got.Subject != owner || got.Session != grant.Session || got.Group != w.room.ID.GroupID || got.Role != string(room.Host) {
		t.Errorf("the token says %+v, the grant %+v", got, grant)
	}
	if grant.Role != room.Host || grant.Epoch != epoch || grant.GroupID != w.room.ID.GroupID {
		t.Errorf("grant: %+v", grant)
	}
	if _, err := w.pod.do(room.Control, room.Open{Session: grant.Session}); err != nil {
		t.Errorf("the pod does not know the session: %v", err)
	}
}

func TestTokenExpiresWithItsPlace(t *testing.T) {
	w := newWorld(t, 5)
	w.enter(owner)
	grant, err := w.desk.Join(t.Context(), w.room, admission.Request{Subject: "guest:1", Guest: true, Origin: "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	state, err := w.pod.Get(t.Context(), epoch)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := state.Subject("guest:1")
	if m.Deadline == nil || !grant.ExpiresAt.Equal(*m.Deadline) {
		t.Errorf("the token expires at %v, the guest's place at %v", grant.ExpiresAt, m.Deadline)
	}
}

func TestJoinRefusals(t *testing.T) {
	unreachable := fmt.Errorf("dialling: %w", mediaapi.ErrUnreachable)
	for _, test := range []struct {
		name      string
		arrange   func(*world)
		req       admission.Request
		want      room.Code
		retryable bool
	}{
		{"before the owner", func(*world) {}, admission.Request{Subject: "key:shop:bob"}, room.NotOpenYet, true},
		{"banned", func(w *world) {
			w.do(room.SetSpec{Spec: room.Spec{Generation: 2, Owner: owner, MaxMembers: 2, MaxMics: 2, Access: room.Public, MicPolicy: room.Auto, Banned: []string{"key:shop:bob"}}})
		}, admission.Request{Subject: "key:shop:bob"}, room.IsBanned, false},
		{"closed", func(w *world) { w.do(room.Close{}) }, admission.Request{Subject: owner}, room.RoomClosed, false},
		{"full", func(w *world) { w.enter(owner); w.enter("key:shop:eve") }, admission.Request{Subject: "key:shop:bob"}, room.RoomFull, false},
		{"locked", func(w *world) { w.enter(owner); w.do(room.Configure{Access: new(room.Locked)}) }, admission.Request{Subject: "key:shop:bob"}, room.RoomLocked, false},
		{"uninvited", func(w *world) { w.enter(owner); w.do(room.Configure{Access: new(room.InviteOnly)}) }, admission.Request{Subject: "key:shop:bob"}, room.InviteRequired, false},
		{"no subject", func(w *world) { w.enter(owner) }, admission.Request{}, room.BadCommand, false},
		{"pod away", func(w *world) { w.pod.before = func(string) error { return unreachable } }, admission.Request{Subject: owner}, admission.MediaUnavailable, true},
		{"pod does not trust us", func(w *world) {
			w.pod.before = func(string) error { return &room.Error{Code: mediaapi.Unauthenticated} }
		}, admission.Request{Subject: owner}, admission.MediaUnavailable, true},
		{"chat away", func(w *world) { _ = w.chat.Close() }, admission.Request{Subject: owner}, admission.ChatUnavailable, true},
		{"chat not configured", func(w *world) { w.room.Chat = nil }, admission.Request{Subject: owner}, admission.ChatUnavailable, true},
		{"group dissolved", func(w *world) { _ = w.chat.DeleteGroup(w.t.Context(), w.room.ID.GroupID) }, admission.Request{Subject: owner}, admission.GroupGone, false},
		{"resumes without a place", func(w *world) { w.enter(owner) }, admission.Request{Subject: "key:shop:bob", Resumes: "before"}, room.UnknownMember, false},
		{"resumes a membership that is over", func(w *world) { w.enter(owner); w.enter("key:shop:bob") }, admission.Request{Subject: "key:shop:bob", Resumes: "before", ResumesMember: 1}, room.UnknownMember, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 2)
			test.arrange(w)
			_, err := w.desk.Join(t.Context(), w.room, test.req)
			e, ok := errors.AsType[*admission.Error](err)
			if !ok || e.Code != test.want || e.Retryable != test.retryable {
				t.Errorf("error %v (retryable %v), want %s (retryable %v)", err, ok && e.Retryable, test.want, test.retryable)
			}
		})
	}
}

func TestDegradedRoomLetsInWithoutChat(t *testing.T) {
	for _, test := range []struct {
		name string
		lose func(*world)
	}{
		{"away", func(w *world) { _ = w.chat.Close() }},
		{"not configured", func(w *world) { w.room.Chat = nil }},
		{"dissolved", func(w *world) { _ = w.chat.DeleteGroup(w.t.Context(), w.room.ID.GroupID) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.room.Degrade = true
			test.lose(w)
			if entered := w.enter(owner); entered.Mic == nil {
				t.Error("the owner has no microphone")
			}
		})
	}
}

// What proved somebody reaches the room, which decides by it.
func TestJoinPassesOnHowSomebodyCame(t *testing.T) {
	w := newWorld(t, 5)
	w.enter(owner)
	w.do(room.SetSpec{Spec: room.Spec{Generation: 2, Owner: owner, MaxMembers: 5, MaxMics: 2, Access: room.InviteOnly, MicPolicy: room.Auto, Duplicates: room.Refuse}})
	join := func(subject, resumes string) (admission.Grant, error) {
		return w.desk.Join(t.Context(), w.room, admission.Request{Subject: subject, Resumes: resumes, Keys: []string{"k1", "k2"},
			InvitedAt: time.Now(), Invite: &room.Invite{ID: "link", Uses: 1, Until: time.Now().Add(time.Hour)}})
	}
	grant, err := join("key:shop:bob", "")
	if err != nil {
		t.Fatalf("by a link: %v", err)
	}
	if info, err := w.pod.Subject(t.Context(), epoch, "key:shop:bob"); err != nil || !slices.Equal(info.Member.Keys, []string{"k1", "k2"}) {
		t.Errorf("the room knows of keys %v, %v", info.Member.Keys, err)
	}
	w.do(room.Open{Session: grant.Session})
	w.do(room.Associate{Session: grant.Session})
	if _, err := join("key:shop:eve", ""); admission.CodeOf(err) != room.InviteUsed {
		t.Errorf("by a link that is used up: %v", err)
	}
	if _, err := join("key:shop:bob", ""); admission.CodeOf(err) != room.AlreadyJoined {
		t.Errorf("beside his own client: %v", err)
	}
	if _, err := join("key:shop:bob", grant.Session); err != nil {
		t.Errorf("in place of his own client: %v", err)
	}
}

func TestResumeNeedsNoChat(t *testing.T) {
	w := newWorld(t, 1)
	w.enter(owner)
	_ = w.chat.Close()
	grant, err := w.desk.Join(t.Context(), w.room, admission.Request{Subject: owner, Resumes: "before"})
	if err != nil {
		t.Fatal(err)
	}
	w.do(room.Open{Session: grant.Session})
	w.do(room.Associate{Session: grant.Session})
	if _, err := w.desk.Confirm(t.Context(), w.room, grant.Session); err != nil {
		t.Error(err)
	}
}

func TestWhoIsInIsNotRefusedByAFullCount(t *testing.T) {
	w := newWorld(t, 2)
	w.enter(owner)
	first := w.enter("key:shop:bob")
	if grant := w.join("key:shop:bob"); grant.Member != first.Member {
		t.Errorf("came back as member %d, was %d", grant.Member, first.Member)
	}
}

func TestRaceForTheLastPlace(t *testing.T) {
	const racers = 64
	w := newWorld(t, 2)
	w.enter(owner)
	var in atomic.Int32
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range racers {
		all.Go(func() {
			<-start
			_, err := w.desk.Join(t.Context(), w.room, admission.Request{Subject: fmt.Sprintf("key:shop:%d", i)})
			switch {
			case err == nil:
				in.Add(1)
			case !errors.Is(err, &admission.Error{Code: room.RoomFull}):
				t.Errorf("racer %d: %v, want room-full", i, err)
			}
		})
	}
	close(start)
	all.Wait()
	if in.Load() != 1 {
		t.Errorf("%d racers got the one place", in.Load())
	}
}

// Step 7: the group's count says full, because it still lists who is long gone.
func TestListsAreRepairedBeforeAnyoneIsRefused(t *testing.T) {
	const waiting = 32
	w := newWorld(t, waiting+1)
	w.enter(owner)
	for i := range waiting {
		w.list(fmt.Sprintf("key:shop:gone-%d", i))
	}
	var comparisons atomic.Int32
	w.room.Chat = meddled{w.chat, func(call string) error {
		if call == "members" {
			comparisons.Add(1)
		}
		return nil
	}}
	var all sync.WaitGroup
	for i := range waiting {
		all.Go(func() {
			if _, err := w.desk.Join(t.Context(), w.room, admission.Request{Subject: fmt.Sprintf("key:shop:%d", i)}); err != nil {
				t.Errorf("%d is refused: %v", i, err)
			}
		})
	}
	all.Wait()
	if n := comparisons.Load(); n != 1 {
		t.Errorf("the lists were compared %d times for all who waited, want once", n)
	}
	if listed := w.listed(); len(listed) != 1 || !listed[owner] {
		t.Errorf("the group lists %v, want the owner alone", listed)
	}
}

func TestFullCountThatCannotBeCompared(t *testing.T) {
	for _, degrade := range []bool{false, true} {
		w := newWorld(t, 2)
		w.room.Degrade = degrade
		w.enter(owner)
		w.list("key:shop:gone")
		w.room.Chat = meddled{w.chat, func(call string) error {
			if call == "members" {
				return chat.ErrUnavailable
			}
			return nil
		}}
		_, err := w.desk.Join(t.Context(), w.room, admission.Request{Subject: "key:shop:bob"})
		if got := admission.CodeOf(err); degrade != (err == nil) || !degrade && got != admission.ChatUnavailable {
			t.Errorf("degrade %v: %v", degrade, err)
		}
		_ = w.chat.DeleteGroup(t.Context(), w.room.ID.GroupID)
	}
}
