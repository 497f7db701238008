package history_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/torture/history"
)

const owner = "key:shop:ann"

var subjects = []string{owner, "key:shop:bob", "key:shop:cyd", "key:shop:dan", "key:shop:eve"}

// tape records what happens to a real room, which takes at most three members and two
// microphones: each operation with its answer, and each version that one of them made.
type tape struct {
	*testing.T
	room   *room.Room
	now    time.Time
	window history.Window
}

func newTape(t *testing.T) *tape {
	p := &tape{T: t, now: time.Unix(1_800_000_000, 0)}
	p.room = room.New(room.ID{UID: "uid", Namespace: "shop", Name: "lobby", GroupID: "g"}, 1,
		room.Spec{Owner: owner, MaxMembers: 3, MaxMics: 2, Access: room.Public, MicPolicy: room.Auto}, nil, p.now)
	p.window = history.Window{Room: "lobby", Epoch: 1, Subjects: subjects}
	p.do(room.Control, room.Renew{Until: p.now.Add(24 * time.Hour)})
	for _, c := range []room.Command{room.Reserve{Subject: owner, Session: "ann"}, room.Open{Session: "ann"}, room.Associate{Session: "ann"}, room.Enter{Session: "ann"}} {
		p.do(room.Control, c)
	}
	p.window.Versions = []history.Version{{State: p.room.State(), From: p.now.UnixNano(), Until: p.now.UnixNano()}}
	return p
}

// do gives the room a command a moment later, and notes the version that it made.
func (p *tape) do(by room.Actor, c room.Command) error {
	p.now = p.now.Add(time.Millisecond)
	events, err := p.room.Do(p.now, by, c)
	if len(events) > 0 {
		v := history.Version{State: p.room.State(), Left: map[string]room.Code{}, From: p.now.UnixNano(), Until: p.now.UnixNano()}
		for _, e := range events {
			if e.Type == room.EventLeft {
				v.Left[e.Member.Subject] = e.Reason
			}
		}
		p.window.Versions = append(p.window.Versions, v)
	}
	return err
}

