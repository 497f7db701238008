package media

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// set is a key set of these keys.
func set(keys ...token.JWK) *token.PublicSet { return &token.PublicSet{Keys: keys} }

func key(id string, expires int64) token.JWK {
	return token.JWK{KeyType: "OKP", Curve: "Ed25519", ID: id, X: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", Expires: expires}
}

// Keys of room tokens that go before their time are not trusted any more, however the pod
// learns of it; those whose time is over go in peace.
func TestKeysThatGo(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	soon, later := now.Add(clockSkew/2).Unix(), now.Add(2*clockSkew).Unix()
	tests := []struct {
		name      string
		old, next *token.PublicSet
		want      []string // not trusted any more
	}{
		{"the first set", nil, set(key("a", 0)), nil},
		{"one is added", set(key("a", 0)), set(key("a", 0), key("b", 0)), nil},
		{"one is to retire", set(key("a", 0)), set(key("a", later), key("b", 0)), nil},
		{"one has retired", set(key("a", now.Unix()-1), key("b", 0)), set(key("b", 0)), nil},
		{"one has retired by a clock that is ahead", set(key("a", soon), key("b", 0)), set(key("b", 0)), nil},
		{"one goes", set(key("a", 0), key("b", 0)), set(key("b", 0)), []string{"a"}},
		{"one goes that was to retire", set(key("a", later), key("b", 0)), set(key("b", 0)), []string{"a"}},
		{"all are replaced", set(key("a", 0), key("b", 0)), set(key("c", 0)), []string{"a", "b"}},
		{"all go", set(key("a", 0)), set(), []string{"a"}},
	}
	for _, test := range tests {
		for _, way := range []string{"file", "push"} {
			t.Run(test.name+" by "+way, func(t *testing.T) {
				var gone []string
				k := newKeyring(t.TempDir(), func() time.Time { return now })
				k.distrust = func(keys []string) {
					if len(keys) > 0 && k.trusts(keys[0]) {
						t.Error("a key that goes is still trusted")
					}
					gone = append(gone, keys...)
				}
				tell := func(s *token.PublicSet) {
					if way == "push" {
						if err := k.set(mediaapi.Keys{Tokens: s, Operator: s, Gateway: s}); err != nil {
							t.Fatal(err)
						}
						return
					}
					for _, name := range []string{mediaapi.TokensFile, mediaapi.OperatorFile, mediaapi.GatewayFile} {
						if err := os.WriteFile(filepath.Join(k.dir, name), marshal(s), 0o600); err != nil {
							t.Fatal(err)
						}
					}
					k.reload(slog.Default())
					k.reload(slog.Default()) // nothing has changed
				}
				if test.old != nil {
					tell(test.old)
				}
				tell(test.next)
				if !slices.Equal(gone, test.want) {
					t.Errorf("not trusted any more: %v, want %v", gone, test.want)
				}
			})
		}
	}
}

// A token that was verified just before its key went spends nothing after it.
func TestKeyGoesWhileATokenIsOnItsWay(t *testing.T) {
	k := newTestKeeper(t)
	for _, c := range []room.Command{room.Renew{Until: time.Now().Add(time.Hour)}, room.Reserve{Subject: "ann", Session: "s"}} {
		if err := k.do(room.Control, c); err != nil {
			t.Fatal(err)
		}
	}
	k.trusts = func(string) bool { return false }
	_, err := k.openSession(1, token.Room{Session: "s", Key: "a"}, nil, journey{})
	if codeOf(err) != mediaapi.TokenUnknownKey {
		t.Errorf("got %v", err)
	}
	if m, _ := k.room.View().Session("s"); m.Status != room.Reserved {
		t.Errorf("the session is %q", m.Status)
	}
}
