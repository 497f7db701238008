package room

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func (b *bench) host() string {
	for _, m := range b.View().Members {
		if m.Role == Host {
			return m.Subject
		}
	}
	return ""
}

func TestSetRole(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.Moderators, s.MaxMics = []string{"mod"}, 4 })
	for _, subject := range []string{ann, "mod", "bob"} {
		b.enter(subject)
	}
	b.refused(NotAllowed, as("bob"), SetRole{Member: b.number("bob"), Role: CoHost})
	b.refused(NotAllowed, as("mod"), SetRole{Member: b.number("bob"), Role: CoHost}) // the host's to decide
	b.refused(BadCommand, as(ann), SetRole{Member: b.number("bob"), Role: Host})
	b.refused(BadCommand, as(ann), SetRole{Member: b.number(ann), Role: Speaker})
	b.do(as("mod"), SetRole{Member: b.number("bob"), Role: Audience})
	if b.onMic("bob") {
		t.Fatal("the audience is on no microphone")
	}
	b.do(as(ann), SetRole{Member: b.number("bob"), Role: CoHost})
	b.do(as("bob"), Leave{})
	b.enter("bob")
	if b.role("bob") != CoHost {
		t.Fatalf("a co-host came back as %s", b.role("bob"))
	}
	b.do(as(ann), SetRole{Member: b.number("bob"), Role: Speaker})
	b.do(b.as("bob"), Leave{})
	b.enter("bob")
	if b.role("bob") != Speaker {
		t.Fatalf("who is no co-host any more came back as %s", b.role("bob"))
	}
}

func TestTransferHost(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	b.enter("bob")
	b.enter("cyd")
	b.refused(NotAllowed, as("bob"), TransferHost{Member: b.number("bob")})
	b.do(as(ann), TransferHost{Member: b.number("bob")})
	if b.host() != "bob" || b.role(ann) != CoHost {
		t.Fatalf("the host is %q, ann is %s", b.host(), b.role(ann))
	}
	b.refused(NotAllowed, as("bob"), Kick{Member: b.number(ann)}) // the room is hers
	b.refused(NotAllowed, as("bob"), SetRole{Member: b.number(ann), Role: Speaker})
	b.do(as(ann), TransferHost{Member: b.number(ann)})
	if b.host() != ann || b.role("bob") != CoHost {
		t.Fatalf("the owner took the room back: the host is %q, bob is %s", b.host(), b.role("bob"))
	}
	b.do(Control, Lost{Session: "cyd"})
	b.refused(NotEntered, as(ann), TransferHost{Member: b.number("cyd")})

	// The owner may do so whatever the control plane has made of it.
	b.do(Control, TransferHost{Member: b.number("bob")})
	b.do(Control, SetRole{Member: b.number(ann), Role: Speaker})
	b.do(as(ann), TransferHost{Member: b.number(ann)})
}

func TestSuccession(t *testing.T) {
	for _, tc := range []struct {
		what string
		come []string // in this order, a second apart
		want string
	}{
		{"the co-host that has been here longest", []string{"bob", "mod", "mod2"}, "mod"},
		{"else the speaker", []string{"listener", "bob", "cyd"}, "bob"},
		{"nobody of the audience", []string{"listener"}, ""},
	} {
		t.Run(tc.what, func(t *testing.T) {
			b := newBench(t, func(s *Spec) { s.Moderators = []string{"mod", "mod2"} })
			b.enter(ann)
			for _, subject := range tc.come {
				b.wait(time.Second)
				b.enter(subject)
				if subject == "listener" {
					b.do(as(ann), SetRole{Member: b.number(subject), Role: Audience})
				}
			}
			b.do(Control, Lost{Session: ann})
			b.wait(HostGrace - time.Nanosecond)
			if got := b.host(); got != "" {
				t.Fatalf("%s is the host before the grace is over", got)
			}
			b.wait(time.Nanosecond)
			if got := b.host(); got != tc.want {
				t.Fatalf("the host is %q, want %q", got, tc.want)
			}
		})
	}
}

