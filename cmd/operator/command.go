package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"voiceroom.dev/voiceroom/cmd/internal/cli"
	"voiceroom.dev/voiceroom/cmd/internal/release"
	"voiceroom.dev/voiceroom/cmd/internal/telemetry"
	"voiceroom.dev/voiceroom/controllers/election"
	"voiceroom.dev/voiceroom/webhook"
)

// settings are the command's flags.
type settings struct {
	kubeconfig                 string
	namespace, mediaNamespace  string
	mediaImage                 string
	publicURL                  string
	webhookURL, webhookSecrets string
	leaderElect                bool
	lease                      time.Duration
	healthListen               string
	metricsListen              string
	logLevel                   slog.Level
}

func newCommand() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "operator --media-image IMAGE",
		Short: "Reconcile voice rooms, their groups and their media pods",
		Long: `operator turns VoiceRooms into groups at a chat provider, media pods that hold
calls, and links that people open. It reconciles VoiceRoom, GroupChat,
JoinRequest, MediaPool and ChatProvider of all namespaces, and makes and rotates
the keys of the deployment.

Calls do not depend on it: while it is down, people talk, mute and leave, and
gateways let newcomers into rooms that exist. No new room starts meanwhile.

Two namespaces are its own. --namespace holds its keys (Secrets). --media-namespace
holds the media pods, which need host ports, and what is mounted into them.

Run several: the Lease voiceroom-operator in namespace kube-system says which of them
acts. It also says which installation the cluster belongs to, by its namespace: an
operator of another one ends at once with an error. docs/operations.md says how a
cluster is handed over.

It logs JSON to standard error, never a secret. On --health-listen it answers
  /healthz  200 while the process runs
  /readyz   200 once its caches are filled and, in the one that acts, the keys are read
and on --metrics-listen /metrics, for Prometheus.

Traces go to the OpenTelemetry collector that OTEL_EXPORTER_OTLP_ENDPOINT names, over HTTP.

With --webhook-url it tells the deployer's back end, in signed POSTs, what happens in
every room: docs/webhooks.md. The secrets file is read again for each of them.

SIGTERM lets running reconciliations finish, gives the lease back, and exits.`,
		Example: `  # Against the current kubeconfig
  operator --namespace voiceroom-system --media-namespace voiceroom-media \
    --media-image registry.example.org/voiceroom-media:v1 --public-url https://voice.example.org

  # In a pod, one of several
  operator --media-image registry.example.org/voiceroom-media:v1`,
		Version:       release.Version(),
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true, // main prints them
	}
	s.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		handler := slog.NewJSONHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: s.logLevel})
		ctrl.SetLogger(logr.FromSlogHandler(handler))
		log := slog.New(handler)
		stop, err := telemetry.Start(cmd.Context(), "voiceroom-operator", log)
		if err != nil {
			return err
		}
		defer stop()
		return run(cmd.Context(), s, log)
	}
	return cmd
}

func (s *settings) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.kubeconfig, "kubeconfig", "", "kubeconfig file (default: $KUBECONFIG, else the pod's service account)")
	f.StringVar(&s.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "the operator's own namespace (default: $POD_NAMESPACE)")
	f.StringVar(&s.mediaNamespace, "media-namespace", "voiceroom-media", "namespace of the media pods; it must exist and allow host ports")
	f.StringVar(&s.mediaImage, "media-image", "", "image of media pods whose pool names none (required)")
	f.StringVar(&s.publicURL, "public-url", "", "where people reach the gateway, such as https://voice.example.org; for status.joinURL")
	f.StringVar(&s.webhookURL, "webhook-url", "", "where to POST what happens in rooms; https, or http to this host or to a name.namespace.svc")
	f.StringVar(&s.webhookSecrets, "webhook-secret-file", "", "file with the secrets that sign webhooks, one a line (whsec_... of Standard Webhooks); all sign")
	f.BoolVar(&s.leaderElect, "leader-elect", true, "act only while holding the lease; off is for debugging one operator alone")
	f.DurationVar(&s.lease, "lease", 10*time.Second, "how long the lease is held without being renewed: another operator takes over from a dead one after that; whole seconds, 3s at least")
	f.StringVar(&s.healthListen, "health-listen", ":8081", "host:port for probes; 0 turns them off")
	f.StringVar(&s.metricsListen, "metrics-listen", ":8080", "host:port for metrics; 0 turns them off")
	f.TextVar(&s.logLevel, "log-level", slog.LevelInfo, "least level to log: debug, info, warn or error")
	_ = cmd.MarkFlagRequired("media-image") // fails only for a flag that does not exist
}

// check refuses flags that make no sense. Errors name the flag.
func (s *settings) check() error {
	switch {
	case s.namespace == "":
		return errors.New("--namespace is needed outside a pod: where the operator keeps its keys")
	case s.mediaNamespace == "":
		return errors.New("--media-namespace must not be empty")
	case s.lease < election.MinLease || s.lease%time.Second != 0:
		return fmt.Errorf("--lease: %v is not whole seconds, %v at least", s.lease, election.MinLease)
	case s.mediaNamespace == s.namespace:
		return fmt.Errorf("--media-namespace: media pods must not share %s with the operator's private keys", s.namespace)
	}
	if _, err := cli.PublicURL(s.publicURL); err != nil {
		return err
	}
	s.publicURL = strings.TrimRight(s.publicURL, "/")
	return s.checkWebhook()
}

func (s *settings) checkWebhook() error {
	switch {
	case s.webhookURL == "" && s.webhookSecrets == "":
		return nil
	case s.webhookURL == "":
		return errors.New("--webhook-url is needed with --webhook-secret-file")
	case s.webhookSecrets == "":
		return errors.New("--webhook-secret-file is needed with --webhook-url: what is not signed cannot be told from forgeries")
	}
	if err := webhook.CheckURL(s.webhookURL); err != nil {
		return fmt.Errorf("--webhook-url: %w", err)
	}
	secrets, err := os.ReadFile(s.webhookSecrets)
	if err != nil {
		return fmt.Errorf("--webhook-secret-file: %w", err)
	}
	if _, err := webhook.ParseSecrets(secrets); err != nil {
		return fmt.Errorf("--webhook-secret-file: %w", err)
	}
	return nil
}

// webhook is where the deployer's back end is told what happens; nil: nowhere.
func (s *settings) webhook(log *slog.Logger) *webhook.Config {
	if s.webhookURL == "" {
		return nil
	}
	return &webhook.Config{URL: s.webhookURL, Secrets: func() ([]byte, error) { return os.ReadFile(s.webhookSecrets) },
		Clock: clock.RealClock{}, Random: rand.Float64, Metrics: metrics.Registry, Log: log.With("logger", "webhook")}
}
