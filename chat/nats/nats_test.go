package nats_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/chattest"
	"voiceroom.dev/voiceroom/chat/nats"
	"voiceroom.dev/voiceroom/chat/nats/natsserver"
)

// Tests restart servers: do not make them wait.
const testReconnectWait = 20 * time.Millisecond

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// single is a real server that can be stopped and started on one address and store.
type single struct {
	cfg     natsserver.Config
	running *natsserver.Server
}

func newSingle(t testing.TB, cfg natsserver.Config) *single {
	t.Helper()
	if cfg.StoreDir == "" {
		cfg.StoreDir = t.TempDir()
	}
	s := &single{cfg: cfg}
	s.start(t)
	s.cfg.Listen = s.running.Addr().String()
	t.Cleanup(func() { s.running.Shutdown() })
	return s
}

func (s *single) start(t testing.TB) {
	t.Helper()
	var err error
	if s.running, err = natsserver.Start(t.Context(), s.cfg); err != nil {
		t.Fatal(err)
	}
}

func (s *single) stop(testing.TB) { s.running.Shutdown() }

func (s *single) url() string { return "nats://" + s.cfg.Listen }

func open(t testing.TB, cfg nats.Config) *nats.Provider {
	t.Helper()
	p, err := nats.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProvider(t *testing.T) {
	t.Parallel()
	chattest.Run(t, func(t *testing.T) chattest.Server {
		s := newSingle(t, natsserver.Config{User: "operator", Password: "right"})
		with := func(password string) func(*testing.T) chat.Provider {
			return func(t *testing.T) chat.Provider {
				return open(t, nats.Config{URL: s.url(), User: "operator", Password: password, ReconnectWait: testReconnectWait})
			}
		}
		return chattest.Server{
			Open: with("right"), Denied: with("wrong"),
			Stop:  func(t *testing.T) { s.stop(t) },
			Start: func(t *testing.T) { s.start(t) },
		}
	})
}
