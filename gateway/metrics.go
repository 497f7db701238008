package gateway

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	streams  prometheus.Gauge
	cut      prometheus.Counter
	renewed  prometheus.Counter
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "voiceroom_gateway_requests_total", Help: "Requests that were answered, by route and HTTP status."}, []string{"route", "code"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "voiceroom_gateway_request_duration_seconds", Help: "Time from a request's headers to the end of its answer, streams apart.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}}, []string{"route"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "voiceroom_gateway_streams", Help: "Event streams that are open."}),
		cut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "voiceroom_gateway_streams_cut_total", Help: "Event streams that were ended because their client read too slowly."}),
		renewed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "voiceroom_gateway_leases_renewed_total", Help: "Admission leases that this gateway renewed after reading the epoch from the API server."}),
	}
	registry.MustRegister(m.requests, m.latency, m.streams, m.cut, m.renewed)
	return m
}
