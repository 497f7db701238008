package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"voiceroom.dev/voiceroom/cmd/internal/release"
	"voiceroom.dev/voiceroom/cmd/internal/telemetry"
	"voiceroom.dev/voiceroom/media"
	"voiceroom.dev/voiceroom/media/opus"
)

// settings are the command's flags.
type settings struct {
	podUID   string
	control  string
	health   string
	media    string
	keys     string
	tls      string
	tick     time.Duration
	grace    time.Duration
	logLevel slog.Level
}

func newCommand() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "media --pod-uid UID --control IP:PORT --health IP:PORT --media [IP]:PORT --keys DIR --tls DIR",
		Short: "Serve one voice room: WebRTC for its clients, a control API for the operator",
		Long: `media holds one voice room in memory, from when the operator hands it over until
the room has ended; then it exits 0. A process never holds a second room. It has
no Kubernetes credentials and keeps nothing on disk.

It listens on three addresses:
  --control  HTTPS for operator and gateway, who prove themselves with signed
             tokens meant for --pod-uid; keep it inside the cluster
  --health   HTTP for /healthz, /readyz and /metrics
  --media    WebRTC for everybody, UDP and TCP on one port

--keys holds the public keys tokens.json, operator.json and gateway.json; --tls
holds tls.crt and tls.key of the control API. Both are read again when they
change. Until they exist, /readyz says so.

Traces go to the OpenTelemetry collector that OTEL_EXPORTER_OTLP_ENDPOINT names, over HTTP.

On SIGTERM a pod that nobody is connected to exits 0 at once. Otherwise /readyz
fails, and it serves on, its control API too, so that the operator can move the
room to another pod without a gap; it exits 0 once everybody has gone. Whoever is
still there after --grace, or on a second signal, is told to join again elsewhere.`,
		Example: `  # In a pod, as the operator runs it
  media --pod-uid=$(POD_UID) --control=$(POD_IP):9443 --health=$(POD_IP):9090 \
    --media=:40000 --keys=/etc/voiceroom/keys --tls=/etc/voiceroom/tls

  # Is it ready, and what has it counted?
  curl http://$POD_IP:9090/readyz
  curl http://$POD_IP:9090/metrics`,
		Args:          cobra.NoArgs,
		Version:       release.Version(),
		SilenceUsage:  true,
		SilenceErrors: true, // main prints them
	}
	flags := cmd.Flags()
	flags.StringVar(&s.podUID, "pod-uid", "", "UID of this pod: the audience of callers' tokens")
	flags.StringVar(&s.control, "control", "", "ip:port of the control API")
	flags.StringVar(&s.health, "health", "", "ip:port of probes and metrics")
	flags.StringVar(&s.media, "media", "", "ip:port of WebRTC; without an ip, all addresses of the control address's family")
	flags.StringVar(&s.keys, "keys", "", "directory of public keys")
	flags.StringVar(&s.tls, "tls", "", "directory of the control API's certificate")
	flags.DurationVar(&s.tick, "audience-tick", 20*time.Millisecond,
		fmt.Sprintf("how often who holds no microphone is sent what was said since: 0, for at once, to %v; longer costs less CPU", media.MaxAudienceTick))
	flags.DurationVar(&s.grace, "grace", 50*time.Second, "how long people may stay after SIGTERM; less than the pod's terminationGracePeriodSeconds")
	flags.TextVar(&s.logLevel, "log-level", slog.LevelInfo, "least level to log: debug, info, warn or error")
	for _, name := range []string{"pod-uid", "control", "health", "media", "keys", "tls"} {
		_ = cmd.MarkFlagRequired(name) // fails only for a flag that does not exist
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log := slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: s.logLevel}))
		cfg, err := s.config(log)
		if err != nil {
			return err
		}
		stop, err := telemetry.Start(cmd.Context(), "voiceroom-media", log)
		if err != nil {
			return err
		}
		defer stop()
		return run(cmd.Context(), cfg, s.grace)
	}
	return cmd
}

// run serves until the pod's work is done. The end of ctx, by a first signal, drains the pod; grace
// later, or by a second signal, it stops.
func run(ctx context.Context, cfg media.Config, grace time.Duration) error {
	server, err := media.New(cfg)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var draining sync.WaitGroup
	draining.Go(func() {
		defer stop()
		select {
		case <-ctx.Done():
		case <-serving.Done():
			return
		}
		again, forget := signal.NotifyContext(serving, syscall.SIGINT, syscall.SIGTERM)
		defer forget()
		server.Drain()
		patience := time.NewTimer(grace)
		defer patience.Stop()
		select {
		case <-again.Done():
		case <-patience.C:
		}
	})
	err = server.Run(serving)
	stop()
	draining.Wait()
	return err
}

func (s *settings) config(log *slog.Logger) (media.Config, error) {
	cfg := media.Config{PodUID: s.podUID, KeysDir: s.keys, TLSDir: s.tls, AudienceTick: s.tick, Codec: opus.New(), Logger: log}
	control, err := parseAddr("control", s.control)
	if err != nil {
		return cfg, err
	}
	health, err := parseAddr("health", s.health)
	if err != nil {
		return cfg, err
	}
	if s.podUID == "" {
		return cfg, fmt.Errorf("--pod-uid is empty")
	}
	if s.tick < 0 || s.tick > media.MaxAudienceTick {
		return cfg, fmt.Errorf("--audience-tick=%v: it is 0s to %v", s.tick, media.MaxAudienceTick)
	}
	cfg.Control, cfg.Health = control.String(), health.String()
	if port, ok := strings.CutPrefix(s.media, ":"); ok {
		return cfg, s.mediaOnAll(&cfg, control.Addr(), port)
	}
	cfg.Media, err = parseAddr("media", s.media)
	return cfg, err
}

// mediaOnAll listens on all addresses, and tells clients this pod's until the
// operator says which ones they reach it by.
func (s *settings) mediaOnAll(cfg *media.Config, own netip.Addr, port string) error {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("--media=%s: not a port", s.media)
	}
	all := netip.IPv4Unspecified()
	if own.Is6() {
		all = netip.IPv6Unspecified()
	}
	cfg.Media = netip.AddrPortFrom(all, uint16(n))
	cfg.Advertise = []netip.AddrPort{netip.AddrPortFrom(own, uint16(n))}
	return nil
}

// parseAddr reads ip:port. An IPv6 address may lack its brackets, as it does when
// Kubernetes substitutes $(POD_IP).
func parseAddr(flag, s string) (netip.AddrPort, error) {
	if i := strings.LastIndexByte(s, ':'); i > 0 && s[0] != '[' && strings.Contains(s[:i], ":") {
		s = "[" + s[:i] + "]" + s[i:]
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return a, fmt.Errorf("--%s: %w", flag, err)
	}
	return a, nil
}
