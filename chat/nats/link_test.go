package nats

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/nats/natsserver"
)

// A call that waits for an answer ends with its connection, not with its timeout.
func TestCallEndsWithConnection(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*natsserver.Server, *Provider){
		"server stops":    func(s *natsserver.Server, _ *Provider) { s.Shutdown() },
		"provider closes": func(_ *natsserver.Server, p *Provider) { _ = p.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := natsserver.Start(t.Context(), natsserver.Config{StoreDir: t.TempDir()})
			must(t, err)
			defer s.Shutdown()
			p, err := New(Config{URL: s.URL(), Timeout: time.Hour})
			must(t, err)
			defer p.Close()
			waiting, result := make(chan struct{}), make(chan error, 1)
			go func() {
				result <- p.call(context.Background(), "wait", func(ctx context.Context, _ *store) error {
					close(waiting)
					<-ctx.Done()
					return ctx.Err()
				})
			}()
			<-waiting
			end(s, p)
			select {
			case err := <-result:
				if !errors.Is(err, chat.ErrUnavailable) {
					t.Errorf("got %v, want ErrUnavailable", err)
				}
			case <-time.After(30 * time.Second):
				t.Error("the call still waits")
			}
		})
	}
}

// A subscription never skips a message in silence.
func TestFeedNoticesGap(t *testing.T) {
	t.Parallel()
	p := start(t, Config{})
	g, err := p.CreateGroup(t.Context(), "room", roomy)
	must(t, err)
	within(t, p, func(ctx context.Context, st *store) error {
		f, err := p.openFeed(ctx, st, g.ID, 0)
		if err != nil {
			return err
		}
		defer f.close()
		f.next = 0 // as if one had been sent and lost before the first that arrives
		if _, err := p.Post(ctx, g.ID, chat.Message{Author: "guest:1", Text: "x"}); err != nil {
			return err
		}
		err = f.follow(ctx, func(m chat.Message) { t.Errorf("delivered %+v after a gap", m) })
		if err == nil || !strings.Contains(err.Error(), "lost") {
			t.Errorf("got %v, want an error that says some were lost", err)
		}
		return nil
	})
}

func TestFeedControl(t *testing.T) {
	heartbeat := func(header ...string) *nats.Msg {
		msg := &nats.Msg{Header: nats.Header{}}
		for i := 0; i < len(header); i += 2 {
			msg.Header.Set(header[i], header[i+1])
		}
		return msg
	}
	for _, test := range []struct {
		name string
		msg  *nats.Msg
		ends bool
	}{
		{"in step", heartbeat("Status", "100", "Nats-Last-Consumer", "6"), false},
		{"says nothing", heartbeat("Status", "100"), false},
		{"the last message was lost", heartbeat("Status", "100", "Nats-Last-Consumer", "7"), true},
		{"malformed", heartbeat("Status", "100", "Nats-Last-Consumer", "x"), true},
		{"consumer deleted", heartbeat("Status", "409", "Description", "Consumer Deleted"), true},
	} {
		f := &feed{next: 7}
		if err := f.control(test.msg); (err != nil) != test.ends {
			t.Errorf("%s: got %v", test.name, err)
		}
	}
}
