// Command fakefleet plays the media plane of a large cluster in one process: it is the
// node of every media pod, and the control API of each. Its rooms are real (package room),
// so that caps, seats and events are; nobody can be heard in them, for there is no media.
//
// It shows what the operator costs with thousands of rooms on a machine that cannot run as
// many media pods. See test/bench/rooms, which makes it.
//
// It does not check callers' tokens: nothing here is worth protecting, and the time would
// be taken from the operator that is measured.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"voiceroom.dev/voiceroom/controllers/fleet"
)

// headerTime is how long a caller of the admin listener has to send its headers.
const headerTime = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fakefleet:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	var namespace, admin string
	cmd := &cobra.Command{
		Use:   "fakefleet --admin HOST:PORT",
		Short: "Play the nodes and media pods of a large cluster",
		Long: `fakefleet runs every pod of the media namespace, without a process for any: it
binds them to a node of its own, gives each an address of 127.0.0.0/8, reports it
ready, and answers the control API there, with real rooms that nobody can be heard
in. It needs the control port on all loopback addresses.

--admin takes the commands of a benchmark:
  GET  /rooms                          how many rooms there are, are watched, are leased
  POST /owners?come=true               owners come in by themselves, from now on
  POST /joins?room=NAMESPACE/NAME&n=N  N members come in, one after the other
Who comes in is associated; the operator lets it enter, as it does for clients that
send no feedback.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true, // main prints them
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctrl.SetLogger(logr.FromSlogHandler(slog.NewJSONHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})))
			return run(cmd.Context(), namespace, admin)
		},
	}
	cmd.Flags().StringVar(&namespace, "namespace", "voiceroom-media", "namespace of the media pods")
	cmd.Flags().StringVar(&admin, "admin", "", "host:port for the commands of a benchmark")
	_ = cmd.MarkFlagRequired("admin") // fails only for a flag that does not exist
	return cmd
}

// run plays the fleet until ctx ends.
func run(ctx context.Context, namespace, admin string) error {
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	cfg.QPS = -1
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{DefaultTransform: cache.TransformStripManagedFields(), DefaultNamespaces: map[string]cache.Config{namespace: {}}},
		// The certificate is read once a pool, not watched.
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}}})
	if err != nil {
		return fmt.Errorf("preparing to follow the API server: %w", err)
	}
	f := newPods(time.Now)
	if err := (&node{client: mgr.GetClient(), pods: f, namespace: namespace}).setup(mgr); err != nil {
		return err
	}
	for _, s := range []*listener{
		{address: fmt.Sprintf(":%d", fleet.ControlPort), pods: f, server: f.controlServer(mgr.GetClient(), namespace)},
		{address: admin, server: &http.Server{Handler: f.adminHandler(), ReadHeaderTimeout: headerTime}},
	} {
		if err := mgr.Add(s); err != nil {
			return err
		}
	}
	return errors.Join(mgr.Start(ctx), f.close())
}
