package admission_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// Steps 5 and 9: the first one makes the group valid and gets the first
// microphone, the second is associated with the group before it enters.
func TestConfirm(t *testing.T) {
	w := newWorld(t, 5)
	if g := w.group(); g.State != chat.Invalid || g.Members != 0 {
		t.Fatalf("before anybody came the group is %s with %d members", g.State, g.Members)
	}
	session := w.associate(owner)
	if g := w.group(); g.State != chat.Invalid || g.Members != 0 {
		t.Fatalf("before the owner entered the group is %s with %d members", g.State, g.Members)
	}
	entered, err := w.desk.Confirm(t.Context(), w.room, session)
	if err != nil {
		t.Fatal(err)
	}
	if entered.Mic == nil || *entered.Mic != 0 || entered.Role != room.Host {
		t.Errorf("the owner entered as %+v, want host on microphone 0", entered)
	}
	if g := w.group(); g.State != chat.Valid || g.Members != 1 {
		t.Errorf("after the owner entered the group is %s with %d members", g.State, g.Members)
	}

	bob := w.associate("key:shop:bob")
	w.pod.before = func(call string) error {
		if call == "command" && !w.listed()["key:shop:bob"] {
			return errors.New("entered before the group has it")
		}
		return nil
	}
	if entered, err = w.desk.Confirm(t.Context(), w.room, bob); err != nil || entered.Mic == nil || *entered.Mic != 1 {
		t.Errorf("the second entered as %+v: %v", entered, err)
	}
	w.pod.before = nil
	if third := w.enter("key:shop:eve"); third.Mic != nil {
		t.Errorf("the third got microphone %d of two", *third.Mic)
	}
}

func TestConfirmIsIdempotent(t *testing.T) {
	w := newWorld(t, 5)
	session := w.associate(owner)
	first, err := w.desk.Confirm(t.Context(), w.room, session)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.desk.Confirm(t.Context(), w.room, session)
	if err != nil || again.Member != first.Member || again.Mic == nil || *again.Mic != *first.Mic {
		t.Errorf("again: %+v and %v, first %+v", again, err, first)
	}
	if g := w.group(); g.Members != 1 {
		t.Errorf("the group has %d members", g.Members)
	}
}

func TestConfirmRefusals(t *testing.T) {
	w := newWorld(t, 5)
	w.enter(owner)
	reserved := w.join("key:shop:bob").Session
	opened := w.join("key:shop:eve").Session
	w.do(room.Open{Session: opened})
	for _, test := range []struct {
		session string
		want    room.Code
		retry   bool
	}{
		{"never-heard-of", room.UnknownSession, false},
		{"", room.UnknownSession, false},
		{reserved, room.NotAssociated, true},
		{opened, room.NotAssociated, true},
	} {
		_, err := w.desk.Confirm(t.Context(), w.room, test.session)
		if e, ok := errors.AsType[*admission.Error](err); !ok || e.Code != test.want || e.Retryable != test.retry {
			t.Errorf("session %q: %v, want %s", test.session, err, test.want)
		}
	}
	if listed := w.listed(); len(listed) != 1 {
		t.Errorf("the group lists %v, want the owner alone", listed)
	}
}

// A caller that dies between any two steps leaves something that the next one
// goes on from.
func TestConfirmAfterACrash(t *testing.T) {
	crash := errors.New("killed")
	for _, at := range []string{"add", "enter", "valid"} {
		t.Run("before "+at, func(t *testing.T) {
			w := newWorld(t, 5)
			session := w.associate(owner)
			dying := w.room
			dying.Chat = meddled{w.chat, func(call string) error {
				if call == at {
					return crash
				}
				return nil
			}}
			if at == "enter" {
				w.pod.before = func(call string) error {
					if call == "command" {
						return crash
					}
					return nil
				}
			}
			if _, err := w.desk.Confirm(t.Context(), dying, session); !errors.Is(err, crash) {
				t.Fatalf("did not die: %v", err)
			}
			w.pod.before = nil
			entered, err := w.desk.Confirm(t.Context(), w.room, session)
			if err != nil || entered.Mic == nil {
				t.Fatalf("the next one: %+v, %v", entered, err)
			}
			if g := w.group(); g.State != chat.Valid || g.Members != 1 {
				t.Errorf("the group is %s with %d members, want Valid with 1", g.State, g.Members)
			}
		})
	}
}

func TestChatAwayLeavesTheSessionAssociated(t *testing.T) {
	w := newWorld(t, 5)
	session := w.associate(owner)
	away := w.room
	away.Chat = meddled{w.chat, func(string) error { return chat.ErrUnavailable }}
	_, err := w.desk.Confirm(t.Context(), away, session)
	if e, ok := errors.AsType[*admission.Error](err); !ok || e.Code != admission.ChatUnavailable || !e.Retryable {
		t.Fatalf("%v, want chat-unavailable, retryable", err)
	}
	state, err := w.pod.Get(t.Context(), epoch)
	if err != nil {
		t.Fatal(err)
	}
	if m, _ := state.Session(session); m.Status != room.Associated {
		t.Errorf("the session is %q, want associated", m.Status)
	}
	if _, err := w.desk.Confirm(t.Context(), w.room, session); err != nil {
		t.Errorf("once chat is back: %v", err)
	}
}

