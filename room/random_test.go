package room

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// randomCommand draws a command that is likely to mean something.
func randomCommand(rng *rand.Rand) (Actor, Command) {
	session := func() string { return fmt.Sprint("s", rng.IntN(12)) }
	member := func() uint32 { return uint32(rng.IntN(30)) }
	by := as(session())
	switch rng.IntN(20) {
	case 0, 1, 2:
		return Control, Reserve{Subject: fmt.Sprint("u", rng.IntN(8)), Session: session(), Role: []Role{"", Audience}[rng.IntN(2)], Guest: rng.IntN(4) == 0, Origin: "o"}
	case 3, 4:
		return Control, Open{Session: session()}
	case 5, 6:
		return Control, Associate{Session: session()}
	case 7, 8:
		return Control, Enter{Session: session()}
	case 9:
		return Control, Fail{Session: session()}
	case 10:
		return Control, Lost{Session: session()}
	case 11:
		return by, TakeMic{Index: rng.IntN(5) - 1}
	case 12:
		return by, LeaveMic{}
	case 13:
		return by, RaiseHand{Raised: rng.IntN(2) == 0}
	case 14:
		return by, GiveMic{Member: member(), Index: -1}
	case 15:
		return by, Kick{Member: member()}
	case 16:
		return Control, SetSpec{Spec: Spec{Generation: rng.Int64N(50), Owner: "u0", MaxMembers: 1 + rng.IntN(5), MaxMics: 1 + rng.IntN(3), Access: Public, MicPolicy: Auto, Moderators: []string{"u1"}}}
	case 17:
		return by, Leave{}
	case 18:
		return by, MuteMember{Member: member(), Muted: rng.IntN(2) == 0}
	}
	return Control, Tick{}
}

// TestRandomCommands gives random commands and checks after each what must always
// hold.
func TestRandomCommands(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		now := t0
		r := New(ID{UID: "u"}, 1, Spec{Owner: "u0", MaxMembers: 4, MaxMics: 2, Access: Public, MicPolicy: Auto}, nil, now)
		if _, err := r.Do(now, Control, Renew{Until: now.Add(24 * time.Hour)}); err != nil {
			t.Fatal(err)
		}
		follower := r.State()
		for step := range 500 {
			now = now.Add(time.Duration(rng.IntN(3000)) * time.Millisecond)
			by, c := randomCommand(rng)
			passed, err := r.Do(now, Control, Tick{})
			if err != nil {
				t.Fatal(err)
			}
			before := r.State()
			events, err := r.Do(now, by, c)
			if err := checkStep(before, r, events, err); err != nil {
				t.Fatalf("seed %d step %d %T%+v: %v", seed, step, c, c, err)
			}
			for _, e := range append(passed, events...) {
				if !follower.Apply(e) {
					t.Fatalf("seed %d step %d: event %d does not follow %d", seed, step, e.Seq, follower.Seq)
				}
			}
			if d := cmp.Diff(r.View(), follower); d != "" {
				t.Fatalf("seed %d step %d %T%+v: events do not reproduce the state:\n%s", seed, step, c, c, d)
			}
		}
	}
}

func checkStep(before *State, r *Room, events []Event, err error) error {
	var refusal *Error
	after := r.View()
	switch {
	case err != nil && !errors.As(err, &refusal):
		return fmt.Errorf("not a typed refusal: %w", err)
	case err != nil && (len(events) > 0 || !cmp.Equal(before, after)):
		return errors.New("a refusal changed the room")
	case len(after.Members) > max(len(before.Members), after.Settings.MaxMembers):
		return fmt.Errorf("members grew to %d of %d", len(after.Members), after.Settings.MaxMembers)
	case len(after.Mics) > max(len(before.Mics), after.Settings.MaxMics):
		return fmt.Errorf("mics grew to %d of %d", len(after.Mics), after.Settings.MaxMics)
	case before.ActivatedAt != nil && after.ActivatedAt == nil:
		return errors.New("the latch turned back")
	case len(r.bySubject) != len(after.Members) || len(r.bySession) != len(after.Members)+len(r.rejoining):
		return fmt.Errorf("indexes: %d subjects, %d sessions, %d rejoining, %d members", len(r.bySubject), len(r.bySession), len(r.rejoining), len(after.Members))
	}
	holder, grants := map[uint32]bool{}, map[uint64]bool{}
	for _, m := range after.Mics {
		who, ok := after.Member(m.Member)
		if !ok || holder[m.Member] || grants[m.Grant] || (who.Status != Entered && who.Status != Away) {
			return fmt.Errorf("mic %+v of %+v", m, who)
		}
		holder[m.Member], grants[m.Grant] = true, true
	}
	return nil
}

func FuzzDecode(f *testing.F) {
	for _, name := range CommandNames() {
		f.Add(name, []byte(`{"index":-1}`))
		f.Add(name, []byte(`{"member":7,"muted":true}`))
	}
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		c, err := Decode(name, body)
		if (c == nil) == (err == nil) {
			t.Fatalf("Decode(%q, %q) = %v, %v", name, body, c, err)
		}
		r := New(ID{}, 1, Spec{Owner: "u0", MaxMembers: 2, MaxMics: 1}, nil, t0)
		if c != nil {
			_, _ = r.Do(t0, Actor{Session: "nobody"}, c)
			if _, err := json.Marshal(r.State()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
