package room_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/room/roomtest"
)

var steps = flag.Int("room.steps", 100_000, "commands that TestModel gives")

// TestModel gives a room and the model of it the same random commands, and checks after
// each that the room refused or did what the model says, shows the same state, and holds
// every invariant. A failing sequence is reported as short as it can be made.
func TestModel(t *testing.T) {
	done, meant := 0, 0
	// Short sequences first: what they find is reported shorter. These are averages.
	lengths := []string{"8", "16", "40"}
	for i := 0; done < *steps; i++ {
		if err := flag.Set("rapid.steps", lengths[i%len(lengths)]); err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(rt *rapid.T) {
			trial := newTrial(rt)
			trial.comeIn()
			actions := trial.actions()
			rt.Repeat(map[string]func(*rapid.T){"next": func(*rapid.T) { pick(trial.draw, actions, "action")() }})
			done, meant = done+trial.done, meant+trial.meant
		})
	}
	t.Logf("%d commands, %d of which did something", done, meant)
}

// trial is a room beside its model.
type trial struct {
	draw
	room    *room.Room
	history *roomtest.History
	state   *room.State
	granted map[uint32]uint64 // by member, after the last command
	now     time.Time
	done    int
	meant   int
}

func newTrial(t *rapid.T) *trial {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	d := draw{T: t}
	spec := d.spec(1)
	tr := &trial{draw: d, room: room.New(room.ID{UID: "uid"}, 1, spec, nil, now), now: now}
	tr.model = newModel(spec, now)
	tr.state = tr.room.State()
	tr.history = roomtest.Begin(tr.state)
	tr.give(room.Control, room.Renew{Until: now.Add(5 * time.Minute)})
	return tr
}

// actions are what can happen next. Coming in is there more often, so that rooms fill.
func (tr *trial) actions() []func() {
	actions := []func(){tr.comeIn, tr.comeIn, tr.comeIn, tr.comeIn, tr.comeIn, tr.comeIn, tr.comeIn, tr.comeIn, tr.wait, tr.wait, tr.nextEpoch, tr.close}
	for _, draw := range tr.commands() {
		actions = append(actions, func() {
			if tr.yes("a second later") {
				tr.now = tr.now.Add(time.Second)
			}
			by, c := draw()
			tr.give(by, c)
		})
	}
	return actions
}

func (tr *trial) close() {
	if tr.rarely(40, "really") {
		tr.give(tr.actor(), room.Close{Reason: "Test", Message: "Good night."})
	}
}

// comeIn takes a client through every step, if nothing refuses it.
func (tr *trial) comeIn() {
	if !tr.now.Before(tr.model.lease) {
		tr.give(room.Control, room.Renew{Until: tr.now.Add(5 * time.Minute)})
	}
	c := tr.reserve(tr.newcomer())
	if tr.yes("by name") {
		c.InvitedAt, c.Invite = tr.now, nil
	}
	for _, c := range []room.Command{c, room.Open{Session: c.Session, Key: pick(tr.draw, keyIDs, "key")}, room.Associate{Session: c.Session}, room.Enter{Session: c.Session}} {
		if !tr.give(room.Control, c) {
			return
		}
	}
}

// wait lets time pass: tick by tick when the room asks for it, or unseen until the next command.
func (tr *trial) wait() {
	until := tr.now.Add(pick(tr.draw, durations, "for"))
	if tr.yes("unseen") {
		tr.now = until
		return
	}
	tr.check(roomtest.Wait(tr.room, until, func(now time.Time, events []room.Event) error {
		tr.now = now
		tr.model.do(now, room.Control, room.Tick{})
		return tr.saw(events)
	}))
	tr.now = until
}

// nextEpoch seals the room, now and then, and goes on in another pod.
func (tr *trial) nextEpoch() {
	if !tr.rarely(4, "really") {
		return
	}
	if tr.yes("sealed") {
		tr.give(room.Control, room.Seal{})
		if tr.yes("and stays") {
			return
		}
	}
	spec := tr.model.spec
	if tr.yes("changed") {
		spec = tr.spec(spec.Generation - 1 + int64(tr.upTo(2, "newer")))
	}
	tr.Logf("next epoch with %+v", spec)
	tr.room = room.New(tr.state.ID, tr.state.Epoch+1, spec, tr.sent(tr.state), tr.now)
	tr.model.nextEpoch(tr.now, spec)
	tr.state = tr.room.State()
	tr.check(tr.history.NextEpoch(tr.state))
	tr.same()
}

