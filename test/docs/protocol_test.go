package docs

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/docs/documents"
)

func readProtocol(t *testing.T) *documents.Protocol {
	t.Helper()
	p, err := documents.ReadProtocol()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func commandRows(p *documents.Protocol) [][]string {
	return p.Rows("## Commands", "command", "body", "who", "does", "refused with")
}

// Every command that clients may give is described, with exactly the fields that it has.
func TestProtocolHasEveryCommand(t *testing.T) {
	documented := map[string][]string{}
	for _, row := range commandRows(readProtocol(t)) {
		fields := append([]string{}, documents.Quoted(row[1])...)
		slices.Sort(fields)
		documented[documents.Quoted(row[0])[0]] = fields
	}
	commands := map[string][]string{}
	for _, name := range room.CommandNames() {
		c, err := room.Decode(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if room.ClientCommand(name) {
			commands[name] = documents.Fields(c)
		}
	}
	if diff := cmp.Diff(commands, documented); diff != "" {
		t.Errorf("commands (-in room +documented):\n%s", diff)
	}
}

// always are the refusals that the text beside the tables allows every command.
var always = map[room.Code]bool{room.NotEntered: true, room.UnknownSession: true, room.NotAllowed: true, room.RoomClosed: true, room.Moving: true}

// Each command is refused with the codes that are documented for it, and each of those is
// met: random commands in a small room find all of them.
func TestProtocolHasEveryRefusal(t *testing.T) {
	documented, met := map[string]bool{}, map[string]bool{}
	for _, row := range commandRows(readProtocol(t)) {
		for _, code := range documents.Quoted(row[4]) {
			documented[documents.Quoted(row[0])[0]+": "+code] = true
		}
	}
	w := newWalk(1)
	for range 100_000 {
		name, err := w.step()
		refusal, ok := errors.AsType[*room.Error](err)
		if !ok || always[refusal.Code] && !documented[name+": "+string(refusal.Code)] {
			continue
		}
		met[name+": "+string(refusal.Code)] = true
	}
	if diff := cmp.Diff(met, documented); diff != "" {
		t.Errorf("refusals (-met +documented):\n%s", diff)
	}
}

// walk is a random walk through small rooms.
type walk struct {
	rand *rand.Rand
	room *room.Room
	now  time.Time
	next int // session
}

func newWalk(seed uint64) *walk {
	w := &walk{rand: rand.New(rand.NewPCG(seed, 0)), now: time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)}
	w.begin()
	return w
}

func (w *walk) begin() {
	w.room = room.New(room.ID{UID: "u"}, 1, room.Spec{Generation: 1, Owner: "s0", MaxMembers: 6, MaxMics: 3, Access: room.Public, MicPolicy: room.OnRequest}, nil, w.now)
	w.enter(0)
}

// enter brings a subject in, if it may come.
func (w *walk) enter(subject int) {
	w.next++
	session := fmt.Sprint("x", w.next)
	for _, c := range []room.Command{room.Renew{Until: w.now.Add(time.Hour)}, room.Reserve{Subject: fmt.Sprint("s", subject), Session: session},
		room.Open{Session: session}, room.Associate{Session: session}, room.Enter{Session: session}} {
		_, _ = w.room.Do(w.now, room.Control, c)
	}
}

// step gives a random command as a random member.
func (w *walk) step() (string, error) {
	w.now = w.now.Add(time.Duration(w.rand.IntN(3)) * time.Second)
	state := w.room.View()
	if state.Phase == room.Closed || len(state.Members) == 0 || w.rand.IntN(2000) == 0 {
		w.begin()
		state = w.room.View()
	}
	if w.rand.IntN(8) == 0 {
		w.enter(w.rand.IntN(6))
	}
	if len(state.Members) == 0 { // all of them were away for too long
		return w.step()
	}
	by := state.Members[w.rand.IntN(len(state.Members))]
	if w.rand.IntN(40) == 0 {
		_, _ = w.room.Do(w.now, room.Control, room.Lost{Session: by.Session})
	}
	names := slices.DeleteFunc(room.CommandNames(), func(n string) bool { return !room.ClientCommand(n) })
	name := names[w.rand.IntN(len(names))]
	if name == "close" && w.rand.IntN(50) != 0 || name == "leave" && w.rand.IntN(10) != 0 {
		name = "hand"
	}
	c, err := room.Decode(name, w.body(name, state))
	if err == nil {
		_, err = w.room.Do(w.now, room.Actor{Session: by.Session}, c)
	}
	return name, err
}

// body fills all fields that the command may have with something that is right or wrong.
func (w *walk) body(name string, state *room.State) []byte {
	pick := func(values ...any) any { return values[w.rand.IntN(len(values))] }
	member := any(state.Members[w.rand.IntN(len(state.Members))].ID)
	long := strings.Repeat("x", 2000)
	values := map[string]any{
		"member": pick(member, member, member, 999), "index": pick(-1, 0, 1, 2, 9), "a": pick(0, 1, 2, 9), "b": pick(0, 1, 2),
		"muted": pick(true, false), "raised": pick(true, true, false), "accept": pick(true, true, false), "locked": pick(true, false, false),
		"ban": pick(true, false, false), "name": pick("Ann", "", long), "message": pick("bye", long), "reason": "r", "session": "",
		"role":   pick("co-host", "speaker", "speaker", "audience", "king"),
		"access": pick("Public", "Public", "Locked", "nobody"), "micPolicy": pick("Auto", "Auto", "OnRequest", "Appointed"), "muteOnEntry": pick(true, false),
		"speakingSeconds": pick(0, 60, -1), "displayName": "D", "announcement": "A", "metadata": map[string]string{"k": "v"},
	}
	if values["priority"] = pick(true, false); name == "hand-priority" {
		values["priority"] = pick(0, 1, 9, 10)
	}
	c, err := room.Decode(name, nil)
	if err != nil {
		panic(err)
	}
	body := map[string]any{}
	for _, field := range documents.Fields(c) {
		if v, ok := values[field]; ok { // there is none for a subject: an unknown one is not refused
			body[field] = v
		}
	}
	b, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return b
}

// The tables of fields have every field, and say which of them clients are not shown.
func TestProtocolHasEveryField(t *testing.T) {
	p := readProtocol(t)
	at := time.Now()
	whole := room.State{
		Settings: room.Settings{DisplayName: "D", Duplicates: room.Refuse, Audience: room.Mix, MuteOnEntry: true, SpeakingSeconds: 1, LockedMics: []int{1}, Announcement: "A",
			Metadata: map[string]string{"k": "v"}, Owner: "o", Moderators: []string{"m"}, Host: "h", HostGone: &at, InvitesSince: &at, Spec: &room.Spec{}},
		Members: []room.Member{{ID: 1, Name: "N", Status: room.Entered, Hand: &room.Hand{}, AskedUntil: &at, Priority: true, ChatMuted: true, Entered: &at,
			Subject: "s", Session: "x", Deadline: &at, Invite: "i", Keys: []string{"k"}}},
		Mics:    []room.Mic{{Member: 1, Muted: true, ModMuted: true, Until: &at}},
		Records: []room.Record{{Subject: "r"}}, Invites: []room.InviteUse{{ID: "i"}}, ActivatedAt: &at, EmptySince: &at,
		CloseReason: "R", CloseMessage: "M", LastMember: 1, LastGrant: 1,
	}
	public := whole.Public()
	for _, test := range []struct {
		heading       string
		whole, public any
	}{
		{"### The whole", whole, *public},
		{"### Members", whole.Members[0], public.Members[0]},
		{"### Microphones", whole.Mics[0], public.Mics[0]},
		{"### Settings", whole.Settings, public.Settings},
	} {
		var shown []string
		for _, row := range p.Rows(test.heading, "field", "meaning") {
			shown = append(shown, documents.Quoted(row[0])...)
		}
		slices.Sort(shown)
		if diff := cmp.Diff(keys(t, test.public), shown); diff != "" {
			t.Errorf("%s (-shown to clients +documented):\n%s", test.heading, diff)
		}
		all := append(shown, documents.Quoted(p.Line(test.heading, "Not shown to clients:"))...)
		slices.Sort(all)
		if diff := cmp.Diff(documents.Fields(test.whole), all); diff != "" {
			t.Errorf("%s, all fields (-in room +documented):\n%s", test.heading, diff)
		}
		if got := keys(t, test.whole); len(got) != len(all) {
			t.Errorf("%s: the test fills %d of %d fields", test.heading, len(got), len(all))
		}
	}
}

// keys are the fields that v has as JSON, sorted.
func keys(t *testing.T, v any) []string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Every code of the program is documented, with the status that goes with it, and every
// documented one is a code of the program.
func TestProtocolHasEveryCode(t *testing.T) {
	documented := readProtocol(t).Codes()
	var inProgram, inProtocol, answered []string
	for _, folder := range []string{"room", "mediaapi", "admission", "gateway", "media", "media/transport"} {
		codes, err := documents.SourceCodes(folder)
		if err != nil || len(codes) == 0 {
			t.Fatalf("%s: %d codes, %v", folder, len(codes), err)
		}
		inProgram = append(inProgram, codes...)
		for _, c := range codes {
			pods := folder == "room" || folder == "mediaapi"
			if statuses := documented[c]; pods && len(statuses) > 0 && !slices.Contains(statuses, mediaapi.Status(room.Code(c))) {
				t.Errorf("%s: HTTP %d is documented as %v", c, mediaapi.Status(room.Code(c)), statuses)
			}
		}
	}
	for code, statuses := range documented {
		inProtocol = append(inProtocol, code)
		if len(statuses) > 0 {
			answered = append(answered, code)
		}
	}
	for _, list := range []*[]string{&inProgram, &inProtocol, &answered} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	if diff := cmp.Diff(inProgram, inProtocol); diff != "" {
		t.Errorf("codes (-in the program +in protocol.md):\n%s", diff)
	}
	api, err := documents.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	enum, _ := api.Components.Schemas["Code"]["enum"].([]any)
	for _, code := range enum {
		listed = append(listed, fmt.Sprint(code))
	}
	slices.Sort(listed)
	if diff := cmp.Diff(answered, listed); diff != "" {
		t.Errorf("codes that are answered (-in protocol.md +in openapi.yaml):\n%s", diff)
	}
}
