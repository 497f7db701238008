package mediaapi

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/propagation"
)

// observer is the transport of a Dialer's calls: it counts them, and tells the pod which
// trace a call belongs to. It is safe for concurrent use.
type observer struct {
	next  *http.Transport
	now   func() time.Time
	calls *prometheus.CounterVec
	took  *prometheus.HistogramVec
}

func newObserver(next *http.Transport, now func() time.Time) *observer {
	return &observer{
		next: next, now: now,
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "voiceroom_mediaapi_calls_total",
			Help: "Calls of media pods' control API, by operation and HTTP status; none: the pod did not answer."}, []string{"operation", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "voiceroom_mediaapi_call_duration_seconds",
			Help:    "Time from a call of a media pod to the head of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}}, []string{"operation"}),
	}
}

// RoundTrip implements http.RoundTripper.
func (o *observer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context()) // a transport leaves its request as it is
	propagation.TraceContext{}.Inject(r.Context(), propagation.HeaderCarrier(r.Header))
	began, operation := o.now(), operationOf(r)
	resp, err := o.next.RoundTrip(r)
	code := "none"
	if err == nil {
		code = strconv.Itoa(resp.StatusCode)
	}
	o.calls.WithLabelValues(operation, code).Inc()
	o.took.WithLabelValues(operation).Observe(o.now().Sub(began).Seconds())
	return resp, err
}

// operationOf names a call by its method and path, less what is one session's.
func operationOf(r *http.Request) string {
	const sessions = "/v1/room/sessions/"
	path := r.URL.Path
	if strings.HasPrefix(path, sessions) {
		path = sessions + "{session}"
	}
	return r.Method + " " + path
}

// Describe implements prometheus.Collector: a Dialer is registered for what it counts.
func (d *Dialer) Describe(out chan<- *prometheus.Desc) {
	d.observer.calls.Describe(out)
	d.observer.took.Describe(out)
}

// Collect implements prometheus.Collector.
func (d *Dialer) Collect(out chan<- prometheus.Metric) {
	d.observer.calls.Collect(out)
	d.observer.took.Collect(out)
}

// CloseIdleConnections is what an http.Client asks its transport for.
func (o *observer) CloseIdleConnections() { o.next.CloseIdleConnections() }
