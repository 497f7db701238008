package room

import (
	"encoding/json"
	"testing"
)

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

func TestDecodeRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, tc := range []struct{ name, body string }{
		{"reserve", `{}`}, // never travels as a command
		{"kick", `{"member":1,"colour":"red"}`},
		{"kick", `{"member":1}{"member":2}`},
		{"kick", `{"member":-1}`},
		{"mute", `[]`},
	} {
		if c, err := Decode(tc.name, []byte(tc.body)); err == nil {
			t.Errorf("%s %s was read as %+v", tc.name, tc.body, c)
		}
	}
	if c, err := Decode("leave-mic", nil); err != nil || c != (LeaveMic{}) {
		t.Errorf("an empty body is all defaults, not %v (%v)", c, err)
	}
}
