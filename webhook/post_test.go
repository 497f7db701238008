package webhook

import (
	"strings"
	"testing"
	"time"
)

func TestCheckURL(t *testing.T) {
	for text, ok := range map[string]bool{
		"https://shop.example.org/voice?key=1":     true,
		"http://127.0.0.1:8080/hooks":              true,
		"http://[::1]/hooks":                       true,
		"http://localhost/hooks":                   true,
		"http://shop.default.svc/hooks":            true,
		"http://shop.default.svc.cluster.local":    true,
		"http://shop.example.org":                  false,
		"http://169.254.169.254/latest":            false,
		"http://svc":                               false,
		"https://user:password@shop.example.org":   false,
		"https://shop.example.org/#there":          false,
		"shop.example.org":                         false,
		"ftp://shop.example.org":                   false,
		"https://":                                 false,
		"":                                         false,
		"https://shop.example.org/%zz?secret=hunt": false,
	} {
		err := CheckURL(text)
		if (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && (strings.Contains(err.Error(), "password") || strings.Contains(err.Error(), "hunt")) {
			t.Errorf("%q: the error shows a secret: %v", text, err)
		}
	}
}

func TestBackoff(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 9: 256 * time.Second, 10: maxBackoff, 1000: maxBackoff} {
		if got := backoff(failures, 1); got != want {
			t.Errorf("after %d failures at most %v, want %v", failures, got, want)
		}
	}
	if got := backoff(5, 0); got != 0 {
		t.Errorf("with the least luck: %v", got)
	}
	if got := retryAfter("100000", t0); got != maxRetryAfter {
		t.Errorf("a receiver may ask to wait %v", got)
	}
	if got := retryAfter("soon", t0); got != 0 {
		t.Errorf("nonsense makes wait %v", got)
	}
}