// call notes an operation that the room answers.
func (p *tape) call(o history.Operation, by room.Actor, c room.Command) history.Operation {
	o.Call = p.now.UnixNano()
	o.Session = or(o.Session, by.Session)
	if refusal := (*room.Error)(nil); errors.As(p.do(by, c), &refusal) {
		o.Code = refusal.Code
	}
	o.Return = p.now.UnixNano()
	return p.note(o)
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (p *tape) note(o history.Operation) history.Operation {
	o.Caller = len(p.window.Operations) % 8
	p.window.Operations = append(p.window.Operations, o)
	return o
}

// claim notes an operation with an answer that no room gave.
func (p *tape) claim(o history.Operation) {
	p.now = p.now.Add(time.Millisecond)
	o.Call = p.now.UnixNano()
	p.now = p.now.Add(time.Millisecond)
	o.Return = p.now.UnixNano()
	p.note(o)
}

func (p *tape) join(subject, session string) history.Operation {
	o := p.call(history.Operation{Kind: history.Join, Subject: subject, Session: session}, room.Control, room.Reserve{Subject: subject, Session: session})
	s := p.room.State()
	m, _ := s.Subject(subject)
	p.window.Operations[len(p.window.Operations)-1].Member = m.ID
	o.Member = m.ID
	return o
}

func (p *tape) open(subject, session string) {
	p.call(history.Operation{Kind: history.Open, Subject: subject, Session: session}, room.Control, room.Open{Session: session})
}

func (p *tape) enter(subject, session string) {
	p.call(history.Operation{Kind: history.Confirm, Subject: subject, Session: session}, room.Control, room.Enter{Session: session})
}

func (p *tape) takeMic(subject, session string, index int) {
	p.call(history.Operation{Kind: history.TakeMic, Subject: subject, Index: index}, room.Actor{Session: session}, room.TakeMic{Index: index})
}

// in lets a subject come in and enter, and returns its member.
func (p *tape) in(subject, session string) uint32 {
	o := p.join(subject, session)
	p.open(subject, session)
	if err := p.do(room.Control, room.Associate{Session: session}); err != nil {
		p.Fatal(err)
	}
	p.enter(subject, session)
	return o.Member
}

func (p *tape) kick(member uint32) {
	p.call(history.Operation{Kind: history.Kick, Member: member}, room.Control, room.Kick{Member: member})
}

// drop takes the last version out, as if the stream had not shown it.
func (p *tape) drop() { p.window.Versions = p.window.Versions[:len(p.window.Versions)-1] }

// TestGoodHistories: what a room does is right, in every corner that callers get to.
func TestGoodHistories(t *testing.T) {
	for name, play := range map[string]func(*tape){
		"full": func(p *tape) { p.in(subjects[1], "b"); p.join(subjects[2], "c"); p.join(subjects[3], "d") },
		"refresh at the cap": func(p *tape) {
			p.in(subjects[1], "b")
			p.join(subjects[2], "c")
			p.join(subjects[2], "c2")
			p.open(subjects[2], "c")
			p.open(subjects[2], "c2")
		},
		"replay": func(p *tape) { p.join(subjects[1], "b"); p.open(subjects[1], "b"); p.open(subjects[1], "b") },
		"take over": func(p *tape) {
			p.in(subjects[1], "b")
			p.join(subjects[1], "b2")
			p.open(subjects[1], "b2")
			p.takeMic(subjects[1], "b2", -1)
			p.do(room.Control, room.Associate{Session: "b2"})
			p.takeMic(subjects[1], "b", 1)
			p.open(subjects[1], "b2")
		},
		"lost and back": func(p *tape) {
			p.in(subjects[1], "b")
			p.do(room.Control, room.Lost{Session: "b"})
			p.in(subjects[1], "b2")
		},
		"runs out": func(p *tape) {
			p.join(subjects[1], "b")
			p.now = p.now.Add(time.Minute)
			p.do(room.Control, room.Tick{})
			p.join(subjects[2], "c")
			p.open(subjects[1], "b")
		},
		"microphones": func(p *tape) {
			m := p.in(subjects[1], "b")
			p.in(subjects[2], "c")
			p.takeMic(subjects[2], "c", -1)
			p.call(history.Operation{Kind: history.PullMic, Member: m}, room.Control, room.PullMic{Member: m})
			p.takeMic(subjects[1], "b", -1)
			p.takeMic(subjects[2], "c", 0)
			p.takeMic(subjects[2], "c", 1)
			p.call(history.Operation{Kind: history.LeaveMic, Subject: subjects[2]}, room.Actor{Session: "c"}, room.LeaveMic{})
			p.call(history.Operation{Kind: history.GiveMic, Member: m, Index: -1}, room.Control, room.GiveMic{Member: m, Index: -1})
		},
		"thrown out": func(p *tape) {
			p.kick(p.in(subjects[1], "b"))
			p.kick(77)
			p.join(subjects[1], "b2")
			p.enter(subjects[1], "b")
			p.call(history.Operation{Kind: history.Unban, Subject: subjects[1]}, room.Control, room.Unban{Subject: subjects[1]})
			p.join(subjects[1], "b3")
		},
		"fails and leaves": func(p *tape) {
			p.join(subjects[1], "b")
			p.call(history.Operation{Kind: history.Fail, Subject: subjects[1], Session: "b"}, room.Control, room.Fail{Session: "b"})
			p.in(subjects[1], "b2")
			p.call(history.Operation{Kind: history.Fail, Subject: subjects[1], Session: "b2"}, room.Control, room.Fail{Session: "b2"})
			p.call(history.Operation{Kind: history.Leave, Subject: subjects[1], Session: "b2"}, room.Control, room.Leave{Session: "b2"})
		},
		"the host is succeeded": func(p *tape) {
			p.in(subjects[1], "b")
			p.do(room.Control, room.Leave{Session: "ann"})
			p.window.Versions = p.window.Versions[len(p.window.Versions)-1:]
			p.window.Operations = nil
			p.now = p.now.Add(2 * time.Minute)
			p.join(subjects[2], "c") // lets time pass, too
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newTape(t)
			play(p)
			if v := history.Check(&p.window); v.Violation != "" || v.Undecided || v.Judged != len(p.window.Operations) {
				t.Errorf("%+v", v)
			}
		})
	}
}

