package room

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var t0 = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// bench is a room with a clock, for tests.
type bench struct {
	*testing.T
	*Room
	now time.Time
}

func newBench(t *testing.T, change ...func(*Spec)) *bench {
	t.Helper()
	spec := Spec{Generation: 1, Owner: "key:t:ann", MaxMembers: 4, MaxMics: 2, Access: Public, MicPolicy: Auto}
	for _, c := range change {
		c(&spec)
	}
	b := &bench{T: t, Room: New(ID{UID: "u", Namespace: "n", Name: "r", GroupID: "g"}, 1, spec, nil, t0), now: t0}
	b.do(Control, Renew{Until: t0.Add(time.Hour)})
	return b
}

func (b *bench) do(by Actor, c Command) []Event {
	b.Helper()
	events, err := b.Do(b.now, by, c)
	if err != nil {
		b.Fatalf("%T%+v: %v", c, c, err)
	}
	return events
}

func (b *bench) refused(code Code, by Actor, c Command) {
	b.Helper()
	before := b.State()
	events, err := b.Do(b.now, by, c)
	if !errors.Is(err, &Error{Code: code}) {
		b.Fatalf("%T%+v: got %v, want %s", c, c, err, code)
	}
	if len(events) > 0 {
		b.Fatalf("%T%+v was refused with events %v", c, c, events)
	}
	if d := cmp.Diff(before, b.State()); d != "" {
		b.Fatalf("%T%+v was refused and changed the room:\n%s", c, c, d)
	}
}

// enter brings a subject in through every step; its first session is the subject.
func (b *bench) enter(subject string) Member {
	b.Helper()
	session := subject
	for b.spent.has(session) {
		session += "+"
	}
	b.do(Control, Reserve{Subject: subject, Session: session, Name: subject})
	b.do(Control, Open{Session: session})
	b.do(Control, Associate{Session: session})
	b.do(Control, Enter{Session: session})
	m, _ := b.View().Session(session)
	return m
}

// as is a subject with the session that it has now.
func (b *bench) as(subject string) Actor {
	m, _ := b.View().Subject(subject)
	return as(m.Session)
}

// durable says that what happened so far outlives the pod.
func (b *bench) durable() {
	b.Helper()
	b.do(Control, Renew{Durable: b.View().Seq})
}

func (b *bench) onMic(subject string) bool {
	m, ok := b.View().Subject(subject)
	_, on := b.View().Mic(m.ID)
	return ok && on
}

func as(session string) Actor { return Actor{Session: session} }

func TestFlow(t *testing.T) {
	b := newBench(t)
	b.refused(NotOpenYet, Control, Reserve{Subject: "bob", Session: "s"})
	b.do(Control, Reserve{Subject: "key:t:ann", Session: "a"})
	b.refused(NotAssociated, Control, Enter{Session: "a"})
	b.do(Control, Open{Session: "a"})
	b.refused(TokenReplayed, Control, Open{Session: "a"})
	if p := b.View().Phase; p != Prepared {
		t.Fatalf("phase %s before the owner associated", p)
	}
	b.do(Control, Associate{Session: "a"})
	b.refused(NotOpenYet, Control, Reserve{Subject: "bob", Session: "s"})
	b.refused(NotEntered, as("a"), TakeMic{Index: -1})
	b.do(Control, Enter{Session: "a"})
	if s := b.View(); s.Phase != Opened || s.ActivatedAt == nil || len(s.Mics) != 1 || s.Members[0].Role != Host {
		t.Fatalf("after the owner entered: %+v", s)
	}
	if events := b.do(Control, Enter{Session: "a"}); len(events) != 0 {
		t.Fatalf("Enter again: %v", events)
	}
	b.enter("bob")
	b.enter("cyd")
	if !b.onMic("bob") || b.onMic("cyd") {
		t.Fatal("the second member gets the last microphone, the third none")
	}
	b.do(as("bob"), LeaveMic{})
	b.do(as("cyd"), TakeMic{Index: -1})
	b.refused(MicUnavailable, as("bob"), TakeMic{Index: -1})
}

// What a command does is told in steps, none of which the room was ever in.
func TestEventsOfACommandBelongTogether(t *testing.T) {
	b := newBench(t)
	for _, c := range []Command{Reserve{Subject: ann, Session: ann}, Open{Session: ann}, Associate{Session: ann}} {
		b.do(Control, c)
	}
	events := b.do(Control, Enter{Session: ann})
	for i, e := range events {
		if last := i == len(events)-1; e.More == last || len(events) < 3 {
			t.Fatalf("event %d of %d: more %t", i, len(events), e.More)
		}
	}
}

