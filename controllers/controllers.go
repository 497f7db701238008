// Package controllers is the operator: every controller of Voiceroom, in one list,
// and what they share.
package controllers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/chat/registry"
	"voiceroom.dev/voiceroom/controllers/chatprovider"
	"voiceroom.dev/voiceroom/controllers/drain"
	"voiceroom.dev/voiceroom/controllers/fleet"
	"voiceroom.dev/voiceroom/controllers/groupchat"
	"voiceroom.dev/voiceroom/controllers/joinrequest"
	"voiceroom.dev/voiceroom/controllers/mediapool"
	"voiceroom.dev/voiceroom/controllers/pace"
	"voiceroom.dev/voiceroom/controllers/signingkeys"
	"voiceroom.dev/voiceroom/controllers/voiceroom"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/token"
	"voiceroom.dev/voiceroom/webhook"
)

// summariesPerSecond is the most writes in any second that only follow comings and goings,
// of all rooms and groups together.
const summariesPerSecond = 50

// sweepGroups is how often groups that no GroupChat holds are looked for.
const sweepGroups = 10 * time.Minute

// +kubebuilder:rbac:groups="",resources=namespaces,resourceNames=kube-system,verbs=get

// Options are what a deployment decides. All fields are required but GatewayURL, Webhook
// and Metrics.
type Options struct {
	// Namespace is the operator's own, MediaNamespace the media pods'.
	Namespace, MediaNamespace string
	// MediaImage is what media pods run unless their pool says otherwise.
	MediaImage string
	// GatewayURL is where people reach the gateway, for status.joinURL.
	GatewayURL string
	// Providers holds the open chat providers, which Opener opens and closes.
	Providers *registry.Registry
	Opener    chatprovider.Opener
	// Webhook says where the deployer's back end is told what happens in rooms. Nil: nowhere.
	Webhook *webhook.Config
	// Metrics is where the operator's metrics are registered. Nil: nowhere.
	Metrics prometheus.Registerer
}

// Setup adds every controller to mgr, which must have been made with
// ManagerOptions.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) error {
	installation, err := installation(ctx, mgr.GetAPIReader())
	if err != nil {
		return err
	}
	fresh, err := consistentClient(mgr)
	if err != nil {
		return err
	}
	var (
		wall       = clock.RealClock{}
		writes     = newStatusWrites()
		outcomes   = voiceroom.NewMetrics()
		consistent = counted{fresh, writes}
		summaries  = pace.NewBudget(summariesPerSecond)
		keyring    = signingkeys.NewKeyring()
		tickets    = signingkeys.NewTickets(keyring, wall.Now, rand.Reader)
		dialer     = mediaapi.NewDialer(token.CallerOperator, token.NewMinter(keyring.Operator, wall.Now, nil), keyring.Roots, wall.Now)
		clerk      = &voiceroom.Clerk{Reader: mgr.GetClient(), Providers: o.Providers, Desk: admission.New(nil), Dialer: dialer}
		rooms      = fleet.New(dialer, clerk, wall, mgr.GetLogger().WithName("fleet"))
		allocator  = &fleet.Allocator{}
		pusher     = &fleet.Pusher{Pods: mgr.GetClient(), Dialer: dialer, Namespace: o.MediaNamespace}
		orphans    = &groupchat.Orphans{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Namespace: o.Namespace}
	)
	held := &inventory{cached: mgr.GetClient(), waiting: allocator.Waiting, authority: keyring.Authority, elected: mgr.Elected()}
	if err := errors.Join(measure(o.Metrics, dialer, held, writes, outcomes), addWebhook(mgr, o.Webhook, rooms), drain.Index(ctx, mgr.GetFieldIndexer()),
		mgr.AddReadyzCheck("keys", leadsWithKeys(mgr.Elected(), keyring))); err != nil {
		return err
	}
	for _, runnable := range []manager.Runnable{
		rooms,
		&groupchat.Sweeper{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Providers: o.Providers, Orphans: orphans,
			Installation: installation, Every: sweepGroups},
	} {
		if err := mgr.Add(runnable); err != nil {
			return fmt.Errorf("adding %T: %w", runnable, err)
		}
	}
	return errors.Join(
		(&signingkeys.Reconciler{Client: mgr.GetClient(), Namespace: o.Namespace, MediaNamespace: o.MediaNamespace,
			Keyring: keyring, Push: pusher.Push, Rotation: token.DefaultRotation, Clock: wall}).SetupWithManager(mgr),
		(&chatprovider.Reconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Opener: o.Opener, Providers: o.Providers,
			Now: wall.Now}).SetupWithManager(mgr),
		(&groupchat.Reconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Providers: o.Providers, Orphans: orphans,
			Events: mgr.GetEventRecorder("voiceroom-groupchat"), Installation: installation, Now: wall.Now,
			Counts: pace.New(summaries, groupchat.CountEvery)}).SetupWithManager(ctx, mgr),
		(&mediapool.Reconciler{Client: consistent, Keyring: keyring, Events: mgr.GetEventRecorder("voiceroom-pool"),
			Promised: allocator.Promised, Waiting: allocator.Waiting, Starved: allocator.Source(),
			Namespace: o.MediaNamespace, Image: o.MediaImage, Clock: wall, Pick: mathrand.IntN}).SetupWithManager(mgr),
		(&voiceroom.Reconciler{Client: consistent, Fleet: rooms, Allocator: allocator, Dialer: dialer, Keyring: keyring, Tickets: tickets,
			Events: mgr.GetEventRecorder("voiceroom-room"), Metrics: outcomes, Clock: wall, MediaNamespace: o.MediaNamespace, GatewayURL: o.GatewayURL,
			Summaries: pace.New(summaries, voiceroom.SummaryEvery)}).SetupWithManager(ctx, mgr),
		(&voiceroom.Sweeper{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Dialer: dialer, Clock: wall}).SetupWithManager(mgr),
		(&joinrequest.Reconciler{Client: mgr.GetClient(), Rooms: rooms, Tickets: tickets, Count: clerk.Count, Now: wall.Now}).SetupWithManager(ctx, mgr),
	)
}

// leadsWithKeys fails in an operator that acts but cannot: its controllers have not come
// to read the keys, without which no pod and no room is made. One that only stands by is
// ready, or a rolling update would wait for it.
func leadsWithKeys(elected <-chan struct{}, keyring *signingkeys.Keyring) healthz.Checker {
	return func(*http.Request) error {
		select {
		case <-elected:
			if !keyring.Ready() {
				return signingkeys.ErrNotReady
			}
		default:
		}
		return nil
	}
}

// addWebhook adds the sender of webhooks, if there is to be one, and has the fleet tell it
// what happens.
func addWebhook(mgr ctrl.Manager, c *webhook.Config, rooms *fleet.Fleet) error {
	if c == nil {
		return nil
	}
	sender, err := webhook.New(*c, rooms)
	if err != nil {
		return err
	}
	rooms.Tell(sender)
	if err := mgr.Add(sender); err != nil {
		return fmt.Errorf("adding the sender of webhooks: %w", err)
	}
	return nil
}

// installation tells this cluster from others that share a chat provider.
func installation(ctx context.Context, live client.Reader) (string, error) {
	var ns corev1.Namespace
	if err := live.Get(ctx, client.ObjectKey{Name: "kube-system"}, &ns); err != nil {
		return "", fmt.Errorf("identifying the cluster by its namespace kube-system: %w", err)
	}
	return string(ns.UID), nil
}
