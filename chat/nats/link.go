package nats

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"voiceroom.dev/voiceroom/chat"
)

// A half-open connection is noticed after pingEvery * (pingsLost + 1).
const (
	pingEvery = 5 * time.Second
	pingsLost = 2
)

// link is the connection, which is remade for ever. What happens between two
// breaks is a session: an operation belongs to one, and ends with it at once
// instead of waiting for an answer that cannot come.
type link struct {
	cfg  Config
	conn *nats.Conn
	log  *slog.Logger

	violations atomic.Int64 // permission violations, which the server reports out of band

	tried   chan struct{} // closed after the first attempt to connect
	onTried sync.Once

	mu      sync.Mutex
	session *session // nil: not connected
	why     error    // why there is no session
}

// session is one unbroken connection.
type session struct {
	ctx   context.Context //nolint:containedctx // ends when the connection breaks
	end   context.CancelFunc
	store *store
	setup chan struct{} // a lock on ready that can be given up
	ready bool          // the streams are known to exist
}

// dial returns after the first attempt to connect.
func dial(cfg Config) (*link, error) {
	l := &link{cfg: cfg, log: cfg.Log, tried: make(chan struct{})}
	opts, err := l.options()
	if err != nil {
		return nil, err
	}
	if l.conn, err = nats.Connect(cfg.URL, opts...); err != nil {
		return nil, err
	}
	<-l.tried // the callbacks come from a goroutine of the connection
	return l, nil
}

func (l *link) options() ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(l.cfg.Client),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(l.cfg.ReconnectWait),
		nats.ReconnectJitter(l.cfg.ReconnectWait/4, l.cfg.ReconnectWait/4),
		nats.IgnoreAuthErrorAbort(), // credentials may be put right on the server
		nats.ReconnectBufSize(-1),   // a change that was given up must not be sent later
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(pingsLost),
		nats.ConnectHandler(l.connected),
		nats.ReconnectHandler(l.connected),
		nats.DisconnectErrHandler(l.disconnected),
		nats.ReconnectErrHandler(l.disconnected),
		nats.ErrorHandler(l.asyncError),
	}
	switch {
	case len(l.cfg.Creds) > 0:
		opts = append(opts, nats.UserCredentialBytes(l.cfg.Creds))
	case l.cfg.Token != "":
		opts = append(opts, nats.Token(l.cfg.Token))
	case l.cfg.User != "":
		opts = append(opts, nats.UserInfo(l.cfg.User, l.cfg.Password))
	}
	if len(l.cfg.CA) > 0 {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(l.cfg.CA) {
			return nil, fmt.Errorf("%w: CA holds no PEM certificate", chat.ErrInvalid)
		}
		opts = append(opts, nats.Secure(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}))
	}
	return opts, nil
}

// connected begins a session. The connection's callbacks come one at a time, in order.
func (l *link) connected(conn *nats.Conn) {
	defer l.onTried.Do(func() { close(l.tried) })
	l.mu.Lock()
	defer l.mu.Unlock()
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(l.cfg.Timeout))
	if err != nil {
		l.lose(err)
		return
	}
	ctx, end := context.WithCancel(context.Background())
	l.session = &session{
		ctx: ctx, end: end,
		store: &store{js: js, names: names(l.cfg.Name)},
		setup: make(chan struct{}, 1),
	}
	l.log.Info("connected to NATS", "server", conn.ConnectedUrlRedacted())
}

// disconnected ends the session; it is also told of each failed attempt to get a new one.
func (l *link) disconnected(_ *nats.Conn, err error) {
	defer l.onTried.Do(func() { close(l.tried) })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose(err)
}

// lose ends the session, if there is one. l.mu is held.
func (l *link) lose(err error) {
	if err == nil {
		err = errors.New("connection lost")
	}
	if l.session != nil {
		l.log.Warn("lost NATS", "error", err)
		l.session.end()
		l.session = nil
	}
	l.why = err
}

func (l *link) asyncError(_ *nats.Conn, _ *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		l.violations.Add(1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil { // else it says again, for each attempt, why we are not connected
		l.log.Warn("NATS reported an error", "error", err)
	}
}

func (l *link) close() {
	l.mu.Lock()
	l.lose(nats.ErrConnectionClosed)
	l.mu.Unlock()
	l.conn.Close()
}

// use runs op in the current session.
func (l *link) use(ctx context.Context, op func(context.Context, *store) error) error {
	l.mu.Lock()
	s, why := l.session, l.why
	l.mu.Unlock()
	if s == nil {
		if denied(why) {
			return why
		}
		return fmt.Errorf("%w: %w", chat.ErrUnavailable, why)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()

	before := l.violations.Load()
	err := l.prepare(ctx, s)
	if err == nil {
		err = op(ctx, s.store)
	}
	switch {
	case err == nil:
		return nil
	case s.ctx.Err() != nil:
		return fmt.Errorf("%w: connection lost: %w", chat.ErrUnavailable, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, jetstream.ErrStreamNotFound):
		l.forget(s) // somebody removed our streams: make them again next time
	case ctx.Err() != nil && l.violations.Load() != before:
		// The server drops what we may not send, so all the caller sees is silence.
		return fmt.Errorf("%w: %w", nats.ErrPermissionViolation, err)
	}
	return err
}

// prepare makes the streams once per session.
func (l *link) prepare(ctx context.Context, s *session) error {
	select {
	case s.setup <- struct{}{}:
		defer func() { <-s.setup }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.ready {
		return nil
	}
	if err := s.store.makeStreams(ctx, l.cfg.Replicas, l.cfg.History); err != nil {
		return err
	}
	s.ready = true
	return nil
}

func (l *link) forget(s *session) {
	s.setup <- struct{}{}
	s.ready = false
	<-s.setup
}

// denied reports that the server refuses us, rather than failing. Some refusals
// reach us only as the text of the connection's last error.
func denied(err error) bool {
	for _, final := range []error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
		nats.ErrPermissionViolation, jetstream.ErrJetStreamNotEnabledForAccount,
	} {
		if errors.Is(err, final) {
			return true
		}
	}
	return err != nil && strings.Contains(strings.ToLower(err.Error()), "authorization violation")
}