// TestBadHistories: each is a mistake that some product has made.
func TestBadHistories(t *testing.T) {
	for name, test := range map[string]struct {
		play func(*tape)
		want string // in the sentence
	}{
		"overshoot": {func(p *tape) {
			p.in(subjects[1], "b")
			p.in(subjects[2], "c")
			p.claim(history.Operation{Kind: history.Join, Subject: subjects[3], Session: "d", Member: 4})
		}, "join key:shop:dan session d member 4 () -> granted"},
		"overshoot that the room shows": {func(p *tape) {
			p.in(subjects[1], "b")
			p.in(subjects[2], "c")
			s := p.room.State()
			s.Members = append(s.Members, room.Member{ID: 4, Subject: subjects[3], Session: "d", Status: room.Reserved, Role: room.Speaker})
			p.claim(history.Operation{Kind: history.Join, Subject: subjects[3], Session: "d", Member: 4})
			p.window.Versions = append(p.window.Versions, history.Version{State: s, From: p.now.UnixNano(), Until: p.now.UnixNano()})
		}, "4 of 3"},
		"refused although there is room": {func(p *tape) {
			p.in(subjects[1], "b")
			p.claim(history.Operation{Kind: history.Join, Subject: subjects[2], Code: room.RoomFull})
		}, "room-full"},
		"refused although it has a place": {func(p *tape) {
			p.in(subjects[1], "b")
			p.in(subjects[2], "c")
			p.claim(history.Operation{Kind: history.Join, Subject: subjects[2], Code: room.RoomFull})
		}, "room-full"},
		"frozen although it has a place": {func(p *tape) {
			p.in(subjects[1], "b")
			p.claim(history.Operation{Kind: history.Join, Subject: subjects[1], Code: room.Frozen})
		}, "frozen"},
		"token taken twice": {func(p *tape) {
			p.join(subjects[1], "b")
			p.open(subjects[1], "b")
			p.claim(history.Operation{Kind: history.Open, Subject: subjects[1], Session: "b"})
		}, "open key:shop:bob session b () -> granted"},
		"token of a session that was replaced": {func(p *tape) {
			p.join(subjects[1], "b")
			p.join(subjects[1], "b2")
			p.claim(history.Operation{Kind: history.Open, Subject: subjects[1], Session: "b"})
		}, "session b () -> granted"},
		"back in after a kick": {func(p *tape) {
			p.kick(p.in(subjects[1], "b"))
			p.claim(history.Operation{Kind: history.Join, Subject: subjects[1], Session: "b2", Member: 3})
		}, "session b2"},
		"enters after a kick": {func(p *tape) {
			p.kick(p.in(subjects[1], "b"))
			p.claim(history.Operation{Kind: history.Confirm, Subject: subjects[1], Session: "b"})
		}, "confirm"},
		"two on one microphone": {func(p *tape) {
			p.in(subjects[1], "b")
			p.in(subjects[2], "c")
			p.claim(history.Operation{Kind: history.TakeMic, Subject: subjects[2], Session: "c", Index: -1})
		}, "take-mic"},
		"no microphone although one is free": {func(p *tape) {
			p.in(subjects[1], "b")
			p.call(history.Operation{Kind: history.LeaveMic, Subject: subjects[1]}, room.Actor{Session: "b"}, room.LeaveMic{})
			p.claim(history.Operation{Kind: history.TakeMic, Subject: subjects[1], Session: "b", Index: -1, Code: room.MicUnavailable})
		}, "mic-unavailable"},
		"granted, and nothing happened": {func(p *tape) { p.join(subjects[1], "b"); p.drop() }, "join"},
		"a place is gone for no reason": {func(p *tape) {
			p.in(subjects[1], "b")
			p.do(room.Control, room.Leave{Session: "b"})
		}, "nothing explains that the room"},
		"a stranger is there for no reason": {func(p *tape) {
			p.do(room.Control, room.Reserve{Subject: subjects[1], Session: "b"})
		}, "nothing explains that the room"},
		"comes too late": {func(p *tape) { // full when it was asked, and until it was answered
			p.join(subjects[1], "b")
			p.join(subjects[2], "c")
			p.claim(history.Operation{Kind: history.Join, Subject: subjects[3], Session: "d", Member: 4})
			p.call(history.Operation{Kind: history.Leave, Subject: subjects[2], Session: "c"}, room.Control, room.Leave{Session: "c"})
		}, "session d member 4"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newTape(t)
			test.play(p)
			v := history.Check(&p.window)
			if !strings.Contains(v.Violation, test.want) || test.want == "" {
				t.Fatalf("says %q, want it to name %q", v.Violation, test.want)
			}
			path := filepath.Join(t.TempDir(), "history.html")
			if err := v.Explain(path); err != nil {
				t.Fatal(err)
			}
			if page, err := os.ReadFile(path); err != nil || !strings.Contains(string(page), "key:shop:bob") {
				t.Errorf("the page does not show the history (%v)", err)
			}
		})
	}
}

