package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"voiceroom.dev/voiceroom/chat/nats/natsserver"
)

// probes answers the kubelet and Prometheus, also while the server still recovers its store.
// A nil *probes is turned off.
type probes struct {
	listener net.Listener
	http     *http.Server
	served   chan error
	server   atomic.Pointer[natsserver.Server] // nil until it is ready
}

func serveProbes(listen string) (*probes, error) {
	if listen == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("--health-listen: %w", err)
	}
	p := &probes{listener: listener, served: make(chan error, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /readyz", p.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(newRegistry(p.stats), promhttp.HandlerOpts{}))
	p.http = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second}
	go func() { p.served <- p.http.Serve(listener) }()
	return p, nil
}

func (p *probes) readyz(w http.ResponseWriter, r *http.Request) {
	server := p.server.Load()
	if server == nil {
		http.Error(w, "recovering the store", http.StatusServiceUnavailable)
		return
	}
	server.Healthz().ServeHTTP(w, r)
}

func (p *probes) stats() (natsserver.Stats, error) {
	server := p.server.Load()
	if server == nil {
		return natsserver.Stats{}, errors.New("recovering the store")
	}
	return server.Stats()
}

func (p *probes) ready(server *natsserver.Server) {
	if p != nil {
		p.server.Store(server)
	}
}

func (p *probes) addr() string {
	if p == nil {
		return ""
	}
	return p.listener.Addr().String()
}

// close stops answering, and returns what had gone wrong before.
func (p *probes) close() error {
	if p == nil {
		return nil
	}
	closed := p.http.Close()
	if err := <-p.served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve probes: %w", err)
	}
	return closed
}
