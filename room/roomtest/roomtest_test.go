package roomtest_test

import (
	"testing"
	"time"

	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/room/roomtest"
)

var t0 = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// full is a room with two members, both on microphones, and a third who waits.
func full(t *testing.T) *room.Room {
	t.Helper()
	r := room.New(room.ID{UID: "u"}, 1, room.Spec{Generation: 1, Owner: "subject:ann", MaxMembers: 3, MaxMics: 2, MicPolicy: room.Auto}, nil, t0)
	give(t, r, room.Renew{Until: t0.Add(time.Hour)})
	for _, subject := range []string{"subject:ann", "subject:bob", "subject:cyd"} {
		for _, c := range []room.Command{room.Reserve{Subject: subject, Session: subject}, room.Open{Session: subject}, room.Associate{Session: subject}, room.Enter{Session: subject}} {
			give(t, r, c)
		}
	}
	return r
}

func give(t *testing.T, r *room.Room, c room.Command) []room.Event {
	t.Helper()
	events, err := r.Do(t0, room.Control, c)
	if err != nil {
		t.Fatalf("%T: %v", c, err)
	}
	return events
}

// Each invariant is broken by a state that breaks it, and by no real one.
func TestStateFindsWhatIsBroken(t *testing.T) {
	good := full(t).State()
	if err := roomtest.State(good); err != nil {
		t.Fatal(err)
	}
	for what, breaks := range map[string]func(s *room.State){
		"a subject twice":           func(s *room.State) { s.Members[1].Subject = s.Members[0].Subject },
		"a session twice":           func(s *room.State) { s.Members[1].Session = s.Members[0].Session },
		"members out of order":      func(s *room.State) { s.Members[0], s.Members[1] = s.Members[1], s.Members[0] },
		"two microphones":           func(s *room.State) { s.Mics[1].Member = s.Mics[0].Member },
		"a microphone of nobody":    func(s *room.State) { s.Mics[1].Member = 99 },
		"a grant twice":             func(s *room.State) { s.Mics[1].Grant = s.Mics[0].Grant },
		"the audience speaks":       func(s *room.State) { s.Members[1].Role = room.Audience },
		"a locked index is held":    func(s *room.State) { s.Settings.LockedMics = []int{0} },
		"two hosts":                 func(s *room.State) { s.Members[1].Role = room.Host },
		"a host by another name":    func(s *room.State) { s.Settings.Host = "subject:bob" },
		"a forgotten mute":          func(s *room.State) { s.Records = []room.Record{{Subject: "subject:bob", Muted: true}} },
		"a speaker waits":           func(s *room.State) { s.Members[0].Hand = &room.Hand{At: t0, Until: t0.Add(room.HandTTL)} },
		"a place without an end":    func(s *room.State) { s.Members[2].Status = room.Away },
		"an outcast":                func(s *room.State) { s.Records = []room.Record{{Subject: "subject:cyd", Kicked: &t0}} },
		"a record of nothing":       func(s *room.State) { s.Records = []room.Record{{Subject: "subject:dan"}} },
		"a link with lost uses":     func(s *room.State) { s.Invites = []room.InviteUse{{ID: "l"}} },
		"in before it is activated": func(s *room.State) { s.ActivatedAt = nil },
		"empty with members":        func(s *room.State) { s.EmptySince = &t0 },
		"closed with members":       func(s *room.State) { s.Phase = room.Closed },
	} {
		broken := good.Clone()
		breaks(broken)
		if err := roomtest.State(broken); err == nil {
			t.Errorf("%s: not found", what)
		}
	}
}

func TestStepFindsWhatIsBroken(t *testing.T) {
	r := full(t)
	before := r.State()
	events := give(t, r, room.SwapMics{A: 0, B: 1})
	after := r.State()
	if err := roomtest.Check(before, after, events); err != nil {
		t.Fatal(err)
	}
	for what, breaks := range map[string]func(s *room.State, events []room.Event) []room.Event{
		"a missing event":       func(_ *room.State, e []room.Event) []room.Event { return e[1:] },
		"a version twice":       func(_ *room.State, e []room.Event) []room.Event { e[1].Seq--; return e },
		"a change of no event":  func(s *room.State, e []room.Event) []room.Event { s.Members[0].Name = "Eve"; return e },
		"an old grant":          func(s *room.State, e []room.Event) []room.Event { s.Mics[0].Grant = 1; return e },
		"another's number":      func(s *room.State, e []room.Event) []room.Event { s.Members[2].Subject = "subject:dan"; return e },
		"the latch turned back": func(s *room.State, e []room.Event) []room.Event { s.ActivatedAt = nil; return e },
		"more than may be": func(s *room.State, e []room.Event) []room.Event {
			s.Members = append(s.Members, room.Member{ID: 4, Subject: "subject:dan"})
			return e
		},
	} {
		broken := after.Clone()
		if err := roomtest.Check(before, broken, breaks(broken, append([]room.Event(nil), events...))); err == nil {
			t.Errorf("%s: not found", what)
		}
	}
}

func TestHistoryFindsWhatIsGivenTwice(t *testing.T) {
	r := full(t)
	h := roomtest.Begin(r.State())
	events := give(t, r, room.Leave{Session: "subject:cyd"})
	if err := h.Step(r.State(), events); err != nil {
		t.Fatal(err)
	}
	after := r.State() // as it would be if the next one got the number of who left
	until := t0.Add(room.ReservationTTL)
	e := room.Event{Epoch: 1, Seq: after.Seq + 1, Type: room.EventMember, Member: &room.Member{ID: 3, Subject: "subject:dan", Session: "s", Role: room.Speaker, Status: room.Reserved, Deadline: &until}}
	after.Apply(e)
	if err := h.Step(after, []room.Event{e}); err == nil {
		t.Error("a number given twice: not found")
	}
}

func TestHiddenFindsWhatIsShown(t *testing.T) {
	s := full(t).State()
	if err := roomtest.Hidden(s, nil); err != nil {
		t.Fatal(err)
	}
	s.Settings.Announcement = "Ask subject:bob."
	if err := roomtest.Hidden(s, nil); err == nil {
		t.Error("a subject in the announcement: not found")
	}
}

func TestTimelyFindsWhatIsOver(t *testing.T) {
	r := full(t)
	give(t, r, room.Lost{Session: "subject:bob"})
	for after, timely := range map[time.Duration]bool{room.AwayTTL - 1: true, room.AwayTTL: false} {
		if err := roomtest.Timely(r.View(), t0.Add(after)); (err == nil) != timely {
			t.Errorf("%v after the connection was lost: %v", after, err)
		}
	}
}
