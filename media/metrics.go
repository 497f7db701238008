package media

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"voiceroom.dev/voiceroom/media/transport"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

const metricsPrefix = "voiceroom_media_"

// metrics are what the pod counts, besides what transport and forwarder count
// themselves and packetCollector reads.
type metrics struct {
	registry  *prometheus.Registry
	sessions  prometheus.Gauge
	members   prometheus.Gauge
	mics      prometheus.Gauge
	phase     *prometheus.GaugeVec
	epoch     prometheus.Gauge
	lease     prometheus.Gauge
	joins     prometheus.Counter
	failures  *prometheus.CounterVec
	messages  *prometheus.CounterVec
	handshake prometheus.Histogram
}

func newMetrics() *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: metricsPrefix + name, Help: help})
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		sessions: gauge("sessions", "Connections that are being made or stand."),
		members:  gauge("members", "Places taken in the room."),
		mics:     gauge("mics", "Microphones held."),
		phase: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: metricsPrefix + "room",
			Help: "1 for the phase that the pod's room is in; without a room all are 0."}, []string{"phase"}),
		epoch: gauge("epoch", "The room's epoch: it goes up with each pod that the room has had."),
		lease: gauge("lease_expiry_timestamp_seconds", "Until when strangers may come in; later, the room is frozen. 0: no room."),
		joins: prometheus.NewCounter(prometheus.CounterOpts{Name: metricsPrefix + "joins_total",
			Help: "Sessions whose media connection came to stand."}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricsPrefix + "join_failures_total",
			Help: "Sessions that were refused or did not come to stand."}, []string{"reason"}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricsPrefix + "messages_dropped_total",
			Help: "Messages that a slow client or watcher did not get; a snapshot replaces events and frames."}, []string{"kind"}),
		handshake: prometheus.NewHistogram(prometheus.HistogramOpts{Name: metricsPrefix + "handshake_seconds",
			Help: "From the answer to a media connection that stands.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 11)}),
	}
	for _, phase := range phases {
		m.phase.WithLabelValues(string(phase))
	}
	for code := range failures {
		m.failures.WithLabelValues(string(code))
	}
	for _, kind := range []string{"events", "frames", "replies"} {
		m.messages.WithLabelValues(kind)
	}
	m.registry.MustRegister(m.sessions, m.members, m.mics, m.phase, m.epoch, m.lease, m.joins, m.failures, m.messages, m.handshake,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// phases are those that a pod's room can be in.
var phases = []room.Phase{room.Prepared, room.Opened, room.Sealed, room.Closed}

// follow sets the gauges. It is called by the keeper.
func (m *metrics) follow(k *keeper) {
	state := k.room.View()
	m.sessions.Set(float64(len(k.sessions)))
	m.members.Set(float64(len(state.Members)))
	m.mics.Set(float64(len(state.Mics)))
	m.epoch.Set(float64(state.Epoch))
	m.lease.Set(float64(k.lease.Unix()))
	for _, phase := range phases {
		value := 0.0
		if phase == state.Phase {
			value = 1
		}
		m.phase.WithLabelValues(string(phase)).Set(value)
	}
}

// refused counts a join that was refused.
func (m *metrics) refused(err error) { m.failures.WithLabelValues(string(codeOf(err))).Inc() }

// dropped counts a message that was not delivered.
func (m *metrics) dropped(kind string) { m.messages.WithLabelValues(kind).Inc() }

// codeOf is the code of a refusal, Internal for what is none.
func codeOf(err error) room.Code {
	if refusal := (*room.Error)(nil); errors.As(err, &refusal) {
		return refusal.Code
	}
	return mediaapi.Internal
}

// certificateMetric tells until when the control API's certificate lives.
func certificateMetric(c *certificate) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metricsPrefix + "certificate_expiry_timestamp_seconds",
		Help: "When the certificate of the pod's control API ends; 0: it has none yet."}, func() float64 {
		if pair := c.current.Load(); pair != nil && pair.Leaf != nil {
			return float64(pair.Leaf.NotAfter.Unix())
		}
		return 0
	})
}

// packetCollector reads the counters of the packet paths.
type packetCollector struct {
	forwarder *forwarder
	transport *transport.Counters
}

var (
	packetsDesc = prometheus.NewDesc(metricsPrefix+"packets_total", "Audio packets.", []string{"direction"}, nil)
	dropsDesc   = prometheus.NewDesc(metricsPrefix+"packets_dropped_total", "Audio packets that went no further.", []string{"reason"}, nil)
	mixDesc     = prometheus.NewDesc(metricsPrefix+"mix_total", "What was done to make the mix for the audience.", []string{"what"}, nil)
	eventsDesc  = prometheus.NewDesc(metricsPrefix+"transport_events_total", "What the network side counted.", []string{"event"}, nil)
)

// Describe implements prometheus.Collector.
func (c *packetCollector) Describe(out chan<- *prometheus.Desc) {
	out <- packetsDesc
	out <- dropsDesc
	out <- mixDesc
	out <- eventsDesc
}

// Collect implements prometheus.Collector.
func (c *packetCollector) Collect(out chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, label string, value uint64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), label)
	}
	s, m := c.forwarder.counted(), c.forwarder.mixCounted()
	send(packetsDesc, "in", s.in)
	send(packetsDesc, "out", c.transport.Sent.Load())
	send(dropsDesc, "no-grant", s.noGrant)
	send(dropsDesc, "flood", s.flood)
	send(dropsDesc, "unheard", s.unheard)
	send(dropsDesc, "late", s.late)
	send(dropsDesc, "unsendable", c.transport.SendDropped.Load()+c.transport.SendFailed.Load())
	send(mixDesc, "frames", s.mixed)
	send(mixDesc, "decoded", m.Decoded)
	send(mixDesc, "recovered", m.Recovered)
	send(mixDesc, "concealed", m.Concealed)
	send(mixDesc, "late", m.Late)
	send(mixDesc, "shortened", m.Shortened)
	c.transport.Each(func(name string, value uint64) { send(eventsDesc, name, value) })
}
