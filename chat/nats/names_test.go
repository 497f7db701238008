package nats

import (
	"crypto/rand"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"voiceroom.dev/voiceroom/chat"
)

func TestNewID(t *testing.T) {
	label := regexp.MustCompile(`^[a-z0-9]{1,63}$`) // a Kubernetes label value, and more than safe in a URL
	seen := map[string]bool{}
	for _, key := range []string{"a", "a", "b", "x.y *>", strings.Repeat("k", chat.MaxKey)} {
		id, err := newID(key, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if !label.MatchString(id) || !validID(id) {
			t.Errorf("newID(%q) = %q is not a label value", key, id)
		}
		if seen[id] {
			t.Errorf("newID(%q) = %q was made before", key, id)
		}
		seen[id] = true
		if n := names("v"); n.groupByID(id) != n.group(key) {
			t.Errorf("the ID of %q leads to %s, its record is at %s", key, n.groupByID(id), n.group(key))
		}
	}
	if _, err := newID("a", iotest.ErrReader(errors.New("no entropy"))); err == nil {
		t.Error("newID without randomness made an ID")
	}
}

// No name that a caller chooses may change the shape of a subject.
func FuzzSubjects(f *testing.F) {
	for _, s := range []string{"", "a", "a.b", "*", ">", "a b", "é", "\xff", strings.Repeat("x", 3000)} {
		f.Add(s)
	}
	token := regexp.MustCompile(`^v\.(group|member\.id)\.[a-z2-7]{32}$`)
	f.Fuzz(func(t *testing.T, s string) {
		for _, subject := range []string{names("v").group(s), names("v").member("id", s)} {
			if !token.MatchString(subject) {
				t.Errorf("%q makes the subject %q", s, subject)
			}
		}
		if validID(s) && len(s) != idLen {
			t.Errorf("%q passes for an ID", s)
		}
	})
}

func TestConfigInvalid(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no URL":            {},
		"two credentials":   {URL: "nats://127.0.0.1:1", Token: "t", User: "u"},
		"name with a dot":   {URL: "nats://127.0.0.1:1", Name: "a.b"},
		"negative replicas": {URL: "nats://127.0.0.1:1", Replicas: -1},
		"negative history":  {URL: "nats://127.0.0.1:1", History: -1},
		"CA is not PEM":     {URL: "nats://127.0.0.1:1", CA: []byte("x")},
	} {
		if _, err := New(cfg); !errors.Is(err, chat.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	if _, err := New(Config{URL: "://"}); err == nil {
		t.Error("a malformed URL was accepted")
	}
}