func TestAssociationIsUndoneIfTheSessionIsGone(t *testing.T) {
	w := newWorld(t, 5)
	w.enter(owner)
	session := w.associate("key:shop:bob")
	w.room.Chat = meddled{w.chat, func(call string) error {
		if call == "add" {
			w.do(room.Leave{Session: session}) // hangs up while chat is being asked
		}
		return nil
	}}
	if _, err := w.desk.Confirm(t.Context(), w.room, session); !errors.Is(err, &admission.Error{Code: room.UnknownSession}) {
		t.Errorf("%v, want unknown-session", err)
	}
	if w.listed()["key:shop:bob"] {
		t.Error("the group still has who never entered")
	}
}

func TestChatsOwnCapIsComparedFirst(t *testing.T) {
	w := newWorld(t, 5)
	w.enter(owner)
	w.list("key:shop:gone")
	session := w.associate("key:shop:bob")
	w.room.Chat = meddled{w.chat, func(call string) error {
		if call == "add" && w.listed()["key:shop:gone"] {
			return chat.ErrFull
		}
		return nil
	}}
	if _, err := w.desk.Confirm(t.Context(), w.room, session); err != nil {
		t.Error(err)
	}
	w.room.Chat = meddled{w.chat, func(call string) error {
		if call == "add" {
			return chat.ErrFull
		}
		return nil
	}}
	if _, err := w.desk.Confirm(t.Context(), w.room, w.associate("key:shop:eve")); admission.CodeOf(err) != admission.ChatFull {
		t.Errorf("%v, want chat-full", err)
	}
}

func TestFailedAndLeaveGiveThePlaceBack(t *testing.T) {
	for _, test := range []struct {
		name  string
		come  func(*world) string
		end   func(*world, string) error
		there bool // the member stays
	}{
		{"a reservation fails", func(w *world) string { return w.join("key:shop:bob").Session }, failed, false},
		{"an association fails", func(w *world) string { return w.associate("key:shop:bob") }, failed, false},
		{"a member leaves", func(w *world) string { w.enter("key:shop:bob"); return sessionOf(w, "key:shop:bob") }, leave, false},
		{"a reservation leaves", func(w *world) string { return w.join("key:shop:bob").Session }, leave, false},
		{"an unknown session fails", func(*world) string { return "nobody" }, failed, false},
		{"an unknown session leaves", func(*world) string { return "nobody" }, leave, false},
		{"a second session fails", func(w *world) string { w.enter("key:shop:bob"); return w.join("key:shop:bob").Session }, failed, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.enter(owner)
			session := test.come(w)
			for range 2 { // again changes nothing
				if err := test.end(w, session); err != nil {
					t.Fatal(err)
				}
			}
			state, err := w.pod.Get(t.Context(), epoch)
			if err != nil {
				t.Fatal(err)
			}
			if _, there := state.Subject("key:shop:bob"); there != test.there {
				t.Errorf("the pod has the member: %v, want %v", there, test.there)
			}
			if listed := w.listed()["key:shop:bob"]; listed != test.there {
				t.Errorf("the group has the member: %v, want %v", listed, test.there)
			}
		})
	}
}

func failed(w *world, session string) error { return w.desk.Failed(w.t.Context(), w.room, session) }
func leave(w *world, session string) error  { return w.desk.Leave(w.t.Context(), w.room, session) }

func sessionOf(w *world, subject string) string {
	state, err := w.pod.Get(w.t.Context(), epoch)
	if err != nil {
		w.t.Fatal(err)
	}
	m, _ := state.Subject(subject)
	return m.Session
}

func TestWhoLeavesIsOutEvenIfChatIsAway(t *testing.T) {
	w := newWorld(t, 2)
	w.enter(owner)
	w.enter("key:shop:bob")
	w.room.Chat = meddled{w.chat, func(string) error { return chat.ErrUnavailable }}
	if err := leave(w, sessionOf(w, "key:shop:bob")); admission.CodeOf(err) != admission.ChatUnavailable {
		t.Errorf("%v, want chat-unavailable", err)
	}
	w.room.Chat = w.chat
	w.do(room.Renew{Durable: math.MaxUint64}) // the operator knows that he left
	w.join("key:shop:eve")                    // the group's count says full; the lists are compared
	if w.listed()["key:shop:bob"] {
		t.Error("the group still has who left")
	}
}

func TestUnreachablePodUndoesNothing(t *testing.T) {
	w := newWorld(t, 2)
	w.enter(owner)
	session := w.associate("key:shop:bob")
	w.pod.before = func(call string) error {
		if call == "command" {
			return fmt.Errorf("timeout: %w", mediaapi.ErrUnreachable)
		}
		return nil
	}
	if _, err := w.desk.Confirm(t.Context(), w.room, session); admission.CodeOf(err) != admission.MediaUnavailable {
		t.Errorf("%v, want media-unavailable", err)
	}
	if !w.listed()["key:shop:bob"] {
		t.Error("the association was undone although the member may have entered")
	}
}
