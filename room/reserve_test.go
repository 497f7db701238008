package room

import (
	"testing"
	"time"
)

// by is what a link that was made at this moment lets ask for.
func by(link Invite, subject, session string, made time.Time) Reserve {
	return Reserve{Subject: subject, Session: session, InvitedAt: made, Invite: &link}
}

func TestInviteUses(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.Access, s.MaxMembers = InviteOnly, 9 })
	b.enter(ann)
	link := Invite{ID: "l", Uses: 2, Until: t0.Add(time.Hour)}
	b.do(Control, by(link, "bob", "b", t0))
	b.do(Control, by(link, "cyd", "c", t0))
	b.refused(InviteUsed, Control, by(link, "dan", "d", t0))
	b.do(Control, by(link, "bob", "b2", t0)) // the same place
	b.do(Control, Fail{Session: "c"})        // never entered: the use is given back
	b.do(Control, by(link, "dan", "d", t0))
	b.do(Control, Open{Session: "d"})
	b.do(Control, Associate{Session: "d"})
	b.do(Control, Enter{Session: "d"})
	b.do(as("d"), Leave{})
	b.refused(InviteUsed, Control, by(link, "eve", "e", t0)) // dan's is spent
	unlimited := Invite{ID: "m", Until: t0.Add(time.Hour)}
	for _, subject := range []string{"eve", "fay", "gus"} {
		b.do(Control, by(unlimited, subject, subject, t0))
	}
	b.wait(time.Hour)
	if uses := b.View().Invites; len(uses) > 0 {
		t.Fatalf("links that open nothing any more are remembered: %+v", uses)
	}
}

func TestInviteVoid(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.Access = InviteOnly })
	b.enter(ann)
	link := Invite{ID: "l", Until: t0.Add(time.Minute)}
	b.now = t0.Add(time.Second)
	b.do(as(ann), ResetInvites{})
	b.refused(InviteVoid, Control, by(link, "bob", "b", t0))
	b.refused(InviteVoid, Control, by(link, "bob", "b", b.now))
	b.do(Control, by(link, "bob", "b", b.now.Add(time.Second))) // made after the reset
	b.now = link.Until
	b.refused(InviteVoid, Control, by(link, "cyd", "c", b.now))
}

// A link for anybody soon finds its way to who was thrown out: it pardons nobody.
func TestWhatPardonsAKick(t *testing.T) {
	later := t0.Add(time.Minute)
	for _, tc := range []struct {
		what   string
		invite *Invite
		at     time.Time
		want   Code
	}{
		{"nothing", nil, time.Time{}, IsKicked},
		{"an invitation from before", nil, t0, IsKicked},
		{"a link for anybody", &Invite{ID: "l", Until: later.Add(time.Hour)}, later, IsKicked},
		{"a link for the subject", &Invite{ID: "l", Until: later.Add(time.Hour), Named: true}, later, ""},
		{"an invitation for the subject", nil, later, ""},
	} {
		t.Run(tc.what, func(t *testing.T) {
			b := newBench(t)
			b.enter(ann)
			b.enter("bob")
			b.do(as(ann), Kick{Member: b.number("bob")})
			b.now = later
			c := Reserve{Subject: "bob", Session: "b2", InvitedAt: tc.at, Invite: tc.invite}
			if tc.want != "" {
				b.refused(tc.want, Control, c)
				return
			}
			b.do(Control, c)
			b.do(Control, Fail{Session: "b2"})
			b.do(Control, Reserve{Subject: "bob", Session: "b3"}) // for good
		})
	}
}

func TestUnban(t *testing.T) {
	for _, tc := range []struct {
		what string
		give func(bob uint32) Unban
	}{
		{"by subject", func(uint32) Unban { return Unban{Subject: "bob"} }},
		{"by the number that it had", func(bob uint32) Unban { return Unban{Member: bob} }},
	} {
		t.Run(tc.what, func(t *testing.T) {
			b := newBench(t)
			b.enter(ann)
			bob := b.enter("bob")
			b.refused(UnknownMember, as(ann), Unban{Member: bob.ID}) // nothing to lift
			b.do(as(ann), ChatMute{Member: bob.ID, Muted: true})
			b.do(as("bob"), Leave{})
			bob = b.enter("bob") // under another number, which is the one that counts
			b.do(as(ann), Kick{Member: bob.ID, Ban: true})
			b.refused(IsBanned, Control, Reserve{Subject: "bob", Session: "s"})
			b.do(as(ann), tc.give(bob.ID))
			b.do(Control, Reserve{Subject: "bob", Session: "s"})
			if m, _ := b.View().Subject("bob"); !m.ChatMuted {
				t.Error("what else was decided about bob stays")
			}
		})
	}
}

func TestRecordsFollowNamesAndNumbers(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	b.enter("bob")
	b.do(as(ann), ChatMute{Member: b.number("bob"), Muted: true})
	b.do(as("bob"), Leave{})
	bob := b.enter("bob")
	b.do(b.as("bob"), Rename{Name: "Robert"})
	if rec := b.View().Record("bob"); rec.Name != "Robert" || rec.Member != bob.ID {
		t.Fatalf("%+v is remembered of %+v", rec, bob)
	}
}