func TestOwnerFailsBeforeActivation(t *testing.T) {
	b := newBench(t)
	b.do(Control, Reserve{Subject: "key:t:ann", Session: "a"})
	b.do(Control, Open{Session: "a"})
	b.do(Control, Associate{Session: "a"})
	b.do(Control, Fail{Session: "a"})
	if s := b.View(); s.Phase != Prepared || len(s.Members) != 0 || s.ActivatedAt != nil {
		t.Fatalf("a failed association left %+v", s)
	}
	b.enter("key:t:ann")
}

func TestLastPlace(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MaxMembers = 2 })
	b.enter("key:t:ann")
	b.do(Control, Reserve{Subject: "bob", Session: "1"})
	b.refused(RoomFull, Control, Reserve{Subject: "cyd", Session: "2"})
	b.do(Control, Reserve{Subject: "bob", Session: "3"}) // the same place
	b.refused(UnknownSession, Control, Open{Session: "1"})
	b.now = b.now.Add(ReservationTTL)
	if got, want := b.Next(), b.now; !got.Equal(want) {
		t.Fatalf("Next() = %v, want %v", got, want)
	}
	b.do(Control, Tick{})
	b.enter("cyd")
}

func TestAccess(t *testing.T) {
	for _, tc := range []struct {
		name   string
		access Access
		ask    Reserve
		want   Code
	}{
		{"public", Public, Reserve{Subject: "bob"}, ""},
		{"invite only, not invited", InviteOnly, Reserve{Subject: "bob"}, InviteRequired},
		{"invite only, invited", InviteOnly, Reserve{Subject: "bob", InvitedAt: t0}, ""},
		{"invite only, moderator", InviteOnly, Reserve{Subject: "mod"}, ""},
		{"locked, invited", Locked, Reserve{Subject: "bob", InvitedAt: t0}, RoomLocked},
		{"locked, moderator", Locked, Reserve{Subject: "mod"}, ""},
		{"banned", Public, Reserve{Subject: "eve"}, IsBanned},
		{"no subject", Public, Reserve{}, BadCommand},
		{"control characters", Public, Reserve{Subject: "bob", Name: "b\nob"}, BadCommand},
		{"turned text", Public, Reserve{Subject: "bob", Name: "\u202ebob"}, BadCommand},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, func(s *Spec) { s.Access, s.Moderators, s.Banned = tc.access, []string{"mod"}, []string{"eve"} })
			b.enter("key:t:ann")
			tc.ask.Session = "s"
			if tc.want != "" {
				b.refused(tc.want, Control, tc.ask)
				return
			}
			b.do(Control, tc.ask)
		})
	}
}

func TestGuestsFromOneAddressCannotFillTheRoom(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MaxMembers = 100 })
	b.enter("key:t:ann")
	for i := range GuestPlaces {
		b.do(Control, Reserve{Subject: fmt.Sprint("guest:", i), Session: fmt.Sprint(i), Guest: true, Origin: "192.0.2.1"})
	}
	b.refused(TooMany, Control, Reserve{Subject: "guest:x", Session: "x", Guest: true, Origin: "192.0.2.1"})
	b.do(Control, Reserve{Subject: "guest:y", Session: "y", Guest: true, Origin: "192.0.2.2"})
	b.now = b.now.Add(GuestTTL)
	b.do(Control, Tick{})
	if n := len(b.View().Members); n != 1 {
		t.Fatalf("%d members after the reservations ran out, want 1", n)
	}
}

func TestRoles(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.Moderators = []string{"mod"} })
	for _, tc := range []struct {
		subject     string
		asked, want Role
	}{
		{"key:t:ann", "", Host}, {"mod", "", CoHost}, {"mod", Audience, Audience}, {"bob", Host, Speaker}, {"bob", CoHost, Speaker}, {"bob", Audience, Audience},
	} {
		if got := b.roleOf(tc.subject, tc.asked); got != tc.want {
			t.Errorf("%s asks for %q: got %s, want %s", tc.subject, tc.asked, got, tc.want)
		}
	}
}

func TestLeaseFreezesStrangersOnly(t *testing.T) {
	b := newBench(t)
	b.enter("key:t:ann")
	b.enter("bob")
	b.now = t0.Add(2 * time.Hour)
	b.refused(Frozen, Control, Reserve{Subject: "cyd", Session: "c"})
	b.do(Control, Reserve{Subject: "bob", Session: "b2"})
	b.do(Control, Renew{Until: b.now.Add(time.Hour)})
	b.do(Control, Reserve{Subject: "cyd", Session: "c"})
}

