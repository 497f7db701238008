package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"voiceroom.dev/voiceroom/cmd/internal/cli"
	"voiceroom.dev/voiceroom/cmd/internal/release"
	"voiceroom.dev/voiceroom/cmd/internal/telemetry"
	"voiceroom.dev/voiceroom/gateway"
	"voiceroom.dev/voiceroom/gateway/apikey"
	"voiceroom.dev/voiceroom/gateway/idtoken"
)

// settings are the command's flags.
type settings struct {
	kubeconfig string
	namespace  string

	listen, healthListen string
	tlsCert, tlsKey      string
	linger, drain        time.Duration

	publicURL      string
	allowedOrigins []string
	trustedProxies []string

	allowGuests bool
	guestRate   float64
	guestBurst  int

	apiKeysSecret, apiKeysDir string
	oidcIssuer, oidcAudience  string
	roomNamespaces            []string

	accessLog bool
	logLevel  slog.Level
}

// newCommand makes the command. libraries makes those that log by a global logger do
// so with the command's.
func newCommand(libraries func(slog.Handler)) *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "gateway [--public-url URL] [--allow-guests] [--oidc-issuer URL --oidc-audience ID]",
		Short: "Serve voice rooms' HTTP API, signalling and web page",
		Long: `gateway is the door of a Voiceroom deployment. It serves the REST API under /v1,
WHIP-shaped signalling under /rtc, chat and its event stream, and the web page
that people open under /r/{namespace}/{room}. It holds no state: run as many as
you like behind any load balancer.

It reads VoiceRooms, GroupChats and ChatProviders of all namespaces, and a few
objects of the operator's namespace, each by its name: the signing keys that the
operator makes, the public keys, the API keys.

Who may ask:
  tickets   that the operator or the gateway signed; always
  API keys  from --api-keys-secret or --api-keys-dir: one per back end, the name of
            the entry names the back end; the value is the key, or "sha256:" and
            the hexadecimal digest of it. Requests carry X-Voiceroom-User.
  ID tokens of --oidc-issuer for --oidc-audience
  guests    with --allow-guests: anybody, limited per address

It logs JSON to standard error, never a token. On --health-listen it answers
  /healthz  200 while the process runs
  /readyz   200 while it has its keys and its cache, and does not stop; else what is missing
  /metrics  for Prometheus

Traces go to the OpenTelemetry collector that OTEL_EXPORTER_OTLP_ENDPOINT names, over HTTP.

SIGTERM makes it not ready; it serves on for --linger, then ends event streams, whose
clients ask elsewhere, lets running requests finish, and exits.`,
		Example: `  # Against the current kubeconfig, guests welcome
  gateway --namespace voiceroom-system --listen 127.0.0.1:8080 --allow-guests

  # In a pod, behind an ingress that writes X-Forwarded-For
  gateway --public-url https://voice.example.org --trusted-proxy 10.0.0.0/8 \
    --oidc-issuer https://login.example.org --oidc-audience voiceroom

  # Make an API key; put its digest into the Secret
  key=$(openssl rand -base64 32)
  kubectl -n voiceroom-system create secret generic voiceroom-api-keys \
    --from-literal=backend=sha256:$(printf %s "$key" | sha256sum | cut -d' ' -f1)`,
		Version:       release.Version(),
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true, // main prints them
	}
	s.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		handler := slog.NewJSONHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: s.logLevel})
		libraries(handler)
		log := slog.New(handler)
		stop, err := telemetry.Start(cmd.Context(), "voiceroom-gateway", log)
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
	f.StringVar(&s.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "the operator's namespace, where the keys are (default: $POD_NAMESPACE)")
	f.StringVar(&s.listen, "listen", ":8080", "host:port to serve on")
	f.StringVar(&s.healthListen, "health-listen", ":8081", "host:port for probes and metrics")
	f.StringVar(&s.tlsCert, "tls-cert", "", "PEM certificate to serve HTTPS with; re-read when it changes")
	f.StringVar(&s.tlsKey, "tls-key", "", "PEM key of --tls-cert")
	f.DurationVar(&s.linger, "linger", 5*time.Second, "how long to go on serving when told to stop, not ready any more, while load balancers learn of it")
	f.DurationVar(&s.drain, "drain", 15*time.Second, "how long running requests may take to finish after that")
	f.StringVar(&s.publicURL, "public-url", "", "where people reach the gateway, such as https://voice.example.org; for links (default: as the request has it)")
	f.StringArrayVar(&s.allowedOrigins, "allowed-origin", nil, "web origin whose pages may call the API, such as https://app.example.org; repeatable; * is any (default: our own page only)")
	f.StringArrayVar(&s.trustedProxies, "trusted-proxy", nil, "CIDR of proxies whose X-Forwarded-For is believed; repeatable (default: none)")
	f.BoolVar(&s.allowGuests, "allow-guests", false, "let people without an identity ask to join")
	f.Float64Var(&s.guestRate, "guest-rate", 2, "requests per second that guests of one address may make over time")
	f.IntVar(&s.guestBurst, "guest-burst", 40, "requests that guests of one address may make at once")
	f.StringVar(&s.apiKeysSecret, "api-keys-secret", "", "Secret in --namespace with the API keys of back ends")
	f.StringVar(&s.apiKeysDir, "api-keys-dir", "", "directory with the API keys of back ends, one a file; read once")
	f.StringVar(&s.oidcIssuer, "oidc-issuer", "", "OpenID Connect issuer whose ID tokens are taken")
	f.StringVar(&s.oidcAudience, "oidc-audience", "", "audience (client ID) that the ID tokens must have")
	f.StringArrayVar(&s.roomNamespaces, "room-namespace", []string{"default"}, "namespace in which rooms can be made over HTTP; repeatable; * is any")
	f.BoolVar(&s.accessLog, "access-log", false, "log every request, not only failures")
	f.TextVar(&s.logLevel, "log-level", slog.LevelInfo, "least level to log: debug, info, warn or error")
	cmd.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	cmd.MarkFlagsRequiredTogether("oidc-issuer", "oidc-audience")
	cmd.MarkFlagsMutuallyExclusive("api-keys-secret", "api-keys-dir")
}

