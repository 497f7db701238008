// Package natsserver runs a nats-server inside this process, set up to hold
// voice rooms' chat: JetStream on disk, and every write synced before it is
// acknowledged.
//
// It is what cmd/chat runs, and what tests and the demo use instead of a mock.
package natsserver

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Config of one server. Only StoreDir is required.
type Config struct {
	StoreDir string // holds all state; one server at a time, on a disk that honours fsync
	Listen   string // host:port for clients (default 127.0.0.1:0, a free port)
	MaxStore int64  // bytes that JetStream may fill (default: three quarters of the free space)

	// At most one kind of credentials that clients must show (default: none).
	User, Password string
	Token          string

	// Certificate and key files in PEM: clients must use TLS. They are read for
	// each connection, so renewed ones need no restart.
	CertFile, KeyFile string

	StartTimeout time.Duration // default 30s; recovery reads every stored block
	Log          *slog.Logger  // default: discard
}

// Server is a running server. Its methods are safe for concurrent use.
type Server struct {
	nats *server.Server
	tls  bool
	done chan struct{}
}

// Start returns when clients can be served. The caller must Shutdown the server.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	opts, err := options(cfg)
	if err != nil {
		return nil, fmt.Errorf("configure NATS server: %w", err)
	}
	lock, err := lockStore(cfg.StoreDir)
	if err != nil {
		return nil, fmt.Errorf("start NATS server: %w", err)
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("configure NATS server: %w", err), lock.Close())
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	fatal := make(chan error, 1)
	ns.SetLoggerV2(logger{log, fatal}, log.Enabled(ctx, slog.LevelDebug), false, false)
	s := &Server{nats: ns, tls: opts.TLSConfig != nil, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer lock.Close() // nothing was written to it
		ns.Start()         // returns once it listens
		ns.WaitForShutdown()
	}()
	if err := s.waitReady(ctx, cmp.Or(cfg.StartTimeout, 30*time.Second), fatal); err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("start NATS server on %s with store %s: %w", opts.Host, cfg.StoreDir, err)
	}
	return s, nil
}

func (s *Server) waitReady(ctx context.Context, timeout time.Duration, fatal <-chan error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not ready within %v", timeout))
	defer cancel()
	for !s.nats.ReadyForConnections(100 * time.Millisecond) {
		select {
		case err := <-fatal:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		default:
		}
	}
	if !s.nats.JetStreamEnabled() {
		return errors.New("JetStream did not start")
	}
	return nil
}

func options(cfg Config) (*server.Options, error) {
	if cfg.StoreDir == "" {
		return nil, errors.New("the store directory is empty")
	}
	if cfg.Token != "" && (cfg.User != "" || cfg.Password != "") {
		return nil, errors.New("both a token and a user are set")
	}
	if (cfg.User == "") != (cfg.Password == "") {
		return nil, errors.New("user and password need each other")
	}
	host, port, err := splitListen(cfg.Listen)
	if err != nil {
		return nil, err
	}
	opts := &server.Options{
		ServerName:         "voiceroom-chat",
		Host:               host,
		Port:               port,
		NoSigs:             true, // signals belong to the process
		JetStream:          true,
		StoreDir:           cfg.StoreDir,
		JetStreamMaxStore:  cfg.MaxStore,
		JetStreamMaxMemory: 64 << 20, // consumers' state; all streams are on disk
		SyncAlways:         true,     // acknowledged means on disk
		Username:           cfg.User,
		Password:           cfg.Password,
		Authorization:      cfg.Token,
	}
	if cfg.CertFile != "" || cfg.KeyFile != "" {
		if opts.TLSConfig, err = tlsConfig(cfg.CertFile, cfg.KeyFile); err != nil {
			return nil, err
		}
		opts.TLS = true
		opts.TLSTimeout = 5
	}
	return opts, nil
}

func splitListen(listen string) (host string, port int, err error) {
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	host, service, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("listen address: %w", err)
	}
	if port, err = strconv.Atoi(service); err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("listen address: port %q is not a number from 0 to 65535", service)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

func tlsConfig(certFile, keyFile string) (*tls.Config, error) {
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("load certificate: %w", err)
		}
		return &pair, nil
	}
	if _, err := load(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return load() },
	}, nil
}

// URL is where clients connect, without credentials.
func (s *Server) URL() string {
	scheme := "nats://"
	if s.tls {
		scheme = "tls://"
	}
	return scheme + s.nats.Addr().String()
}

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.nats.Addr() }

// Healthz answers 200 while clients can be served and every stream is sound,
// else 5xx. It shows no data and needs no credentials.
func (s *Server) Healthz() http.Handler { return http.HandlerFunc(s.nats.HandleHealthz) }

// Done is closed when the server has stopped, for whatever reason.
func (s *Server) Done() <-chan struct{} { return s.done }

// Shutdown stops the server and returns when its files are closed. It may be
// called more than once.
func (s *Server) Shutdown() {
	s.nats.Shutdown()
	<-s.done
}
