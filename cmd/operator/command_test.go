package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/controllers/election"
)

func TestFlagsAreChecked(t *testing.T) {
	good := settings{namespace: "voiceroom-system", mediaNamespace: "voiceroom-media", mediaImage: "media:v1", lease: election.MinLease}
	secrets := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(secrets, []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*settings)
		says   string // empty: accepted
	}{
		"enough":           {func(*settings) {}, ""},
		"public URL":       {func(s *settings) { s.publicURL = "https://voice.example.org/" }, ""},
		"no namespace":     {func(s *settings) { s.namespace = "" }, "--namespace"},
		"no media":         {func(s *settings) { s.mediaNamespace = "" }, "--media-namespace"},
		"short lease":      {func(s *settings) { s.lease = time.Second }, "--lease"},
		"uneven lease":     {func(s *settings) { s.lease += time.Millisecond }, "--lease"},
		"one for both":     {func(s *settings) { s.mediaNamespace = s.namespace }, "--media-namespace"},
		"URL without a //": {func(s *settings) { s.publicURL = "voice.example.org" }, "--public-url"},
		"URL of a file":    {func(s *settings) { s.publicURL = "file:///etc" }, "--public-url"},
		"webhook":          {func(s *settings) { s.webhookURL, s.webhookSecrets = "https://shop.example.org/voice", secrets }, ""},
		"webhook unsigned": {func(s *settings) { s.webhookURL = "https://shop.example.org/voice" }, "--webhook-secret-file"},
		"secrets alone":    {func(s *settings) { s.webhookSecrets = secrets }, "--webhook-url"},
		"webhook in clear": {func(s *settings) { s.webhookURL, s.webhookSecrets = "http://shop.example.org", secrets }, "--webhook-url"},
		"no secrets file":  {func(s *settings) { s.webhookURL, s.webhookSecrets = "http://127.0.0.1", secrets+"-not" }, "--webhook-secret-file"},
		"no secret in it":  {func(s *settings) { s.webhookURL, s.webhookSecrets = "http://127.0.0.1", os.DevNull }, "--webhook-secret-file"},
	} {
		t.Run(name, func(t *testing.T) {
			s := good
			tt.change(&s)
			err := s.check()
			if (err == nil) != (tt.says == "") || err != nil && !strings.HasPrefix(err.Error(), tt.says) {
				t.Errorf("check: %v, want an error that names %q", err, tt.says)
			}
			if strings.HasSuffix(s.publicURL, "/") && err == nil {
				t.Errorf("public URL %q would make links with two slashes", s.publicURL)
			}
		})
	}
}

func TestMediaImageIsRequired(t *testing.T) {
	cmd := newCommand()
	cmd.SetArgs([]string{"--namespace", "voiceroom-system"})
	if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "media-image") {
		t.Errorf("without --media-image: %v", err)
	}
}