func TestRejoinTakesOver(t *testing.T) {
	b := newBench(t)
	b.enter("key:t:ann")
	bob := b.enter("bob")
	b.do(Control, Reserve{Subject: "bob", Session: "b2"})
	b.do(Control, Open{Session: "b2"})
	b.refused(TokenReplayed, Control, Open{Session: "b2"})
	if !b.Knows("bob") || !b.Knows("b2") {
		t.Fatal("both sessions live until the new one is associated")
	}
	b.do(Control, Associate{Session: "b2"})
	m, _ := b.View().Subject("bob")
	if m.ID != bob.ID || m.Session != "b2" || m.Status != Entered || !b.onMic("bob") || b.Knows("bob") {
		t.Fatalf("after taking over: %+v", m)
	}
	b.refused(UnknownSession, as("bob"), LeaveMic{})
	b.refused(UnknownSession, Control, Lost{Session: "bob"})
}

func TestAwayKeepsTheMic(t *testing.T) {
	b := newBench(t)
	b.enter("key:t:ann")
	b.enter("bob")
	b.do(Control, Lost{Session: "bob"})
	if m, _ := b.View().Subject("bob"); m.Status != Away || !b.onMic("bob") {
		t.Fatalf("lost: %+v", m)
	}
	b.now = b.now.Add(AwayTTL)
	b.do(Control, Tick{})
	if _, ok := b.View().Subject("bob"); ok || b.onMic("bob") || b.Knows("bob") {
		t.Fatal("the place outlived its grace")
	}
}

func TestModeration(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.Moderators, s.MaxMembers, s.MaxMics = []string{"mod", "mod2"}, 10, 4 })
	ann := b.enter("key:t:ann")
	mod2 := b.enter("mod2")
	b.enter("mod")
	bob := b.enter("bob")
	b.refused(NotAllowed, as("bob"), Kick{Member: ann.ID})
	b.refused(NotAllowed, as("mod"), Kick{Member: ann.ID})
	b.refused(NotAllowed, as("mod"), PullMic{Member: mod2.ID})
	b.refused(NotAllowed, as("bob"), Enter{Session: "bob"})
	b.refused(NotAllowed, as("bob"), Fail{Session: "mod"})
	b.refused(NotAllowed, as("bob"), Leave{Session: "mod"})
	b.refused(NotAllowed, as("mod"), Close{})
	b.refused(UnknownMember, as("mod"), Kick{Member: 99})

	b.do(as("mod"), MuteMember{Member: bob.ID, Muted: true})
	b.refused(MutedByModerator, as("bob"), Mute{Muted: false})
	if mic, _ := b.View().Mic(bob.ID); mic.Live() {
		t.Fatal("own unmute lifted a moderator's mute")
	}
	b.do(as("mod"), Kick{Member: bob.ID})
	b.refused(UnknownSession, as("bob"), TakeMic{Index: -1})
	b.refused(IsKicked, Control, Reserve{Subject: "bob", Session: "again"})
	b.do(Control, Reserve{Subject: "bob", Session: "again", InvitedAt: b.now.Add(time.Second)})
	bob, _ = b.View().Subject("bob")
	b.do(as("mod"), Kick{Member: bob.ID, Ban: true})
	b.refused(IsBanned, Control, Reserve{Subject: "bob", Session: "third", InvitedAt: b.now.Add(time.Hour)})
	b.do(as("mod"), Unban{Subject: "bob"})
	b.do(Control, Reserve{Subject: "bob", Session: "fourth"})
	b.do(as("key:t:ann"), Close{})
	b.refused(RoomClosed, Control, Reserve{Subject: "cyd", Session: "s"})
}

func TestHandsAndPolicies(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MicPolicy = OnRequest })
	b.enter("key:t:ann")
	if !b.onMic("key:t:ann") {
		t.Fatal("the first microphone is given whatever the policy")
	}
	bob := b.enter("bob")
	b.refused(MicNotAllowed, as("bob"), TakeMic{Index: -1})
	b.do(as("bob"), RaiseHand{Raised: true})
	b.do(as("key:t:ann"), GiveMic{Member: bob.ID, Index: -1})
	if m, _ := b.View().Subject("bob"); !b.onMic("bob") || m.Hand != nil {
		t.Fatal("accepting a hand gives the microphone and lowers the hand")
	}
	b.do(as("key:t:ann"), PullMic{Member: bob.ID})
	if b.onMic("bob") {
		t.Fatal("still on the microphone after it was pulled")
	}
	b.do(Control, SetSpec{Spec: Spec{Generation: 2, Owner: "key:t:ann", MaxMembers: 4, MaxMics: 2, Access: Public, MicPolicy: Appointed}})
	b.refused(HandsRefused, as("bob"), RaiseHand{Raised: true})
}

