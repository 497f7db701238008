package natsserver

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// Everything else rests on this: what is acknowledged is on disk.
func TestSyncsEveryWrite(t *testing.T) {
	s := start(t, Config{StoreDir: t.TempDir(), MaxStore: 1 << 20})
	cfg := s.nats.JetStreamConfig()
	if !cfg.SyncAlways {
		t.Error("writes are not synced before they are acknowledged")
	}
	if cfg.MaxStore != 1<<20 {
		t.Errorf("the store's limit is %d", cfg.MaxStore)
	}
}

func TestHealthz(t *testing.T) {
	s := start(t, Config{StoreDir: t.TempDir()})
	get := func() int {
		answer := httptest.NewRecorder()
		s.Healthz().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		return answer.Code
	}
	if code := get(); code != http.StatusOK {
		t.Errorf("running: %d", code)
	}
	s.Shutdown()
	s.Shutdown()
	if code := get(); code < 500 {
		t.Errorf("stopped: %d", code)
	}
	select {
	case <-s.Done():
	default:
		t.Error("Done is not closed after Shutdown")
	}
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	used := filepath.Join(dir, "used")
	start(t, Config{StoreDir: used})
	for _, test := range []struct {
		name string
		cfg  Config
		want string // part of the error
	}{
		{"no store", Config{}, "store directory"},
		{"store is a file", Config{StoreDir: file}, "store directory"},
		{"store is in use", Config{StoreDir: used}, "another server"},
		{"no port", Config{StoreDir: dir, Listen: "127.0.0.1"}, "port"},
		{"port is a name", Config{StoreDir: dir, Listen: "127.0.0.1:nats"}, "port"},
		{"port is taken", Config{StoreDir: dir, Listen: taken.Addr().String()}, "address already in use"},
		{"user without password", Config{StoreDir: dir, User: "u"}, "password"},
		{"token and user", Config{StoreDir: dir, User: "u", Password: "p", Token: "t"}, "token"},
		{"certificate without key", Config{StoreDir: dir, CertFile: file}, "certificate"},
		{"no certificate in the file", Config{StoreDir: dir, CertFile: file, KeyFile: file}, "certificate"},
	} {
		s, err := Start(t.Context(), test.cfg)
		if err == nil {
			s.Shutdown()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want an error that mentions %q", test.name, err, test.want)
		}
	}
	// A refusal leaves the store free.
	start(t, Config{StoreDir: dir, StartTimeout: 10 * time.Second})
}