// config is the part of the gateway's configuration that flags alone decide. Errors
// name the flag.
func (s settings) config() (gateway.Config, error) {
	cfg := gateway.Config{
		Guests:         gateway.Guests{Allow: s.allowGuests, PerSecond: s.guestRate, Burst: s.guestBurst},
		RoomNamespaces: s.roomNamespaces,
		AccessLog:      s.accessLog,
	}
	if s.namespace == "" {
		return cfg, errors.New("--namespace is needed outside a pod: where the operator keeps its keys")
	}
	var err error
	if cfg.PublicURL, err = cli.PublicURL(s.publicURL); err != nil {
		return cfg, err
	}
	if cfg.AllowedOrigins, err = parseEach(s.allowedOrigins, parseOrigin); err != nil {
		return cfg, fmt.Errorf("--allowed-origin: %w", err)
	}
	if cfg.TrustedProxies, err = parseEach(s.trustedProxies, netip.ParsePrefix); err != nil {
		return cfg, fmt.Errorf("--trusted-proxy: %w", err)
	}
	if s.apiKeysDir != "" {
		keys, err := apikey.Load(s.apiKeysDir)
		if err != nil {
			return cfg, fmt.Errorf("--api-keys-dir: %w", err)
		}
		cfg.Credentials.APIKeys = func() *apikey.Set { return keys }
	}
	if s.oidcIssuer != "" {
		if cfg.Credentials.OIDC, err = idtoken.New(s.oidcIssuer, s.oidcAudience, nil, time.Now); err != nil {
			return cfg, fmt.Errorf("--oidc-issuer: %w", err)
		}
	}
	return cfg, nil
}

// parseOrigin returns a web origin as browsers write it (RFC 6454, section 6.2).
func parseOrigin(text string) (string, error) {
	at, err := url.Parse(text)
	if text != "*" && (err != nil || at.Scheme == "" || at.Host == "" || at.Path != "") {
		return "", fmt.Errorf("%q is not an origin such as https://app.example.org", text)
	}
	return strings.ToLower(text), nil
}

func parseEach[T any](texts []string, parse func(string) (T, error)) ([]T, error) {
	all := make([]T, 0, len(texts))
	for _, text := range texts {
		one, err := parse(text)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}