// TestConcurrent: an answer is right if it was at any time between question and answer.
func TestConcurrent(t *testing.T) {
	p := newTape(t)
	p.join(subjects[1], "b")
	before := p.now.UnixNano()
	p.join(subjects[2], "c")
	p.call(history.Operation{Kind: history.Leave, Subject: subjects[2], Session: "c"}, room.Control, room.Leave{Session: "c"})
	p.note(history.Operation{Kind: history.Join, Subject: subjects[3], Code: room.RoomFull, Call: before, Return: p.now.UnixNano()})
	if v := history.Check(&p.window); v.Violation != "" {
		t.Error(v.Violation)
	}
}

// TestLost: an operation without an answer may have happened, or not; what it did is no
// mystery, and what nobody asked for is one.
func TestLost(t *testing.T) {
	for _, happened := range []bool{false, true} {
		p := newTape(t)
		p.window.Lost = []history.Operation{{Kind: history.Join, Subject: subjects[1], Call: p.now.UnixNano()}}
		if happened {
			p.do(room.Control, room.Reserve{Subject: subjects[1], Session: "b"})
		}
		p.join(subjects[2], "c")
		p.join(subjects[3], "d")
		if v := history.Check(&p.window); v.Violation != "" {
			t.Error(v.Violation)
		}
		p.do(room.Control, room.Fail{Session: "c"})
		p.do(room.Control, room.Reserve{Subject: subjects[4], Session: "e"})
		if v := history.Check(&p.window); v.Violation == "" {
			t.Error("a stranger came in without an operation, and nobody minds")
		}
	}
}

// TestBlind: in a time of which the stream shows nothing, nothing is judged; before and
// after it is.
func TestBlind(t *testing.T) {
	p := newTape(t)
	p.join(subjects[1], "b")
	last := p.window.Versions[len(p.window.Versions)-1].From
	p.window.Versions = append(p.window.Versions, history.Version{From: last, Until: 1<<63 - 1})
	p.claim(history.Operation{Kind: history.Join, Subject: subjects[2], Session: "c", Member: 99})
	if v := history.Check(&p.window); v.Violation != "" || v.Judged != 0 {
		t.Errorf("%+v", v)
	}
	early := history.Operation{Kind: history.Join, Subject: subjects[3], Code: room.RoomFull, Call: last - 10, Return: last - 5}
	p.window.Operations = append(p.window.Operations, early)
	if v := history.Check(&p.window); v.Violation == "" {
		t.Error("a wrong refusal before the end is not judged")
	}
}

func ExampleCheck() {
	empty := &room.State{Settings: room.Settings{Owner: "ann", Host: "ann", MaxMembers: 2, MaxMics: 1}}
	w := &history.Window{Subjects: []string{"ann", "bob"}, Versions: []history.Version{{State: empty}},
		Operations: []history.Operation{{Via: "gateway", Kind: history.Join, Subject: "bob", Call: 1, Return: 2, Code: room.RoomFull}}}
	fmt.Println(history.Check(w).Violation)
	// Output: nothing explains join bob (gateway) -> room-full while the room was 0 of 2: mics [0]
}
