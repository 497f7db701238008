package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"voiceroom.dev/voiceroom/chat/nats/natsserver"
	"voiceroom.dev/voiceroom/cmd/internal/release"
)

// settings are the command's flags.
type settings struct {
	listen       string
	healthListen string
	storeDir     string
	maxStore     string
	user         string
	passwordFile string
	tokenFile    string
	tlsCert      string
	tlsKey       string
	logLevel     slog.Level
}

func newCommand() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "chat --store-dir DIR [--token-file FILE | --user NAME --password-file FILE]",
		Short: "Serve voice rooms' chat: NATS JetStream that syncs every write",
		Long: `chat holds the groups, members and messages of voice rooms. It is nats-server
with JetStream in one process: one server, one store directory, no configuration
file. Every write is on disk before it is acknowledged, so it may be killed at
any moment and started again on the same directory.

Run one per store directory (a StatefulSet with one replica and its own volume).
For more than one replica run a NATS cluster of your own with JetStream
"sync_interval: always", and name it in the ChatProvider instead.

Clients are the operator and the gateway, nobody else. They show a token, or a
user and a password; without either, chat listens on loopback only.

On --health-listen it answers, without credentials and without anybody's data:
  /livez    200 while the process runs
  /readyz   200 while clients can be served and every stream is sound
  /metrics  for Prometheus`,
		Example: `  # On your machine
  chat --listen 127.0.0.1:4222 --store-dir ./chat-data

  # In a pod
  chat --store-dir /data --max-store 8Gi --token-file /var/run/secrets/chat/token \
    --tls-cert /tls/tls.crt --tls-key /tls/tls.key

  # What it holds (the NATS command line client)
  nats --server nats://127.0.0.1:4222 stream ls`,
		Version:       release.Version(),
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true, // main prints them
	}
	s.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log := slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: s.logLevel}))
		cfg, err := s.config(log)
		if err != nil {
			return err
		}
		return run(cmd.Context(), cfg, s.healthListen, log)
	}
	return cmd
}

func (s *settings) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&s.listen, "listen", ":4222", "host:port for clients; port 0 takes a free one")
	flags.StringVar(&s.healthListen, "health-listen", ":8222", "host:port for probes over HTTP; empty turns them off")
	flags.StringVar(&s.storeDir, "store-dir", "", "directory that holds everything; made if missing (required)")
	flags.StringVar(&s.maxStore, "max-store", "", "most that may be stored, such as 8Gi (default: three quarters of the free space)")
	flags.StringVar(&s.user, "user", "", "user that clients log in as; needs --password-file")
	flags.StringVar(&s.passwordFile, "password-file", "", "file that holds the user's password")
	flags.StringVar(&s.tokenFile, "token-file", "", "file that holds the token that clients show")
	flags.StringVar(&s.tlsCert, "tls-cert", "", "PEM certificate: clients must use TLS; re-read for each connection")
	flags.StringVar(&s.tlsKey, "tls-key", "", "PEM key of --tls-cert")
	flags.TextVar(&s.logLevel, "log-level", slog.LevelInfo, "least level to log: debug, info, warn or error")
	_ = cmd.MarkFlagRequired("store-dir") // fails only for a flag that does not exist
	cmd.MarkFlagsMutuallyExclusive("token-file", "user")
	cmd.MarkFlagsRequiredTogether("user", "password-file")
	cmd.MarkFlagsRequiredTogether("tls-cert", "tls-key")
}

// config turns flags into what the server needs, and reads the secrets.
func (s settings) config(log *slog.Logger) (natsserver.Config, error) {
	cfg := natsserver.Config{
		StoreDir: s.storeDir,
		Listen:   s.listen,
		User:     s.user,
		CertFile: s.tlsCert,
		KeyFile:  s.tlsKey,
		Log:      log,
	}
	var err error
	if s.maxStore != "" {
		size, err := resource.ParseQuantity(s.maxStore)
		if err != nil || size.Value() <= 0 {
			return cfg, fmt.Errorf("--max-store: %q is not a positive size such as 8Gi", s.maxStore)
		}
		cfg.MaxStore = size.Value()
	}
	if cfg.Password, err = secret("--password-file", s.passwordFile); err != nil {
		return cfg, err
	}
	if cfg.Token, err = secret("--token-file", s.tokenFile); err != nil {
		return cfg, err
	}
	if cfg.Token == "" && cfg.User == "" && !loopback(s.listen) {
		return cfg, fmt.Errorf("--listen %s is open to others: give --token-file, or --user and --password-file, or listen on 127.0.0.1", s.listen)
	}
	return cfg, nil
}

// secret reads a file that holds one secret, less the newline at its end.
func secret(flag, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	data = bytes.TrimRight(data, "\r\n")
	if len(data) == 0 {
		return "", fmt.Errorf("%s: %s is empty", flag, path)
	}
	return string(data), nil
}

func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// run serves until ctx ends.
func run(ctx context.Context, cfg natsserver.Config, healthListen string, log *slog.Logger) (err error) {
	probes, err := serveProbes(healthListen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, probes.close()) }()

	server, err := natsserver.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer server.Shutdown()
	probes.ready(server)
	log.Info("ready", "url", server.URL(), "health", probes.addr(), "store", cfg.StoreDir)
	select {
	case <-ctx.Done():
		log.Info("stopping")
		return nil
	case <-server.Done():
		return errors.New("the server stopped by itself; its log says why")
	}
}
