package room

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSeedHoldsPlaces(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MaxMembers = 2 })
	b.enter("key:t:ann")
	bob := b.enter("bob")
	b.do(as("bob"), Mute{Muted: true})
	next := &bench{T: t, Room: New(b.View().ID, 2, *b.View().Settings.Spec, b.State(), t0), now: t0}
	next.do(Control, Renew{Until: t0.Add(time.Hour)})
	next.refused(Frozen, Control, Reserve{Subject: "cyd", Session: "c"})
	next.do(Control, ReleaseHeld{})
	next.refused(RoomFull, Control, Reserve{Subject: "cyd", Session: "c"})
	next.do(Control, Reserve{Subject: "bob", Session: "b2"})
	next.do(Control, Open{Session: "b2"})
	next.do(Control, Associate{Session: "b2"})
	if m, _ := next.View().Subject("bob"); m.ID != bob.ID || m.Status != Entered {
		t.Fatalf("bob came back as %+v", m)
	}
	if mic, on := next.View().Mic(bob.ID); !on || !mic.Muted {
		t.Fatalf("bob came back on %+v", mic)
	}
	next.now = t0.Add(AwayTTL)
	next.do(Control, Tick{})
	next.refused(Frozen, Control, Reserve{Subject: "cyd", Session: "c"}) // ann never came back, but only this pod knows
	next.durable()
	next.do(Control, Reserve{Subject: "cyd", Session: "c"})
}

// The pod before may live and have members, whether or not anything is known of them.
func TestLaterEpochsWaitForTheEndOfTheOneBefore(t *testing.T) {
	b := newBench(t)
	next := &bench{T: t, Room: New(b.View().ID, 2, *b.View().Settings.Spec, nil, t0), now: t0}
	next.do(Control, Renew{Until: t0.Add(time.Hour)})
	next.refused(Frozen, Control, Reserve{Subject: ann, Session: "a"})
	next.now = t0.Add(Outlived)
	next.do(Control, Reserve{Subject: ann, Session: "a"})
}

// If the pod were lost before anybody else knew of the leaving, the place would still be
// held in the next epoch.
func TestPlaceOfWhoLeftIsGivenAwayOnceThatIsDurable(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MaxMembers = 2 })
	b.enter(ann)
	b.enter("bob")
	b.do(as("bob"), Leave{})
	b.do(Control, Renew{Durable: b.View().Seq - 1})
	b.refused(Frozen, Control, Reserve{Subject: "cyd", Session: "c"})
	b.do(Control, Reserve{Subject: "bob", Session: "b2"}) // it may have its own
	b.do(Control, Fail{Session: "b2"})
	b.refused(Frozen, Control, Reserve{Subject: "cyd", Session: "c"})
	b.durable()
	b.do(Control, Reserve{Subject: "cyd", Session: "c"})
	b.do(Control, Fail{Session: "c"}) // it never entered: nobody holds a place for it
	b.do(Control, Reserve{Subject: "dan", Session: "d"})
}

// Who was thrown out stays out when the pod that knew is gone.
func TestSeedKeepsKicks(t *testing.T) {
	b := newBench(t)
	b.enter("key:t:ann")
	bob := b.enter("bob")
	b.do(Control, Kick{Member: bob.ID})
	for _, generation := range []int64{1, 2} { // with the spec that the old pod had, and a newer one
		spec := *b.View().Settings.Spec
		spec.Generation = generation
		next := &bench{T: t, Room: New(b.View().ID, 2, spec, b.State(), b.now), now: b.now}
		next.do(Control, Renew{Until: b.now.Add(time.Hour)})
		next.do(Control, ReleaseHeld{})
		next.refused(IsKicked, Control, Reserve{Subject: "bob", Session: "b2"})
		next.do(Control, Reserve{Subject: "bob", Session: "b3", InvitedAt: next.now.Add(time.Second)})
		next.do(Control, Reserve{Subject: "bob", Session: "b4"}) // the invitation ended it
		if s := next.State().Public(); s.Records != nil {
			t.Fatalf("the public state shows %v", s.Records)
		}
	}
}

