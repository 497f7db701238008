package webhook

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	deliveries *prometheus.CounterVec
	latency    prometheus.Histogram
	overflows  prometheus.Counter
}

func newMetrics(registry prometheus.Registerer, s *Sender) (*metrics, error) {
	m := &metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "voiceroom_webhook_deliveries_total", Help: "Attempts to deliver webhooks, by type (resync, events, ended) and result: taken, refused (an answer other than 2xx) or failed (no proper answer)."},
			[]string{"type", "result"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "voiceroom_webhook_delivery_duration_seconds", Help: "Time from sending a webhook to its answer.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}),
		overflows: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "voiceroom_webhook_overflows_total", Help: "Queues that were dropped for a resync because the receiver did not keep up."}),
	}
	gauges := []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "voiceroom_webhook_queued_bytes", Help: "Memory that events take which no receiver has acknowledged."},
			func() float64 { _, bytes, _ := s.backlog(); return float64(bytes) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "voiceroom_webhook_rooms_waiting", Help: "Rooms of which the receiver has not acknowledged everything."},
			func() float64 { rooms, _, _ := s.backlog(); return float64(rooms) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "voiceroom_webhook_oldest_seconds", Help: "Age of the oldest event or resync that is not acknowledged."},
			func() float64 { _, _, age := s.backlog(); return age.Seconds() }),
	}
	for _, c := range append(gauges, m.deliveries, m.latency, m.overflows) {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of webhooks: %w", err)
		}
	}
	return m, nil
}

// delivered counts an attempt that took a while.
func (m *metrics) delivered(kind Kind, err error, took time.Duration) {
	result := "taken"
	if _, refused := errors.AsType[*refusal](err); refused {
		result = "refused"
	} else if err != nil {
		result = "failed"
	}
	m.deliveries.WithLabelValues(string(kind), result).Inc()
	m.latency.Observe(took.Seconds())
}

// backlog is what waits, and for how long.
func (s *Sender) backlog() (rooms, bytes int, oldest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	for _, f := range s.feeds {
		if since, waits := f.oldest(); waits {
			rooms++
			oldest = max(oldest, now.Sub(since))
		}
	}
	return rooms, s.bytes, oldest
}