// sent is a state as it arrives in another process.
func (tr *trial) sent(s *room.State) *room.State {
	var arrived room.State
	text, err := json.Marshal(s)
	tr.check(err)
	tr.check(json.Unmarshal(text, &arrived))
	return &arrived
}

// give gives a command to both and compares what they make of it. It returns whether it
// was accepted.
func (tr *trial) give(by room.Actor, c room.Command) bool {
	tr.done++
	tickFirst := tr.done%2 == 0 // the room must not depend on it
	if tickFirst {
		events, _ := tr.room.Do(tr.now, room.Control, room.Tick{})
		tr.check(tr.saw(events))
	}
	before := tr.state
	events, err := tr.room.Do(tr.now, by, c)
	tr.Logf("%s %q %T%s: %v", tr.now.Format("15:04:05"), by.Session, c, text(c), err)
	why := tr.model.do(tr.now, by, c)
	var refusal *room.Error
	switch {
	case err == nil && len(why) > 0:
		tr.Fatalf("accepted; the model refuses it with %v", why)
	case err != nil && !errors.As(err, &refusal):
		tr.Fatalf("not a typed refusal: %v", err)
	case err != nil && !slices.Contains(why, refusal.Code):
		tr.Fatalf("refused with %s; the model has the reasons %v", refusal.Code, why)
	}
	tr.check(tr.saw(events))
	if err != nil && tickFirst {
		tr.check(roomtest.Refusal(before, tr.state, events, err))
	}
	if err == nil && len(events) > 0 {
		tr.meant++
	}
	tr.same()
	return err == nil
}

// text shows a command with what its pointers point at.
func text(c room.Command) any { return lazy{c} }

type lazy struct{ c room.Command }

func (l lazy) String() string {
	text, err := json.Marshal(l.c)
	return fmt.Sprintf("%s%v", text, map[bool]any{true: "", false: err}[err == nil])
}

// saw checks the events since the last state.
func (tr *trial) saw(events []room.Event) error {
	tr.state = tr.room.State()
	broken := []error{tr.history.Step(tr.state, events), roomtest.Settled(tr.room, tr.now), roomtest.Timely(tr.state, tr.now)}
	if tr.done%8 == 0 {
		broken = append(broken, roomtest.Hidden(tr.state, events))
	}
	return errors.Join(broken...)
}

func (tr *trial) check(err error) {
	if err != nil {
		tr.Fatalf("%v", err)
	}
}

// same compares what the room and the model show, and the sessions that they know.
func (tr *trial) same() {
	want, got := plain(tr.model.state()), plain(tr.state)
	if !reflect.DeepEqual(want, got) {
		tr.Fatalf("the room differs from the model (-model +room):\n%s", cmp.Diff(want, got))
	}
	for i := range tr.sessions {
		session := sessionName(i + 1)
		if knows, current := tr.room.Knows(session), tr.model.bySession(session) != nil; knows != current {
			tr.Fatalf("the room knows %s: %t; it is current: %t", session, knows, current)
		}
	}
	for _, p := range tr.model.members() {
		if mic, on := tr.state.Mic(p.number); on && (p.mic.since == tr.model.step) != (mic.Grant > tr.granted[p.number]) {
			tr.Fatalf("%+v was granted before: %d", mic, tr.granted[p.number])
		}
	}
	tr.granted = map[uint32]uint64{}
	for _, mic := range tr.state.Mics {
		tr.granted[mic.Member] = mic.Grant
	}
}

// plain is a state without what the model does not say, and with no empty lists.
func plain(s *room.State) *room.State {
	p := *s
	p.ID, p.Seq, p.LastMember, p.LastGrant = room.ID{}, 0, 0, 0
	p.Settings.Moderators = slices.Sorted(slices.Values(p.Settings.Moderators))
	if len(p.Settings.Metadata) == 0 {
		p.Settings.Metadata = nil
	}
	p.Settings.LockedMics = orNil(p.Settings.LockedMics)
	p.Members, p.Mics, p.Records, p.Invites = slices.Clone(orNil(p.Members)), slices.Clone(orNil(p.Mics)), orNil(p.Records), orNil(p.Invites)
	for i := range p.Members {
		p.Members[i].Keys = orNil(p.Members[i].Keys)
	}
	for i := range p.Mics {
		p.Mics[i].Grant = 0
	}
	return &p
}

func orNil[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}
