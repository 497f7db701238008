package apikey_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"voiceroom.dev/voiceroom/gateway/apikey"
)

const secret = "correct-horse-battery-staple"

// digest is sha256 of secret.
const digest = "sha256:87cbebfeebc05f7c54ac9336c4b4bbec831227a641951a4bde7edd56020f8590"

func TestFind(t *testing.T) {
	keys, err := apikey.Parse(map[string][]byte{"shop": []byte(digest + "\n"), "forum": []byte("another-key-of-some-length")})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		key, want string
	}{
		{secret, "shop"},
		{"another-key-of-some-length", "forum"},
		{secret + "x", ""},
		{secret[:len(secret)-1], ""},
		{strings.ToUpper(secret), ""},
		{"", ""},
		{digest, ""},
	} {
		if got, ok := keys.Find(test.key); got != test.want || ok != (test.want != "") {
			t.Errorf("Find(%q) = %q, %v; want %q", test.key, got, ok, test.want)
		}
	}
	if _, ok := (*apikey.Set)(nil).Find(secret); ok {
		t.Error("no keys at all let one in")
	}
}

func TestParseRefuses(t *testing.T) {
	for name, value := range map[string]string{
		"short":      "tooshort",
		"empty":      "",
		"hexless":    "sha256:zz",
		"truncated":  digest[:20],
		"with:colon": secret,
		"-dash":      secret,
		"":           secret,
	} {
		_, err := apikey.Parse(map[string][]byte{name: []byte(value)})
		if err == nil {
			t.Errorf("Parse took %q with %q", name, value)
			continue
		}
		if value != "" && strings.Contains(err.Error(), value) {
			t.Errorf("the error %q tells the key", err)
		}
	}
}

// A key that was taken away is gone, whatever else is wrong with the others.
func TestParseKeepsWhatIsWellFormed(t *testing.T) {
	keys, err := apikey.Parse(map[string][]byte{"shop": []byte(secret), "short": []byte("x"), "twin": []byte(digest)})
	if err == nil || !strings.Contains(err.Error(), `"short"`) || !strings.Contains(err.Error(), `"twin"`) {
		t.Errorf("error %v, want one about short and twin", err)
	}
	if name, ok := keys.Find(secret); !ok || name != "shop" || keys.Len() != 1 {
		t.Errorf("found %q, %v of %d keys; want shop of 1", name, ok, keys.Len())
	}
}

func TestLoadReadsAMountedSecret(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"shop": secret, "..data": "not a key"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := apikey.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if name, ok := keys.Find(secret); !ok || name != "shop" || keys.Len() != 1 {
		t.Errorf("found %q, %v of %d keys; want shop of 1", name, ok, keys.Len())
	}
}