// The newest replica of the old epoch may show it sealed already: by the very call
// that made the new one.
func TestSeedOfASealedRoom(t *testing.T) {
	b := newBench(t)
	b.enter("key:t:ann")
	b.do(Control, Seal{})
	next := &bench{T: t, Room: New(b.View().ID, 2, *b.View().Settings.Spec, b.State(), t0), now: t0}
	next.do(Control, Renew{Until: t0.Add(time.Hour)})
	next.enter("key:t:ann")
	if phase := next.View().Phase; phase != Opened {
		t.Fatalf("the new epoch is %s", phase)
	}

	b = newBench(t)
	b.do(Control, Reserve{Subject: "key:t:ann", Session: "a"})
	b.do(Control, Open{Session: "a"})
	b.do(Control, Associate{Session: "a"})
	if next := New(b.View().ID, 2, *b.View().Settings.Spec, b.State(), t0); next.View().Phase != Prepared {
		t.Fatalf("nobody has entered, and the new epoch is %s", next.View().Phase)
	}
}

func TestSealed(t *testing.T) {
	b := newBench(t)
	b.enter("key:t:ann")
	b.do(Control, Seal{})
	b.refused(Moving, Control, Reserve{Subject: "bob", Session: "s"})
	b.refused(Moving, as("key:t:ann"), Mute{Muted: true})
	b.do(as("key:t:ann"), Leave{})
}

// nextEpoch is the room in another pod that knew all of this one's state.
func (b *bench) nextEpoch() *bench {
	b.Helper()
	next := &bench{T: b.T, Room: New(b.View().ID, b.View().Epoch+1, *b.View().Settings.Spec, b.State(), b.now), now: b.now}
	next.do(Control, Renew{Until: b.now.Add(time.Hour)})
	return next
}

// rejoin brings back a subject whose place is held; its session is the subject.
func (b *bench) rejoin(subject string) {
	b.Helper()
	for _, c := range []Command{Reserve{Subject: subject, Session: subject}, Open{Session: subject}, Associate{Session: subject}} {
		b.do(Control, c)
	}
}

func TestSeedKeepsEverything(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MicPolicy, s.SpeakingSeconds, s.MaxMembers, s.MaxMics = OnRequest, 600, 9, 3 })
	for _, subject := range []string{ann, "bob", "cyd", "dan"} {
		b.enter(subject)
	}
	b.do(as(ann), GiveMic{Member: b.number("bob"), Index: 1})
	b.do(as(ann), MuteMember{Member: b.number("bob"), Muted: true})
	b.do(as(ann), SetPriority{Member: b.number("bob"), Priority: true})
	b.do(as("cyd"), RaiseHand{Raised: true})
	b.do(as(ann), HandPriority{Member: b.number("cyd"), Priority: 3})
	b.do(as(ann), ChatMute{Member: b.number("dan"), Muted: true})
	b.do(as(ann), AskToSpeak{Member: b.number("dan")})
	b.do(as(ann), LockMic{Index: 2, Locked: true})
	b.do(as(ann), Configure{Access: new(Locked), Announcement: new("Hello."), Metadata: &map[string]string{"topic": "tea"}})
	b.do(as(ann), ResetInvites{})
	b.do(as(ann), TransferHost{Member: b.number("cyd")})
	want := b.State()
	next := b.nextEpoch()
	for _, subject := range []string{ann, "bob", "cyd", "dan"} {
		next.rejoin(subject)
	}
	got := next.State()
	got.Epoch, got.Seq = want.Epoch, want.Seq
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("the next epoch, with everybody back, differs:\n%s", d)
	}
}

// Who was about to come in begins again, and with it its use of a link.
func TestSeedGivesUsesBack(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	link := Invite{ID: "l", Uses: 1, Until: t0.Add(time.Hour)}
	b.do(Control, by(link, "bob", "b", t0))
	next := b.nextEpoch()
	next.do(Control, ReleaseHeld{})
	next.do(Control, by(link, "bob", "b2", t0))
	next.refused(InviteUsed, Control, by(link, "cyd", "c", t0))
}

