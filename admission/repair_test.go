package admission_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/room"
)

func TestRepair(t *testing.T) {
	w := newWorld(t, 10)
	w.enter(owner)
	w.enter("key:shop:lost")
	w.enter("key:shop:away")
	w.do(room.Lost{Session: sessionOf(w, "key:shop:away")})
	for _, s := range []string{"key:shop:lost", "key:shop:away"} { // chat lost them
		if err := w.chat.RemoveMember(t.Context(), w.room.ID.GroupID, s); err != nil {
			t.Fatal(err)
		}
	}
	w.list("key:shop:gone") // and kept one who left
	w.join("key:shop:reserved")
	w.associate("key:shop:associated") // Confirm's to add
	if err := w.desk.Repair(t.Context(), w.room, nil); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{owner: true, "key:shop:lost": true, "key:shop:away": true}
	if diff := cmp.Diff(want, w.listed()); diff != "" {
		t.Errorf("the group's members (-want +got):\n%s", diff)
	}
}

// Somebody who left comes back while being removed.
func TestRepairDoesNotRemoveWhoComesBack(t *testing.T) {
	w := newWorld(t, 10)
	w.enter(owner)
	w.list("key:shop:bob")
	came := false
	meddling := w.room
	meddling.Chat = meddled{w.chat, func(call string) error {
		if call == "remove" && !came {
			came = true
			w.enter("key:shop:bob") // at the last moment
		}
		return nil
	}}
	if err := w.desk.Repair(t.Context(), meddling, nil); err != nil {
		t.Fatal(err)
	}
	if !came || !w.listed()["key:shop:bob"] {
		t.Errorf("came back: %v, in the group: %v", came, w.listed()["key:shop:bob"])
	}
}

func TestRepairByTheLastStateOfAPodThatIsGone(t *testing.T) {
	w := newWorld(t, 10)
	w.enter(owner)
	w.list("key:shop:gone")
	w.room.Pod = nil
	if err := w.desk.Repair(t.Context(), w.room, &room.State{ID: w.room.ID}); err != nil {
		t.Fatal(err)
	}
	if listed := w.listed(); len(listed) != 0 {
		t.Errorf("the group still lists %v", listed)
	}
}
