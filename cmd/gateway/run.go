package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat/registry"
	"voiceroom.dev/voiceroom/cmd/internal/providers"
	"voiceroom.dev/voiceroom/gateway"
	"voiceroom.dev/voiceroom/gateway/keyring"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/token"
	"voiceroom.dev/voiceroom/web"
)

// What the gateway may do, and nothing else. It reads Secrets by name only; the
// credentials of other ChatProviders are granted by the chart (gateway.chatSecrets).
//
// +kubebuilder:rbac:groups=voiceroom.dev,resources=voicerooms,verbs=get;list;watch;create;delete;patch
// +kubebuilder:rbac:groups=voiceroom.dev,resources=groupchats;chatproviders,verbs=get;list;watch
// +kubebuilder:rbac:groups="",namespace=voiceroom-system,resources=secrets,resourceNames=voiceroom-token-keys;voiceroom-gateway-key;voiceroom-api-keys,verbs=get;list;watch
// +kubebuilder:rbac:groups="",namespace=voiceroom-system,resources=secrets,resourceNames=voiceroom-chat,verbs=get
// +kubebuilder:rbac:groups="",namespace=voiceroom-system,resources=configmaps,resourceNames=voiceroom-keys,verbs=get;list;watch

// lastWait is for what should take no time once all requests have ended.
const lastWait = 5 * time.Second

// run serves until ctx ends, and lingers.
func run(ctx context.Context, s settings, log *slog.Logger) error {
	cfg, err := s.config()
	if err != nil {
		return err
	}
	kube, err := kubeConfig(s.kubeconfig)
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	mgr, err := newManager(kube, s)
	if err != nil {
		return err
	}
	clientset, err := kubernetes.NewForConfig(kube)
	if err != nil {
		return fmt.Errorf("making a client of the API server: %w", err)
	}
	keys := keyring.New(clientset, s.namespace, s.apiKeysSecret, log)
	chats := &registry.Registry{}
	dialer := mediaapi.NewDialer(token.CallerGateway, token.NewMinter(keys.Calls, time.Now, nil), keys.Roots, time.Now)
	opener := &providers.Opener{Registry: chats, Secrets: mgr.GetAPIReader(), Namespace: s.namespace, Client: "voiceroom-gateway", Log: log}
	if err := providers.Follow(mgr, opener); err != nil {
		return err
	}
	if err := gateway.Index(ctx, mgr.GetCache()); err != nil {
		return err
	}

	cfg.Cluster = gateway.Cluster{Cached: mgr.GetCache(), Live: mgr.GetAPIReader(), Writer: mgr.GetClient()}
	cfg.Credentials.Ring, cfg.Credentials.Public = keys.Tokens, keys.Public
	if cfg.Credentials.APIKeys == nil {
		cfg.Credentials.APIKeys = keys.APIKeys
	}
	cfg.Providers = chats
	cfg.Dial = func(life context.Context, endpoint, podUID string) gateway.Pod {
		return dialer.Pod(endpoint, podUID).While(life)
	}
	cfg.Web, cfg.WebPolicy = web.Files(), web.Policy
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(dialer)
	cfg.Log, cfg.Metrics = log, metrics
	g, err := gateway.New(cfg)
	if err != nil {
		return err
	}
	if err := addRunnables(ctx, mgr, s, g, keys, prometheus.Gatherers{ctrlmetrics.Registry, metrics}, log); err != nil {
		return err
	}
	serving, end := lingering(ctx, s.linger)
	defer end()
	err = mgr.Start(serving)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
	defer cancel()
	err = errors.Join(err, g.Wait(last))
	dialer.Close()
	return errors.Join(err, chats.Close())
}

func kubeConfig(path string) (*rest.Config, error) {
	if path == "" {
		return ctrl.GetConfig()
	}
	return clientcmd.BuildConfigFromFlags("", path)
}

func newManager(kube *rest.Config, s settings) (manager.Manager, error) {
	stopping := s.drain + lastWait
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme)) // the credentials of chat providers are in Secrets
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	mgr, err := ctrl.NewManager(kube, manager.Options{
		Scheme:                  scheme,
		Cache:                   cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
		Metrics:                 metricsserver.Options{BindAddress: "0"}, // with the probes
		GracefulShutdownTimeout: &stopping,
	})
	if err != nil {
		return nil, fmt.Errorf("preparing to follow the API server: %w", err)
	}
	return mgr, nil
}

// addRunnables adds what runs for as long as the gateway does, which is told to stop by
// the end of ctx.
func addRunnables(ctx context.Context, mgr manager.Manager, s settings, g *gateway.Gateway, keys *keyring.Keyring, metrics prometheus.Gatherer, log *slog.Logger) error {
	ready := &readiness{stopping: ctx.Done(), keys: keys}
	follow := everywhere(func(ctx context.Context) error {
		if err := g.Follow(ctx, mgr.GetCache()); err != nil {
			return err
		}
		ready.following.Store(true)
		<-ctx.Done()
		return nil
	})
	door := &http.Server{Handler: g, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)} // of clients' connections
	door.RegisterOnShutdown(g.Drain)
	// Connections that idle would not be parted with before the end, and clients ask on them.
	context.AfterFunc(ctx, func() { door.SetKeepAlivesEnabled(false) })
	doorListener, err := listen(mgr, s)
	if err != nil {
		return err
	}
	health := http.NewServeMux()
	health.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	health.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := ready.check(r); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	health.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	healthListener, err := net.Listen("tcp", s.healthListen) //nolint:noctx // ends with the process
	if err != nil {
		return fmt.Errorf("--health-listen: %w", err)
	}
	for _, r := range []manager.Runnable{
		keys, follow,
		&manager.Server{Name: "gateway", Server: door, Listener: doorListener, ShutdownTimeout: &s.drain},
		&manager.Server{Name: "health", Listener: healthListener, ShutdownTimeout: &s.drain,
			Server: &http.Server{Handler: health, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}},
	} {
		if err := mgr.Add(r); err != nil {
			return fmt.Errorf("preparing to run: %w", err)
		}
	}
	return nil
}

// listen opens the gateway's own listener, with TLS if there is a certificate.
func listen(mgr manager.Manager, s settings) (net.Listener, error) {
	listener, err := net.Listen("tcp", s.listen) //nolint:noctx // ends with the process
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	if s.tlsCert == "" {
		return listener, nil
	}
	certificate, err := certwatcher.New(s.tlsCert, s.tlsKey)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert: %w", err)
	}
	if err := mgr.Add(certificate); err != nil {
		return nil, fmt.Errorf("--tls-cert: %w", err)
	}
	return tls.NewListener(listener, &tls.Config{GetCertificate: certificate.GetCertificate, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}), nil
}

// everywhere is a runnable that every replica runs: there is no leader among gateways.
type everywhere func(context.Context) error

func (f everywhere) Start(ctx context.Context) error { return f(ctx) }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (everywhere) NeedLeaderElection() bool { return false }
