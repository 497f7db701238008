package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"voiceroom.dev/voiceroom/chat/registry"
	"voiceroom.dev/voiceroom/cmd/internal/providers"
	"voiceroom.dev/voiceroom/controllers"
	"voiceroom.dev/voiceroom/controllers/election"
)

// The client's own limits would slow twenty rooms that start at once; the API
// server's priority and fairness protects it better.
const qps, burst = 500, 1000

// run reconciles until ctx ends or the lease is lost, or found to be another
// installation's.
func run(ctx context.Context, s settings, log *slog.Logger) error {
	if err := s.check(); err != nil {
		return err
	}
	kube, err := kubeConfig(s.kubeconfig)
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	ctx, taken := context.WithCancelCause(ctx)
	defer taken(nil)
	terms := election.TermsOf(s.lease)
	lock, err := election.New(kube, s.namespace, terms, taken)
	if err != nil {
		return err
	}
	if err := lock.Claim(ctx); err != nil {
		return err
	}
	chats := &registry.Registry{}
	options := controllers.Options{Namespace: s.namespace, MediaNamespace: s.mediaNamespace, MediaImage: s.mediaImage, GatewayURL: s.publicURL,
		Providers: chats, Webhook: s.webhook(log), Metrics: metrics.Registry}
	managing := controllers.ManagerOptions(options)
	managing.LeaderElection = s.leaderElect
	managing.LeaderElectionResourceLockInterface = lock
	managing.LeaseDuration, managing.RenewDeadline, managing.RetryPeriod = &terms.Lease, &terms.Renew, &terms.Retry
	managing.LeaderElectionReleaseOnCancel = true // the process ends when the manager does; a successor need not wait
	managing.HealthProbeBindAddress = s.healthListen
	managing.Metrics = metricsserver.Options{BindAddress: s.metricsListen}
	mgr, err := ctrl.NewManager(kube, managing)
	if err != nil {
		return fmt.Errorf("preparing to follow the API server: %w", err)
	}
	options.Opener = &providers.Opener{Registry: chats, Secrets: mgr.GetAPIReader(), Namespace: s.namespace, Client: "voiceroom-operator", Log: log}
	if err := controllers.Setup(ctx, mgr, options); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("process", healthz.Ping); err != nil {
		return fmt.Errorf("adding the liveness check: %w", err)
	}
	if err := mgr.AddReadyzCheck("cache", func(r *http.Request) error {
		if !mgr.GetCache().WaitForCacheSync(r.Context()) {
			return errors.New("the cache is not filled yet")
		}
		return nil
	}); err != nil {
		return fmt.Errorf("adding the readiness check: %w", err)
	}
	err = errors.Join(mgr.Start(ctx), chats.Close())
	if other, ok := errors.AsType[*election.TakenError](context.Cause(ctx)); ok {
		return other // whatever else failed, failed because of it
	}
	return err
}

func kubeConfig(path string) (cfg *rest.Config, err error) {
	if path == "" {
		cfg, err = ctrl.GetConfig()
	} else {
		cfg, err = clientcmd.BuildConfigFromFlags("", path)
	}
	if err != nil {
		return nil, err
	}
	cfg.QPS, cfg.Burst = qps, burst
	return cfg, nil
}
