package chattest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"voiceroom.dev/voiceroom/chat"
)

// members returns the list by subject, and checks that Group counts the same.
func (s *suite) members(t *testing.T, id string) map[string]chat.Member {
	t.Helper()
	list, err := s.chat.Members(soon(t), id)
	if err != nil {
		t.Fatalf("Members: %v", err)
	}
	bySubject := make(map[string]chat.Member, len(list))
	for _, m := range list {
		if _, twice := bySubject[m.Subject]; twice {
			t.Errorf("member %q is listed twice", m.Subject)
		}
		bySubject[m.Subject] = m
	}
	g, err := s.chat.Group(soon(t), id)
	if err != nil {
		t.Fatalf("Group: %v", err)
	}
	if g.Members != len(list) {
		t.Errorf("Group counts %d members, Members lists %d", g.Members, len(list))
	}
	return bySubject
}

func (s *suite) wantMembers(t *testing.T, id string, want ...string) {
	t.Helper()
	var got []string
	for subject := range s.members(t, id) {
		got = append(got, subject)
	}
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(strings.Compare), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

func testAddMember(t *testing.T, s *suite) {
	g := s.group(t)
	s.wantMembers(t, g.ID) // the owner is not a member by itself
	ada := chat.Member{Subject: spec.Owner, Name: "Ada"}
	if err := s.chat.AddMember(soon(t), g.ID, ada); err != nil {
		t.Fatal(err)
	}
	first := s.members(t, g.ID)[ada.Subject]
	ada.JoinedAt = first.JoinedAt
	if diff := cmp.Diff(ada, first); diff != "" {
		t.Errorf("member (-want +got):\n%s", diff)
	}
	if first.JoinedAt.IsZero() {
		t.Error("JoinedAt is not set")
	}
	for _, again := range []chat.Member{ada, {Subject: ada.Subject, Name: "Ada L."}} {
		if err := s.chat.AddMember(soon(t), g.ID, again); err != nil {
			t.Fatal(err)
		}
		if second := s.members(t, g.ID)[ada.Subject]; !second.JoinedAt.Equal(first.JoinedAt) {
			t.Errorf("JoinedAt went from %v to %v", first.JoinedAt, second.JoinedAt)
		}
	}
	for _, bad := range []chat.Member{
		{}, {Name: "nobody"}, {Subject: "a\xffb"}, {Subject: "a\nb"},
		{Subject: strings.Repeat("s", chat.MaxSubject+1)}, {Subject: "guest:1", Name: "\xff"},
	} {
		if err := s.chat.AddMember(soon(t), g.ID, bad); !errors.Is(err, chat.ErrInvalid) {
			t.Errorf("AddMember(%q): got %v, want ErrInvalid", bad, err)
		}
	}
	s.wantMembers(t, g.ID, ada.Subject)
}

func subjects(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("guest:%d", i)
	}
	return list
}

// 8 callers add overlapping members: none is lost, and one JoinedAt wins.
func testAddMemberConcurrently(t *testing.T, s *suite) {
	g := s.group(t)
	all := subjects(20)
	other := s.open(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			provider := s.chat
			if i%2 == 1 {
				provider = other
			}
			for _, subject := range slices.Concat(all[i:], all[:i]) {
				if err := provider.AddMember(soon(t), g.ID, chat.Member{Subject: subject}); err != nil {
					t.Errorf("AddMember(%s): %v", subject, err)
				}
			}
		})
	}
	wg.Wait()
	s.wantMembers(t, g.ID, all...)
}

