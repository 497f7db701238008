package chattest

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"voiceroom.dev/voiceroom/chat"
)

func testCreate(t *testing.T, s *suite) {
	key := s.key(t)
	made, err := s.chat.CreateGroup(soon(t), key, spec)
	if err != nil {
		t.Fatal(err)
	}
	want := chat.Group{
		ID: made.ID, Key: key, Name: spec.Name, Owner: spec.Owner,
		State: chat.Invalid, Limits: limits, CreatedAt: made.CreatedAt,
	}
	if diff := cmp.Diff(want, made); diff != "" {
		t.Errorf("CreateGroup (-want +got):\n%s", diff)
	}
	if made.ID == "" || strings.ContainsFunc(made.ID, notInPath) {
		t.Errorf("ID %q cannot be part of a URL path", made.ID)
	}
	if made.CreatedAt.IsZero() {
		t.Error("CreatedAt is not set")
	}
	got, err := s.chat.Group(soon(t), made.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made, got); diff != "" {
		t.Errorf("Group differs from what was created (-made +got):\n%s", diff)
	}

	again, err := s.chat.CreateGroup(soon(t), key, chat.GroupSpec{Name: "Other", Owner: "other", Limits: chat.Limits{MaxMembers: 2, MaxMics: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made, again); diff != "" {
		t.Errorf("a second CreateGroup changed the group (-first +second):\n%s", diff)
	}
}

// notInPath is false for the unreserved characters of RFC 3986, section 2.3, and
// the few that are safe in a path segment and that back ends use in IDs.
func notInPath(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~!:@", r)
}

func testCreateInvalid(t *testing.T, s *suite) {
	change := func(f func(*chat.GroupSpec)) chat.GroupSpec {
		changed := spec
		f(&changed)
		return changed
	}
	for _, test := range []struct {
		name string
		key  string
		spec chat.GroupSpec
	}{
		{"empty key", "", spec},
		{"key is not UTF-8", "a\xffb", spec},
		{"key too long", strings.Repeat("k", chat.MaxKey+1), spec},
		{"no limits", s.key(t), change(func(g *chat.GroupSpec) { g.Limits = chat.Limits{} })},
		{"no microphone", s.key(t), change(func(g *chat.GroupSpec) { g.MaxMics = 0 })},
		{"negative", s.key(t), change(func(g *chat.GroupSpec) { g.MaxMembers = -1 })},
		{"more microphones than members", s.key(t), change(func(g *chat.GroupSpec) { g.MaxMics = g.MaxMembers + 1 })},
		{"name is not UTF-8", s.key(t), change(func(g *chat.GroupSpec) { g.Name = "\xc3" })},
		{"owner too long", s.key(t), change(func(g *chat.GroupSpec) { g.Owner = strings.Repeat("o", chat.MaxSubject+1) })},
	} {
		if _, err := s.chat.CreateGroup(soon(t), test.key, test.spec); !errors.Is(err, chat.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", test.name, err)
		}
	}
}

func testCreateConcurrently(t *testing.T, s *suite) {
	const callers = 16
	key := s.key(t)
	// Half of them through a connection of their own, as another replica would.
	other := s.open(t)
	made := make([]chat.Group, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			provider := s.chat
			if i%2 == 1 {
				provider = other
			}
			var err error
			if made[i], err = provider.CreateGroup(soon(t), key, spec); err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i, g := range made {
		if diff := cmp.Diff(made[0], g); diff != "" {
			t.Errorf("caller %d got another group (-first +this):\n%s", i, diff)
		}
	}
	if found := s.list(t, key); len(found) != 1 {
		t.Errorf("%d groups exist for one key", len(found))
	}
}

// Whatever the interleaving, at most one group lives per key, and no ID twice.
func testCreateAndDeleteConcurrently(t *testing.T, s *suite) {
	const workers, rounds = 4, 5
	key := s.key(t)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		deleted = map[string]bool{}
	)
	for range workers {
		wg.Go(func() {
			for range rounds {
				mu.Lock()
				gone := make(map[string]bool, len(deleted))
				for id := range deleted {
					gone[id] = true
				}
				mu.Unlock()
				g, err := s.chat.CreateGroup(soon(t), key, spec)
				if err != nil {
					t.Errorf("CreateGroup: %v", err)
					return
				}
				if gone[g.ID] {
					t.Errorf("CreateGroup returned %s, which had been deleted before the call", g.ID)
				}
				if err := s.chat.DeleteGroup(soon(t), g.ID); err != nil {
					t.Errorf("DeleteGroup: %v", err)
					return
				}
				mu.Lock()
				deleted[g.ID] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if found := s.list(t, key); len(found) != 0 {
		t.Errorf("all were deleted, yet there is %v", found)
	}
	for id := range deleted {
		if _, err := s.chat.Group(soon(t), id); !errors.Is(err, chat.ErrNotFound) {
			t.Errorf("deleted group %s: got %v, want ErrNotFound", id, err)
		}
	}
}

func (s *suite) list(t *testing.T, prefix string) []chat.Group {
	t.Helper()
	groups, err := s.chat.ListGroups(soon(t), prefix)
	if err != nil {
		t.Fatalf("ListGroups: %v", err)
	}
	return groups
}

func testList(t *testing.T, s *suite) {
	prefix := s.key(t) + "/"
	var want []chat.Group
	for _, suffix := range []string{"a", "b", "b.c"} {
		g, err := s.chat.CreateGroup(soon(t), prefix+suffix, spec)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, g)
	}
	if err := s.chat.AddMember(soon(t), want[1].ID, chat.Member{Subject: "guest:1"}); err != nil {
		t.Fatal(err)
	}
	want[1].Members = 1
	byKey := cmpopts.SortSlices(func(a, b chat.Group) int { return strings.Compare(a.Key, b.Key) })
	for _, test := range []struct {
		prefix string
		want   []chat.Group
	}{
		{prefix, want},
		{prefix + "b", want[1:]},
		{prefix + "a", want[:1]},
		{prefix + "*", nil},
		{prefix + "B", nil},
	} {
		if diff := cmp.Diff(test.want, s.list(t, test.prefix), byKey, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("ListGroups(%q) (-want +got):\n%s", test.prefix, diff)
		}
	}
	for _, g := range want {
		if !slices.ContainsFunc(s.list(t, ""), func(other chat.Group) bool { return other.ID == g.ID }) {
			t.Errorf("ListGroups of everything lacks %s", g.Key)
		}
	}
}

func testValid(t *testing.T, s *suite) {
	g := s.group(t)
	for range 2 {
		if err := s.chat.SetValid(soon(t), g.ID); err != nil {
			t.Fatal(err)
		}
		s.wantState(t, g.ID, chat.Valid)
	}
	again, err := s.chat.CreateGroup(soon(t), g.Key, spec)
	if err != nil {
		t.Fatal(err)
	}
	if again.State != chat.Valid {
		t.Errorf("CreateGroup turned the state back to %s", again.State)
	}
	if err := s.chat.SetLimits(soon(t), g.ID, chat.Limits{MaxMembers: 3, MaxMics: 3}); err != nil {
		t.Fatal(err)
	}
	s.wantState(t, g.ID, chat.Valid)
}

func (s *suite) wantState(t *testing.T, id string, want chat.State) {
	t.Helper()
	got, err := s.chat.Group(soon(t), id)
	if err != nil {
		t.Fatal(err)
	}
	if got.State != want {
		t.Errorf("state is %s, want %s", got.State, want)
	}
}

func testLimits(t *testing.T, s *suite) {
	g := s.group(t)
	for _, subject := range []string{"guest:1", "guest:2"} {
		if err := s.chat.AddMember(soon(t), g.ID, chat.Member{Subject: subject}); err != nil {
			t.Fatal(err)
		}
	}
	want := chat.Limits{MaxMembers: 1, MaxMics: 1} // below what it has: nobody is removed
	for range 2 {
		if err := s.chat.SetLimits(soon(t), g.ID, want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.chat.Group(soon(t), g.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.Limits != want || got.Members != 2 {
		t.Errorf("limits %+v with %d members, want %+v with 2", got.Limits, got.Members, want)
	}
	for _, bad := range []chat.Limits{{}, {MaxMembers: 1, MaxMics: 2}, {MaxMembers: -1, MaxMics: -1}, {MaxMembers: 5}} {
		if err := s.chat.SetLimits(soon(t), g.ID, bad); !errors.Is(err, chat.ErrInvalid) {
			t.Errorf("SetLimits(%+v): got %v, want ErrInvalid", bad, err)
		}
	}
}

// Changes of different attributes at once must not undo each other.
func testChangesConcurrently(t *testing.T, s *suite) {
	for range 5 {
		g := s.group(t)
		want := chat.Limits{MaxMembers: 99, MaxMics: 9}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.chat.SetValid(soon(t), g.ID); err != nil {
				t.Errorf("SetValid: %v", err)
			}
		})
		wg.Go(func() {
			if err := s.chat.SetLimits(soon(t), g.ID, want); err != nil {
				t.Errorf("SetLimits: %v", err)
			}
		})
		wg.Wait()
		got, err := s.chat.Group(soon(t), g.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.State != chat.Valid || got.Limits != want {
			t.Errorf("a change was lost: %s, %+v", got.State, got.Limits)
		}
	}
}

func testDelete(t *testing.T, s *suite) {
	g := s.group(t)
	if err := s.chat.AddMember(soon(t), g.ID, chat.Member{Subject: "guest:1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.chat.Post(soon(t), g.ID, chat.Message{Author: "guest:1", Text: "before"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.chat.DeleteGroup(soon(t), g.ID); err != nil {
			t.Fatalf("DeleteGroup: %v", err)
		}
		s.wantGone(t, g.ID)
	}

	again, err := s.chat.CreateGroup(soon(t), g.Key, spec)
	if err != nil {
		t.Fatal(err)
	}
	if again.ID == g.ID {
		t.Errorf("the ID %s was used again", g.ID)
	}
	if again.State != chat.Invalid || again.Members != 0 {
		t.Errorf("the new group inherited something: %+v", again)
	}
	if s.chat.Capabilities().History {
		if old, err := s.chat.History(soon(t), again.ID, 0, 10); err != nil || len(old) != 0 {
			t.Errorf("the new group's history: %v, %v; want nothing", old, err)
		}
	}
	s.wantGone(t, g.ID)
	if err := s.chat.DeleteGroup(soon(t), g.ID); err != nil {
		t.Errorf("DeleteGroup of the old ID: %v", err)
	}
	if _, err := s.chat.Group(soon(t), again.ID); err != nil {
		t.Errorf("deleting the old group's ID touched the new one: %v", err)
	}
}

func testNoSuchGroup(t *testing.T, s *suite) {
	for _, id := range []string{"", "nosuchgroup", "a.b", "*", ">", "../x", "é\xff", strings.Repeat("a", 56), strings.Repeat("x", 5000)} {
		s.wantGone(t, id)
		if err := s.chat.DeleteGroup(soon(t), id); err != nil {
			t.Errorf("DeleteGroup(%q): %v", id, err)
		}
	}
}

// wantGone checks that every method but DeleteGroup answers ErrNotFound.
func (s *suite) wantGone(t *testing.T, id string) {
	t.Helper()
	calls := map[string]func() error{
		"Group":        func() error { _, err := s.chat.Group(soon(t), id); return err },
		"SetValid":     func() error { return s.chat.SetValid(soon(t), id) },
		"SetLimits":    func() error { return s.chat.SetLimits(soon(t), id, limits) },
		"AddMember":    func() error { return s.chat.AddMember(soon(t), id, chat.Member{Subject: "guest:1"}) },
		"RemoveMember": func() error { return s.chat.RemoveMember(soon(t), id, "guest:1") },
		"Members":      func() error { _, err := s.chat.Members(soon(t), id); return err },
		"Post": func() error {
			_, err := s.chat.Post(soon(t), id, chat.Message{Author: "guest:1", Text: "x"})
			return err
		},
	}
	if s.chat.Capabilities().History {
		calls["History"] = func() error { _, err := s.chat.History(soon(t), id, 0, 1); return err }
	}
	if s.chat.Capabilities().Subscribe {
		calls["Subscribe"] = func() error { return s.chat.Subscribe(soon(t), id, 0, func(chat.Message) {}) }
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, chat.ErrNotFound) {
			t.Errorf("%s of group %q: got %v, want ErrNotFound", name, id, err)
		}
	}
}
