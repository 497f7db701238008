package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/signingkeys"
)

// inventoryTime bounds a look at the cache, which waits until it is filled.
const inventoryTime = 2 * time.Second

var (
	leaderDesc    = prometheus.NewDesc("voiceroom_operator_leader", "1 for the operator that acts, 0 for those that stand by.", nil, nil)
	roomsDesc     = prometheus.NewDesc("voiceroom_rooms", "Rooms by phase.", []string{"phase"}, nil)
	waitingDesc   = prometheus.NewDesc("voiceroom_rooms_waiting", "Rooms that wait for a media pod of a pool.", []string{"pool"}, nil)
	poolDesc      = prometheus.NewDesc("voiceroom_pool_pods", "Media pods of a pool: ready (idle, to be given to a room), starting, assigned to a room, and outdated, which those of an earlier template are besides.", []string{"pool", "state"}, nil)
	wantedDesc    = prometheus.NewDesc("voiceroom_pool_wanted_pods", "Idle media pods that a pool is to keep now.", []string{"pool"}, nil)
	maxDesc       = prometheus.NewDesc("voiceroom_pool_max_pods", "Most media pods that a pool may have.", []string{"pool"}, nil)
	providerDesc  = prometheus.NewDesc("voiceroom_chat_provider_ready", "1 while a ChatProvider answers, else 0.", []string{"provider"}, nil)
	authorityDesc = prometheus.NewDesc("voiceroom_authority_expiry_timestamp_seconds", "When the authority of the media pods' certificates ends.", nil, nil)
)

// inventory collects what the leader's cache holds, each time it is asked. The operators
// that stand by say only that they do, so that nothing is counted twice.
type inventory struct {
	cached    client.Reader
	waiting   func(pool string) int
	authority func() (*signingkeys.Authority, error)
	elected   <-chan struct{} // closed once this operator acts
}

// Describe implements prometheus.Collector.
func (*inventory) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{leaderDesc, roomsDesc, waitingDesc, poolDesc, wantedDesc, maxDesc, providerDesc, authorityDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (i *inventory) Collect(out chan<- prometheus.Metric) {
	select {
	case <-i.elected:
	default:
		out <- gauge(leaderDesc, 0)
		return
	}
	out <- gauge(leaderDesc, 1)
	if a, err := i.authority(); err == nil {
		out <- gauge(authorityDesc, float64(a.End().Unix()))
	}
	ctx, cancel := context.WithTimeout(context.Background(), inventoryTime)
	defer cancel()
	for _, collect := range []func(context.Context, chan<- prometheus.Metric) error{i.rooms, i.pools, i.providers} {
		if err := collect(ctx, out); err != nil {
			out <- prometheus.NewInvalidMetric(roomsDesc, err) // the scrape fails, rather than tell half of it
			return
		}
	}
}

func gauge(d *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (i *inventory) rooms(ctx context.Context, out chan<- prometheus.Metric) error {
	var list v1alpha1.VoiceRoomList
	if err := i.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("counting rooms: %w", err)
	}
	count := map[v1alpha1.RoomPhase]int{v1alpha1.RoomPending: 0, v1alpha1.RoomReady: 0, v1alpha1.RoomOpen: 0, v1alpha1.RoomAsleep: 0, v1alpha1.RoomClosed: 0}
	for n := range list.Items {
		phase := list.Items[n].Status.Phase
		if phase == "" {
			phase = v1alpha1.RoomPending
		}
		count[phase]++
	}
	for phase, n := range count {
		out <- gauge(roomsDesc, float64(n), string(phase))
	}
	return nil
}

func (i *inventory) pools(ctx context.Context, out chan<- prometheus.Metric) error {
	var list v1alpha1.MediaPoolList
	if err := i.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("looking at the pools: %w", err)
	}
	for n := range list.Items {
		pool := &list.Items[n]
		s := pool.Status
		for state, pods := range map[string]int32{"ready": s.Ready, "starting": s.Starting, "assigned": s.Assigned, "outdated": s.Outdated} {
			out <- gauge(poolDesc, float64(pods), pool.Name, state)
		}
		out <- gauge(wantedDesc, float64(max(s.Wanted, pool.Spec.Warm)), pool.Name)
		out <- gauge(maxDesc, float64(pool.Spec.MaxPods), pool.Name)
		out <- gauge(waitingDesc, float64(i.waiting(pool.Name)), pool.Name)
	}
	return nil
}

func (i *inventory) providers(ctx context.Context, out chan<- prometheus.Metric) error {
	var list v1alpha1.ChatProviderList
	if err := i.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("looking at the chat providers: %w", err)
	}
	for n := range list.Items {
		ready := 0.0
		if meta.IsStatusConditionTrue(list.Items[n].Status.Conditions, v1alpha1.ConditionReady) {
			ready = 1
		}
		out <- gauge(providerDesc, ready, list.Items[n].Name)
	}
	return nil
}

// counted is a client whose writes of status are counted.
type counted struct {
	client.Client
	writes *prometheus.CounterVec
}

func newStatusWrites() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "voiceroom_status_writes_total",
		Help: "Writes of the status of rooms and pools, by kind and result: ok, conflict (tried again) or failed."}, []string{"kind", "result"})
}

// Status implements client.Client.
func (c counted) Status() client.SubResourceWriter { return statusWriter{c.Client.Status(), c} }

type statusWriter struct {
	client.SubResourceWriter
	counted counted
}

// Patch implements client.SubResourceWriter: it is the way in which status is written here.
func (w statusWriter) Patch(ctx context.Context, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
	err := w.SubResourceWriter.Patch(ctx, o, patch, opts...)
	kind := "unknown"
	if gvk, known := apiutil.GVKForObject(o, w.counted.Scheme()); known == nil {
		kind = gvk.Kind
	}
	w.counted.writes.WithLabelValues(kind, resultOf(err)).Inc()
	return err
}

func resultOf(err error) string {
	switch {
	case err == nil:
		return "ok"
	case apierrors.IsConflict(err):
		return "conflict"
	}
	return "failed"
}

// measure registers what the operator counts; with no registry, nowhere.
func measure(registry prometheus.Registerer, collectors ...prometheus.Collector) error {
	if registry == nil {
		return nil
	}
	for _, c := range collectors {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("registering the operator's metrics: %w", err)
		}
	}
	return nil
}
