package voiceroom

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what becomes of rooms. It is a prometheus.Collector. Safe for concurrent use.
type Metrics struct {
	ready    prometheus.Histogram
	moves    *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// waits are the buckets, in seconds, of what people wait for: from a warm pod at hand to
// a node that has to be made first.
var waits = []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

// NewMetrics makes the metrics of one controller.
func NewMetrics() *Metrics {
	m := &Metrics{
		ready: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "voiceroom_room_ready_duration_seconds",
			Help: "Time from when a new room was first seen until people can join it.", Buckets: waits}),
		moves: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "voiceroom_room_moves_total",
			Help: "Rooms that got another media pod, by cause: pod-gone, pod-silent (both are fail-overs) or drained (a migration)."}, []string{"cause"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "voiceroom_room_move_duration_seconds",
			Help: "Time from when a room had to leave its pod until another one held it.", Buckets: waits}, []string{"cause"}),
	}
	for _, c := range []cause{podGone, podSilent, drained} {
		m.moves.WithLabelValues(string(c))
		m.duration.WithLabelValues(string(c))
	}
	return m
}

// done notes a journey that has ended well.
func (m *Metrics) done(why cause, took time.Duration) {
	if why == created {
		m.ready.Observe(took.Seconds())
		return
	}
	m.moves.WithLabelValues(string(why)).Inc()
	m.duration.WithLabelValues(string(why)).Observe(took.Seconds())
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	m.ready.Describe(out)
	m.moves.Describe(out)
	m.duration.Describe(out)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.ready.Collect(out)
	m.moves.Collect(out)
	m.duration.Collect(out)
}