// A number names one member for ever: moderators act on it, and so does the mixing of audio.
func TestSeedNeverReusesNumbersAndGrants(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	bob := b.enter("bob")
	grant := b.mic("bob").Grant
	b.do(as("bob"), Leave{})
	next := b.nextEpoch()
	next.do(Control, ReleaseHeld{})
	if cyd := next.enter("cyd"); cyd.ID <= bob.ID || next.mic("cyd").Grant <= grant {
		t.Fatalf("cyd is member %d with grant %d; bob was %d with %d", cyd.ID, next.mic("cyd").Grant, bob.ID, grant)
	}
}

// Since when the host is gone, or everybody is, is known from the beginning of the epoch.
func TestSeedSettles(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	next := b.nextEpoch()
	if events := next.do(Control, Tick{}); len(events) > 0 || next.View().Settings.HostGone == nil {
		t.Fatalf("the first tick of an epoch: %+v, %+v", events, next.View().Settings)
	}
	b.do(Control, Reserve{Subject: "bob", Session: "b"})
	b.do(as(ann), Leave{})
	next = b.nextEpoch()
	if s := next.View(); s.EmptySince == nil || len(s.Members) > 0 {
		t.Fatalf("only a reservation was left, and it ended: %+v", s)
	}
}

// A replica from elsewhere may list a member whom the newer list of bans has.
func TestSeedOfWhoIsOut(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	b.enter("bob")
	seed := b.State()
	seed.Records = []Record{{Subject: "bob", Banned: true}}
	next := New(seed.ID, 2, *seed.Settings.Spec, seed, t0)
	if _, in := next.View().Subject("bob"); in || len(next.View().Mics) != 1 {
		t.Fatalf("banned, and yet its place is held: %+v", next.View())
	}
}

func TestSeedOfAClosedRoom(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	b.do(as(ann), Close{Message: "Good night."})
	s := New(b.View().ID, 2, *b.View().Settings.Spec, b.State(), t0).View()
	if s.Phase != Closed || s.CloseReason != "ClosedByModerator" || s.CloseMessage != "Good night." {
		t.Fatalf("closed once, closed for ever: %+v", s)
	}
}

// A seed made of a list of members does not know since when they are here.
func TestSeedOfAListOfMembers(t *testing.T) {
	seed := &State{Epoch: 1, Phase: Opened, ActivatedAt: &t0}
	for i, subject := range []string{ann, "bob", "cyd"} {
		seed.Members = append(seed.Members, Member{ID: uint32(i + 1), Subject: subject, Role: Speaker, Status: Entered})
	}
	b := newBench(t)
	b.Room = New(ID{}, 2, *b.View().Settings.Spec, seed, t0)
	b.rejoin("bob")
	b.rejoin("cyd")
	b.wait(HostGrace)
	if b.host() != "bob" {
		t.Fatalf("the host is %q", b.host())
	}
}

// A pod of an earlier version keeps of an intent what it knows. The next pod follows the rest, and
// undoes nothing of what moderators changed.
func TestSeedOfAnEarlierVersion(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	b.do(as(ann), Configure{Announcement: new("Tea at five.")})
	seed := b.State()
	spec := *seed.Settings.Spec
	spec.Audience = Mix
	s := New(seed.ID, 2, spec, seed, t0).View().Settings
	if s.Audience != Mix || s.Spec.Audience != Mix || s.Announcement != "Tea at five." {
		t.Fatalf("settings are %+v", s)
	}
}

// What is remembered of a subject may be newer than the list of members and microphones.
func TestSeedWithNewerRecords(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	b.enter("bob")
	seed := b.State()
	seed.Records = []Record{{Subject: "bob", Muted: true, ChatMuted: true}}
	next := &bench{T: t, Room: New(seed.ID, 2, *seed.Settings.Spec, seed, t0), now: t0}
	if m, _ := next.View().Subject("bob"); !m.ChatMuted || !next.mic("bob").ModMuted || next.mic(ann).ModMuted {
		t.Fatalf("bob is %+v on %+v", m, next.mic("bob"))
	}
}