func TestOwnerReclaims(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	b.enter("bob")
	b.do(as(ann), Leave{})
	b.wait(HostGrace)
	b.enter(ann)
	if b.host() != "bob" || b.role(ann) != CoHost {
		t.Fatalf("the owner is back: the host is %q, ann is %s", b.host(), b.role(ann))
	}
	b.do(b.as(ann), TransferHost{Member: b.number(ann)})
	b.do(as("bob"), Leave{})
	b.enter("bob")
	if b.role("bob") != CoHost {
		t.Fatalf("who was the host comes back as %s", b.role("bob"))
	}
}

func TestHostBackInTime(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	b.enter("bob")
	b.do(as(ann), Leave{})
	b.wait(HostGrace - time.Second)
	b.enter(ann)
	b.wait(time.Hour)
	if b.host() != ann || b.View().Settings.HostGone != nil {
		t.Fatalf("the host is %q; gone since %v", b.host(), b.View().Settings.HostGone)
	}
}

// Without a successor nobody becomes the host, and nothing is due; the first who can does.
func TestSuccessorComesLate(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	b.enter("bob")
	b.do(as(ann), SetRole{Member: b.number("bob"), Role: Audience})
	b.do(as(ann), Leave{})
	b.wait(HostGrace)
	if next := b.Next(); b.host() != "" || !next.IsZero() {
		t.Fatalf("the host is %q, and something is due at %v", b.host(), next)
	}
	b.do(Control, GiveMic{Member: b.number("bob"), Index: -1})
	if b.host() != "bob" {
		t.Fatalf("the host is %q", b.host())
	}
}

// However often the host changes, those who come in as co-hosts are as many as may be.
func TestCoHostsOfManyHosts(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MaxMembers = MaxModerators + 9 })
	b.enter(ann)
	for i := range MaxModerators + 2 {
		b.do(as(ann), TransferHost{Member: b.enter(fmt.Sprint("user-", i)).ID})
	}
	if got := len(b.View().Settings.Moderators); got != MaxModerators {
		t.Errorf("%d are listed, want %d", got, MaxModerators)
	}
	last := MaxModerators + 1
	for subject, want := range map[string]Role{ann: CoHost, "user-0": CoHost, fmt.Sprint("user-", last-1): Speaker, fmt.Sprint("user-", last): Host} {
		if got := b.role(subject); got != want {
			t.Errorf("%s is %s, want %s", subject, got, want)
		}
	}
}

// Who was asked to speak and is put into the audience then cannot come up by that any more.
func TestAudienceIsNotAsked(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MicPolicy = OnRequest })
	b.enter(ann)
	bob := b.enter("bob")
	b.do(as(ann), AskToSpeak{Member: bob.ID})
	b.do(as(ann), SetRole{Member: bob.ID, Role: Audience})
	b.refused(NotAsked, as("bob"), AnswerAsk{Accept: true})
	b.do(as(ann), AskToSpeak{Member: bob.ID}) // asking whom it has put there is something else
	b.do(as("bob"), AnswerAsk{Accept: true})
	if !b.onMic("bob") {
		t.Fatal("bob was asked and is not on a microphone")
	}
}

// Who is not listed any more is no co-host; it is not brought up from the audience by that.
func TestModeratorsOfTheSpec(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.Moderators = []string{"mod", "quiet"} })
	b.enter(ann)
	b.enter("mod")
	b.enter("quiet")
	b.enter("bob")
	b.do(as(ann), SetRole{Member: b.number("quiet"), Role: Audience})
	spec := *b.View().Settings.Spec
	spec.Generation, spec.Moderators = 2, []string{"bob"}
	b.do(Control, SetSpec{Spec: spec})
	for subject, want := range map[string]Role{ann: Host, "mod": Speaker, "quiet": Audience, "bob": CoHost} {
		if got := b.role(subject); got != want {
			t.Errorf("%s is %s, want %s", subject, got, want)
		}
	}
	if got := b.View().Settings.Moderators; !slices.Equal(got, []string{"bob"}) {
		t.Errorf("moderators are %v", got)
	}
}
