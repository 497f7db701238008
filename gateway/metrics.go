package gateway

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	joins    *prometheus.CounterVec
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
		joins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "voiceroom_gateway_joins_total", Help: "Requests for a place in a room, by what came of them: ok, or the code of the refusal."}, []string{"code"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "voiceroom_gateway_streams", Help: "Event streams that are open."}),
		cut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "voiceroom_gateway_streams_cut_total", Help: "Event streams that were ended because their client read too slowly."}),
		renewed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "voiceroom_gateway_leases_renewed_total", Help: "Admission leases that this gateway renewed after reading the epoch from the API server."}),
	}
	registry.MustRegister(m.requests, m.latency, m.joins, m.streams, m.cut, m.renewed)
	return m
}

// joined counts a request for a place.
func (m *metrics) joined(err error) {
	code := "ok"
	if err != nil {
		code = string(refusalOf(err).code)
	}
	m.joins.WithLabelValues(code).Inc()
}
