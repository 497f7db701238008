package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/gateway"
	"voiceroom.dev/voiceroom/web"
)

func TestPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 2, MaxMics: 1}, nil)
	a := w.do(call{method: "GET", path: "/r/default/any-room"})
	if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %s", a.status, a.header.Get("Content-Type"))
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": web.Policy,
		"X-Content-Type-Options":  "nosniff",
		"Referrer-Policy":         "no-referrer",
		"X-Frame-Options":         "DENY",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if again := w.do(call{method: "GET", path: "/r/default/any-room", header: http.Header{"If-None-Match": {a.header.Get("ETag")}}}); again.status != http.StatusNotModified {
		t.Errorf("unchanged: %d", again.status)
	}
	if a := w.do(call{method: "GET", path: "/web/api.js"}); a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "text/javascript") {
		t.Errorf("a module: %d %s", a.status, a.header.Get("Content-Type"))
	}
	if a := w.do(call{method: "HEAD", path: "/web/api.js"}); a.status != http.StatusOK || len(a.body) != 0 {
		t.Errorf("HEAD: %d with %d bytes", a.status, len(a.body))
	}
	for _, path := range []string{"/web/", "/web/no-such-file", "/web/..%2f..%2fembed.go"} {
		if a := w.do(call{method: "GET", path: path}); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}

func TestOtherOrigins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, v1alpha1.VoiceRoomSpec{MaxMembers: 2, MaxMics: 1}, func(c *gateway.Config) {
		c.AllowedOrigins = []string{"https://app.example.org"}
	})
	preflight := func(from string) answer {
		return w.do(call{method: "OPTIONS", path: w.path("/join"), header: http.Header{"Origin": {from}, "Access-Control-Request-Method": {"POST"}}})
	}
	a := preflight("https://app.example.org")
	if a.status != http.StatusNoContent || a.header.Get("Access-Control-Allow-Origin") != "https://app.example.org" ||
		!strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "Authorization") || a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("ours: %d %v", a.status, a.header)
	}
	for _, from := range []string{"https://evil.example.org", "https://app.example.org.evil.org", "null"} {
		if a := preflight(from); a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s may call", from)
		}
	}
	a = w.do(call{method: "GET", path: w.path(""), header: http.Header{"Origin": {"https://app.example.org"}}})
	if a.status != http.StatusOK || a.header.Get("Access-Control-Allow-Origin") == "" || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "Location") {
		t.Errorf("a request: %d %v", a.status, a.header)
	}
}