func TestChatMuteSurvivesRejoin(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	b.enter("bob")
	b.do(as(ann), ChatMute{Member: b.number("bob"), Muted: true})
	b.do(as("bob"), Leave{})
	if bob := b.enter("bob"); !bob.ChatMuted {
		t.Fatal("coming in again lifted the mute")
	}
	b.do(as(ann), ChatMute{Member: b.number("bob")})
	if m, _ := b.View().Subject("bob"); m.ChatMuted || len(b.View().Records) > 0 {
		t.Fatalf("lifted: %+v, %+v", m, b.View().Records)
	}
}

func TestDuplicates(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.Duplicates = Refuse })
	b.enter(ann)
	b.enter("bob")
	b.refused(AlreadyJoined, Control, Reserve{Subject: "bob", Session: "b2"})
	b.refused(AlreadyJoined, Control, Reserve{Subject: "bob", Session: "b2", Resumes: ann})
	b.do(Control, Reserve{Subject: "bob", Session: "b2", Resumes: "bob"}) // the same client
	b.do(Control, Lost{Session: "bob"})
	b.do(Control, Reserve{Subject: "bob", Session: "b3"}) // nobody is connected
	spec := *b.View().Settings.Spec
	spec.Generation, spec.Duplicates = 2, Replace
	b.do(Control, SetSpec{Spec: spec})
	b.do(Control, Reserve{Subject: ann, Session: "a2"})
}

func TestRevokeKeys(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MaxMembers = 9 })
	b.enter(ann)
	enter := func(subject, session, proof, token string) {
		b.do(Control, Reserve{Subject: subject, Session: session, Keys: []string{proof}})
		b.do(Control, Open{Session: session, Key: token})
		b.do(Control, Associate{Session: session})
		b.do(Control, Enter{Session: session})
	}
	enter("bob", "b", "good", "stolen") // each of the two lets it in
	enter("cyd", "c", "stolen", "good")
	enter("dan", "d", "good", "good")
	b.do(Control, Reserve{Subject: "eve", Session: "e", Keys: []string{"good", "stolen"}})
	b.do(Control, Reserve{Subject: "dan", Session: "d2", Keys: []string{"stolen"}})
	b.do(Control, RevokeKeys{Keys: []string{"stolen"}})
	for session, lives := range map[string]bool{ann: true, "b": false, "c": false, "d": true, "d2": false, "e": false} {
		if got := b.Knows(session); got != lives {
			t.Errorf("session %s lives: %t", session, got)
		}
	}
	if _, here := b.View().Subject("eve"); here || !b.onMic("bob") {
		t.Fatal("who had entered keeps its place and microphone, who had not has none")
	}
	before := b.number("bob")
	b.refused(UnknownSession, as("b"), Mute{Muted: true})
	enter("bob", "b2", "good", "good") // for who can prove to be bob
	if m, _ := b.View().Subject("bob"); m.ID != before || m.Status != Entered || !b.onMic("bob") {
		t.Fatalf("bob came back as %+v", m)
	}
	b.wait(AwayTTL)
	if _, here := b.View().Subject("cyd"); here {
		t.Fatal("the place outlived its grace")
	}
}

// Who is on the way in when the room is locked, or links are reset, is judged by the new rule:
// a place could else be kept for ever by asking for it again.
func TestOnTheWayInWhenTheRuleChanges(t *testing.T) {
	link := Invite{ID: "l", Until: t0.Add(time.Hour)}
	for name, c := range map[string]struct {
		command Command
		why     Code
	}{
		"locked":      {Configure{Access: new(Locked)}, RoomLocked},
		"invite only": {Configure{Access: new(InviteOnly)}, InviteRequired},
		"links reset": {ResetInvites{}, InviteVoid},
	} {
		b := newBench(t, func(s *Spec) { s.Moderators, s.MaxMembers = []string{"mod"}, 9 })
		b.enter(ann)
		b.enter("in")
		b.do(Control, by(link, "bob", "b", t0))
		b.do(Control, Open{Session: "b"})
		b.do(Control, Associate{Session: "b"})
		b.do(Control, Reserve{Subject: "mod", Session: "m"})
		events := b.do(as(ann), c.command)
		if last := events[len(events)-1]; last.Type != EventLeft || last.Reason != c.why || last.Member.Subject != "bob" {
			t.Errorf("%s: %+v", name, last)
		}
		b.refused(UnknownSession, Control, Enter{Session: "b"})
		if b.refused(c.why, Control, by(link, "bob", "b2", at(c.command))); !b.Knows("m") || !b.Knows("in") {
			t.Errorf("%s: who may come in whatever the rule, or is in, was turned back", name)
		}
	}
}

// at is when the link was made by which somebody asks after the command: never, where the
// command asks for one.
func at(c Command) time.Time {
	if c, ok := c.(Configure); ok && *c.Access == InviteOnly {
		return time.Time{}
	}
	return t0
}

// A reservation that a network brings twice, the second time after its session has come and
// gone, makes nothing good again that was used.
func TestTheSessionOfAUsedTokenIsReservedNoMore(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MaxMembers = 9 })
	b.enter(ann)
	bob := Reserve{Subject: "bob", Session: "b"}
	b.do(Control, bob)
	b.do(Control, Fail{Session: "b"})
	b.do(Control, bob) // its token was not used
	b.do(Control, Open{Session: "b"})
	b.do(Control, Fail{Session: "b"})
	for range 3 {
		b.refused(BadCommand, Control, bob)
		b.wait(spentFor / 3)
		b.enter(b.now.String()) // time passes, and others come in
	}
	b.refused(BadCommand, Control, bob)
}