func TestMoveBetweenMics(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MaxMics = 3 })
	ann := b.enter("key:t:ann")
	b.enter("bob")
	before, _ := b.View().Mic(ann.ID)
	b.do(as("key:t:ann"), Mute{Muted: true})
	b.refused(MicTaken, as("key:t:ann"), TakeMic{Index: 1})
	b.refused(MicUnavailable, as("key:t:ann"), TakeMic{Index: 3})
	b.refused(MicUnavailable, as("key:t:ann"), TakeMic{Index: -2})
	b.do(as("key:t:ann"), TakeMic{Index: 2})
	after, _ := b.View().Mic(ann.ID)
	if after.Index != 2 || !after.Muted || after.Grant <= before.Grant {
		t.Fatalf("moved from %+v to %+v", before, after)
	}
}

func TestSpecIsACommand(t *testing.T) {
	spec := Spec{Generation: 1, Owner: "key:t:ann", MaxMembers: 4, MaxMics: 2, Access: Public, MicPolicy: Auto}
	b := newBench(t)
	b.enter("key:t:ann")
	b.enter("bob")
	b.do(as("key:t:ann"), Configure{Access: new(Locked)})
	spec.Generation, spec.MaxMembers, spec.MaxMics = 2, 1, 1
	b.do(Control, SetSpec{Spec: spec})
	if s := b.View(); s.Settings.Access != Locked || len(s.Members) != 2 || len(s.Mics) != 2 {
		t.Fatalf("an edit of the caps changed more than the caps: %+v", s)
	}
	b.refused(StaleSpec, Control, SetSpec{Spec: Spec{Generation: 1}})
	b.do(as("key:t:ann"), LeaveMic{})
	b.refused(MicUnavailable, as("key:t:ann"), TakeMic{Index: -1}) // one exists, one may
	spec.Generation, spec.Banned = 3, []string{"bob"}
	b.do(Control, SetSpec{Spec: spec})
	if _, in := b.View().Subject("bob"); in {
		t.Fatal("a subject banned by the spec is still in the room")
	}
	b.refused(IsBanned, Control, Reserve{Subject: "bob", Session: "s"})
}

// A late word of a failure does not end the grace of who has entered and lost the connection.
func TestFailAfterEnter(t *testing.T) {
	b := newBench(t)
	b.enter("key:t:ann")
	b.refused(BadCommand, Control, Fail{Session: "key:t:ann"})
	b.do(Control, Lost{Session: "key:t:ann"})
	b.refused(BadCommand, Control, Fail{Session: "key:t:ann"})
	b.refused(BadCommand, Control, Lost{Session: "key:t:ann"})
}

func TestPublicHidesSubjects(t *testing.T) {
	b := newBench(t)
	b.enter("key:t:ann")
	events := b.do(Control, Reserve{Subject: "bob", Session: "s"})
	p := b.State().Public()
	if len(p.Members) != 1 || p.Members[0].Subject != "" || p.Members[0].Session != "" || p.Settings.Owner != "" {
		t.Fatalf("public state: %+v", p)
	}
	if e := events[0].Public(); e.Member != nil || e.Seq != events[0].Seq {
		t.Fatalf("public event: %+v", e)
	}
}

// TestSeedKeepsWhatModeratorsChanged: an edit of the spec while no pod held the room
// is applied to the fields that it changed, and to no others.
func TestSeedKeepsWhatModeratorsChanged(t *testing.T) {
	b := newBench(t)
	b.enter("key:t:ann")
	bob := b.enter("bob")
	b.do(as("key:t:ann"), Configure{Access: new(Locked)})
	spec := *b.View().Settings.Spec
	spec.Generation, spec.MaxMics, spec.Banned = 2, 7, []string{"bob"}
	next := New(b.View().ID, 2, spec, b.State(), t0).State()
	if next.Settings.Access != Locked || next.Settings.MaxMics != 7 || next.Settings.Generation != 2 || next.Seq != 0 {
		t.Fatalf("the next epoch begins with %+v", next)
	}
	if _, in := next.Member(bob.ID); in {
		t.Fatal("a subject that the new spec bans holds a place")
	}
}
