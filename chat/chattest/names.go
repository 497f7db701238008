package chattest

import (
	"strings"
	"testing"

	"voiceroom.dev/voiceroom/chat"
)

// Names that other systems would read as syntax must come back as they went in.
func testNames(t *testing.T, s *suite) {
	odd := []string{
		"oidc:https://issuer.example/:a b*>.é",
		"key:k1:user.with.dots", "key:k1:user*", "key:k1:>", "key:k1:$JS.API.>",
		"guest:<xml>&amp;\"'", "guest:@ada:example.org", "guest:ada@example.org/res", "guest:%2F..%2F", "guest:日本語🎤",
		"guest:A", "guest:a", "guest:a ", strings.Repeat("s", chat.MaxSubject),
	}
	prefix := s.key(t)
	seen := map[string]string{}
	for _, name := range odd {
		key := prefix + name
		if len(key) > chat.MaxKey {
			key = key[:chat.MaxKey]
		}
		g, err := s.chat.CreateGroup(soon(t), key, chat.GroupSpec{Owner: name, Limits: limits})
		if err != nil {
			t.Fatalf("CreateGroup(%q): %v", key, err)
		}
		if other, taken := seen[g.ID]; taken {
			t.Errorf("keys %q and %q share a group", key, other)
		}
		seen[g.ID] = key
		if g.Key != key || g.Owner != name {
			t.Errorf("key %q and owner %q came back as %q and %q", key, name, g.Key, g.Owner)
		}
	}
	if found := s.list(t, prefix); len(found) != len(odd) {
		t.Errorf("%d groups found by prefix, want %d", len(found), len(odd))
	}

	g := s.group(t)
	for _, name := range odd {
		if err := s.chat.AddMember(soon(t), g.ID, chat.Member{Subject: name, Name: "Ada " + name[:6]}); err != nil {
			t.Fatalf("AddMember(%q): %v", name, err)
		}
	}
	s.wantMembers(t, g.ID, odd...)
	for i, name := range odd {
		if err := s.chat.RemoveMember(soon(t), g.ID, name); err != nil {
			t.Fatalf("RemoveMember(%q): %v", name, err)
		}
		s.wantMembers(t, g.ID, odd[i+1:]...)
	}
}
