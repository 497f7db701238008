package room

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConfigureChecks(t *testing.T) {
	many := map[string]string{}
	for i := range MaxMetadata + 1 {
		many[strings.Repeat("k", i+1)] = ""
	}
	for name, c := range map[string]Configure{
		"access":           {Access: new(Access("Secret"))},
		"policy":           {MicPolicy: new(MicPolicy("Free"))},
		"negative turn":    {SpeakingSeconds: new(-1)},
		"endless turn":     {SpeakingSeconds: new(MaxSpeakingSeconds + 1)},
		"turned name":      {DisplayName: new("\u202eroom")},
		"long name":        {DisplayName: new(strings.Repeat("x", MaxName+1))},
		"long text":        {Announcement: new(strings.Repeat("x", MaxAnnouncement+1))},
		"bell":             {Announcement: new("\a")},
		"no key":           {Metadata: &map[string]string{"": "x"}},
		"long key":         {Metadata: &map[string]string{strings.Repeat("x", MaxMetadataKey+1): ""}},
		"long value":       {Metadata: &map[string]string{"x": strings.Repeat("x", MaxMetadataValue+1)}},
		"too many entries": {Metadata: &many},
	} {
		b := newBench(t)
		_, err := b.Do(b.now, Control, c)
		if !errors.Is(err, &Error{Code: BadCommand}) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConfigure(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.Moderators = []string{"mod"} })
	b.enter(ann)
	b.enter("mod")
	b.enter("bob")
	b.refused(NotAllowed, as("bob"), Configure{Access: new(Locked)})
	b.do(as("mod"), Configure{Announcement: new("Tea at five.\nBring cake."), Metadata: &map[string]string{"topic": "tea"}})
	b.do(as(ann), Configure{Access: new(InviteOnly)})
	want := b.View().Settings
	if want.Announcement == "" || want.Metadata["topic"] != "tea" || want.Access != InviteOnly {
		t.Fatalf("settings are %+v", want)
	}
	if events := b.do(as(ann), Configure{Access: new(InviteOnly)}); len(events) > 0 {
		t.Fatalf("what is so already is no change: %+v", events)
	}
	b.do(as(ann), Configure{Metadata: &map[string]string{}})
	if d := cmp.Diff(map[string]string{}, b.View().Settings.Metadata); d != "" {
		t.Fatal(d)
	}
}

// Nobody is thrown out when a cap is lowered, and nobody comes in until there is room again.
func TestLoweredCaps(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.MaxMembers, s.MaxMics = 4, 3 })
	for _, subject := range []string{ann, "bob", "cyd"} {
		b.enter(subject)
	}
	spec := *b.View().Settings.Spec
	spec.Generation, spec.MaxMembers, spec.MaxMics = 2, 2, 1
	b.do(Control, SetSpec{Spec: spec})
	if s := b.View(); len(s.Members) != 3 || len(s.Mics) != 3 {
		t.Fatalf("%d members, %d microphones", len(s.Members), len(s.Mics))
	}
	b.do(as("bob"), Leave{})
	b.refused(RoomFull, Control, Reserve{Subject: "dan", Session: "d"}) // two of two
	b.do(as(ann), LeaveMic{})
	b.refused(MicUnavailable, as(ann), TakeMic{Index: 0}) // one of one
	b.do(as("cyd"), TakeMic{Index: 0})                    // it may move to where one may be
	b.do(as("cyd"), Leave{})
	b.durable()
	b.do(Control, Reserve{Subject: "dan", Session: "d"})
	b.do(as(ann), TakeMic{Index: 0})
}

// Whether the audience hears a mix follows the spec alone, while the room goes on.
func TestAudienceMode(t *testing.T) {
	b := newBench(t)
	b.enter(ann)
	spec := *b.View().Settings.Spec
	for _, mode := range []AudienceMode{Mix, Mix, Forward} {
		spec.Generation++
		spec.Audience = mode
		events := b.do(Control, SetSpec{Spec: spec})
		if got := b.View().Settings.Audience; got != mode || len(events) != 1 || events[0].Settings.Audience != mode {
			t.Fatalf("the audience is on %q, not %q, after %+v", got, mode, events)
		}
	}
	spec.Audience = Mix // of the generation that there is
	if events := b.do(Control, SetSpec{Spec: spec}); len(events) > 0 {
		t.Fatalf("it happened: %+v", events)
	}
}

func TestCloseWithAMessage(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.Moderators = []string{"mod"} })
	b.enter(ann)
	b.enter("mod")
	b.refused(NotAllowed, as("mod"), Close{})
	b.refused(BadCommand, as(ann), Close{Message: "\x00"})
	b.do(as(ann), Close{Reason: "Mine", Message: "See you tomorrow."})
	s := b.View()
	if s.Phase != Closed || s.CloseReason != "ClosedByModerator" || s.CloseMessage != "See you tomorrow." {
		t.Fatalf("closed: %+v", s)
	}
	if b.Knows(ann) || len(s.Members) > 0 || !b.Next().IsZero() {
		t.Fatalf("somebody or something is left: %+v, next %v", s, b.Next())
	}
	b.refused(RoomClosed, Control, Tick{})
}
