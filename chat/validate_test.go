package chat_test

import (
	"errors"
	"strings"
	"testing"

	"voiceroom.dev/voiceroom/chat"
)

func TestValidate(t *testing.T) {
	ok := chat.Limits{MaxMembers: 2, MaxMics: 1}
	for _, test := range []struct {
		name string
		err  error
		want error
	}{
		{"limits", ok.Validate(), nil},
		{"equal limits", chat.Limits{MaxMembers: 1, MaxMics: 1}.Validate(), nil},
		{"no limits", chat.Limits{}.Validate(), chat.ErrInvalid},
		{"no microphones", chat.Limits{MaxMembers: 1}.Validate(), chat.ErrInvalid},
		{"more microphones than members", chat.Limits{MaxMembers: 1, MaxMics: 2}.Validate(), chat.ErrInvalid},
		{"negative", chat.Limits{MaxMembers: -1, MaxMics: -1}.Validate(), chat.ErrInvalid},
		{"group", chat.GroupSpec{Limits: ok}.Validate(), nil},
		{"group without limits", chat.GroupSpec{Name: "n", Owner: "o"}.Validate(), chat.ErrInvalid},
		{"group name of two lines", chat.GroupSpec{Name: "a\nb", Limits: ok}.Validate(), chat.ErrInvalid},
		{"member", chat.Member{Subject: "oidc:https://issuer.example/:a b*>.é"}.Validate(), nil},
		{"member with a longest name", chat.Member{Subject: "s", Name: strings.Repeat("n", chat.MaxName)}.Validate(), nil},
		{"member with a longer name", chat.Member{Subject: "s", Name: strings.Repeat("n", chat.MaxName+1)}.Validate(), chat.ErrInvalid},
		{"nobody", chat.Member{Name: "n"}.Validate(), chat.ErrInvalid},
		{"message", chat.Message{Author: "a", Text: "one\n\ttwo \U0001F3A4"}.Validate(), nil},
		{"longest message", chat.Message{Author: "a", Text: strings.Repeat("x", chat.MaxText)}.Validate(), nil},
		{"longer message", chat.Message{Author: "a", Text: strings.Repeat("x", chat.MaxText+1)}.Validate(), chat.ErrInvalid},
		{"empty message", chat.Message{Author: "a"}.Validate(), chat.ErrInvalid},
		{"message of nobody", chat.Message{Text: "x"}.Validate(), chat.ErrInvalid},
		{"not UTF-8", chat.Message{Author: "a", Text: "a\xffb"}.Validate(), chat.ErrInvalid},
		{"surrogate", chat.Message{Author: "a", Text: "\xed\xa0\x80"}.Validate(), chat.ErrInvalid},
		{"noncharacter", chat.Message{Author: "a", Text: "\uffff"}.Validate(), chat.ErrInvalid},
		{"delete", chat.Message{Author: "a", Text: "\x7f"}.Validate(), chat.ErrInvalid},
		{"key", chat.ValidateKey("ns/room/uid"), nil},
		{"empty key", chat.ValidateKey(""), chat.ErrInvalid},
		{"longer subject", chat.ValidateSubject(strings.Repeat("s", chat.MaxSubject+1)), chat.ErrInvalid},
	} {
		if !errors.Is(test.err, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, test.err, test.want)
		}
	}
}