func testRemoveMember(t *testing.T, s *suite) {
	g := s.group(t)
	for _, subject := range subjects(3) {
		if err := s.chat.AddMember(soon(t), g.ID, chat.Member{Subject: subject}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := s.chat.RemoveMember(soon(t), g.ID, "guest:1"); err != nil {
			t.Fatal(err)
		}
		s.wantMembers(t, g.ID, "guest:0", "guest:2")
	}
	if err := s.chat.RemoveMember(soon(t), g.ID, "guest:never"); err != nil {
		t.Errorf("RemoveMember of a stranger: %v", err)
	}
	if err := s.chat.RemoveMember(soon(t), g.ID, ""); !errors.Is(err, chat.ErrInvalid) {
		t.Errorf("RemoveMember of nobody: got %v, want ErrInvalid", err)
	}
	if err := s.chat.AddMember(soon(t), g.ID, chat.Member{Subject: "guest:1", Name: "back"}); err != nil {
		t.Fatal(err)
	}
	s.wantMembers(t, g.ID, subjects(3)...)
}

// Each worker ends on a known word about its own member, while all work on one
// more member together.
func testAddAndRemoveConcurrently(t *testing.T, s *suite) {
	const workers, rounds = 6, 5
	g := s.group(t)
	shared := chat.Member{Subject: "guest:shared"}
	var want []string
	var wg sync.WaitGroup
	for i := range workers {
		own := chat.Member{Subject: fmt.Sprintf("guest:%d", i)}
		stays := i%2 == 0
		if stays {
			want = append(want, own.Subject)
		}
		wg.Go(func() {
			must := func(err error) {
				if err != nil {
					t.Errorf("worker %d: %v", i, err)
				}
			}
			for round := range rounds {
				must(s.chat.AddMember(soon(t), g.ID, own))
				must(s.chat.AddMember(soon(t), g.ID, chat.Member{Subject: shared.Subject, Name: fmt.Sprint("n", round, i)}))
				must(s.chat.RemoveMember(soon(t), g.ID, shared.Subject))
				if !stays || round < rounds-1 {
					must(s.chat.RemoveMember(soon(t), g.ID, own.Subject))
				}
			}
		})
	}
	wg.Wait()
	// Everybody removed the shared member after having added it last.
	s.wantMembers(t, g.ID, want...)
}

// Members that are added while their group is deleted must not outlive it.
func testAddWhileDeleting(t *testing.T, s *suite) {
	for range 5 {
		g := s.group(t)
		begun := make(chan struct{}, 4)
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for n := 0; ; n++ {
					err := s.chat.AddMember(soon(t), g.ID, chat.Member{Subject: fmt.Sprintf("guest:%d/%d", i, n)})
					if n == 0 {
						begun <- struct{}{}
					}
					if errors.Is(err, chat.ErrNotFound) {
						return
					}
					if err != nil {
						t.Errorf("AddMember: got %v, want nil or ErrNotFound", err)
						return
					}
				}
			})
		}
		for range 4 {
			<-begun
		}
		if err := s.chat.DeleteGroup(soon(t), g.ID); err != nil {
			t.Errorf("DeleteGroup: %v", err)
		}
		wg.Wait()
		s.wantGone(t, g.ID)
		again, err := s.chat.CreateGroup(soon(t), g.Key, spec)
		if err != nil {
			t.Fatal(err)
		}
		s.wantMembers(t, again.ID)
	}
}

// More members than one page, one message or one value of any back end holds.
func testManyMembers(t *testing.T, s *suite) {
	many := s.server.Many
	if many == 0 {
		many = 1200
	}
	g, err := s.chat.CreateGroup(soon(t), s.key(t), chat.GroupSpec{Limits: chat.Limits{MaxMembers: many, MaxMics: 1}})
	if err != nil {
		t.Fatal(err)
	}
	all := subjects(many)
	var wg sync.WaitGroup
	for part := range slices.Chunk(all, many/8+1) {
		wg.Go(func() {
			for _, subject := range part {
				if err := s.chat.AddMember(soon(t), g.ID, chat.Member{Subject: subject, Name: "Somebody"}); err != nil {
					t.Errorf("AddMember(%s): %v", subject, err)
					return
				}
			}
		})
	}
	wg.Wait()
	s.wantMembers(t, g.ID, all...)
}
