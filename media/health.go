package media

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// healthHandler answers the kubelet's probes and Prometheus.
func (s *Server) healthHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		// A keeper that is stuck never answers, and the probe times out.
		answer(w, s.keeper.call(func() {}), "the room's goroutine has stopped")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case !s.keyring.ready():
			answer(w, false, "no keys yet")
		case !s.certificate.ready():
			answer(w, false, "no certificate yet")
		default:
			answer(w, !s.stopping(), "stopping")
		}
	})
	// Not compressed: for the sake of some ten KiB of text a compressor's tables would stay in memory, a MiB in each pod.
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{DisableCompression: true}))
	return mux
}

func answer(w http.ResponseWriter, ok bool, otherwise string) {
	if !ok {
		http.Error(w, otherwise, http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

func (s *Server) stopping() bool {
	select {
	case <-s.keeper.ended:
		return true
	case <-s.draining:
		return true
	default:
		return false
	}
}
