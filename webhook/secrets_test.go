package webhook

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func TestParseSecrets(t *testing.T) {
	raw := base64.StdEncoding.EncodeToString
	for name, tt := range map[string]struct {
		text string
		keys int
		says string
	}{
		"one":           {testSecret, 1, ""},
		"two":           {"\n" + testSecret + "\r\n\n  " + otherSecret + "\n", 2, ""},
		"without a tag": {strings.TrimPrefix(testSecret, "whsec_"), 1, ""},
		"longest":       {raw(make([]byte, 64)), 1, ""},
		"none":          {"\n \n", 0, "no webhook secret"},
		"too short":     {testSecret + "\n" + raw(make([]byte, 23)), 0, "line 2"},
		"too long":      {raw(make([]byte, 65)), 0, "65 bytes"},
		"not base64":    {"correct horse battery staple", 0, "base64"},
	} {
		keys, err := ParseSecrets([]byte(tt.text))
		if len(keys) != tt.keys || (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
		if err != nil && strings.Contains(err.Error(), "horse") {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
}

// TestSecretsChange: whatever is in the file signs the next delivery, all of it.
func TestSecretsChange(t *testing.T) {
	r, p, c := newReceiver(t), newPod("a"), config("")
	var secrets atomic.Value
	secrets.Store(testSecret)
	c.URL, c.Secrets = r.URL, func() ([]byte, error) { return []byte(secrets.Load().(string)), nil }
	start(t, c, pods{"a": p})
	caught(t, r, p)
	secrets.Store(otherSecret + "\n\n" + testSecret + "\n")
	p.announce(1, "with both ")
	caught(t, r, p)
	secrets.Store("nonsense")
	p.announce(1, "not sent at once ")
	until(t, "deliveries wait for secrets that make sense", func() bool { return len(c.Clock.(*hurry).waited()) > 3 })
	secrets.Store(testSecret)
	caught(t, r, p)
}

// TestTimestampIsOfTheAttempt: the library's own Verify, which wants a fresh timestamp,
// takes what a sender with a real clock sends.
func TestTimestampIsOfTheAttempt(t *testing.T) {
	p, c := newPod("a"), config("")
	r := newReceiver(t)
	verified := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, err := readAll(req)
		if err == nil {
			err = r.verifier.Verify(body, req.Header)
		}
		verified <- err
	}))
	defer server.Close()
	c.URL, c.Clock = server.URL, wall{}
	start(t, c, pods{"a": p})
	must(t, <-verified)
}
