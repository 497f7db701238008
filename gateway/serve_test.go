package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// served answers one GET of a route with handle, and returns what was logged too.
func served(ctx context.Context, w http.ResponseWriter, stream bool, handle func(http.ResponseWriter, *http.Request) error) (g *Gateway, log string) {
	var lines bytes.Buffer
	g = &Gateway{now: time.Now, metrics: newMetrics(prometheus.NewRegistry()), cfg: Config{Log: slog.New(slog.NewTextHandler(&lines, nil))}}
	handler := g.mux([]route{{method: "GET", path: "/x", stream: stream, handle: handle}})
	handler.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/x", nil))
	return g, lines.String()
}

func TestPanicIsAnsweredAndLogged(t *testing.T) {
	w := httptest.NewRecorder()
	_, log := served(t.Context(), w, false, func(http.ResponseWriter, *http.Request) error { panic("boom") })
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), `"code":"internal"`) || strings.Contains(w.Body.String(), "boom") {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
	if !strings.Contains(log, "level=WARN") || !strings.Contains(log, "boom") || !strings.Contains(log, "serve_test.go") {
		t.Errorf("the log does not say where it was: %s", log)
	}
}

// Whatever fails because the client went is no failure of ours; what is cancelled
// otherwise is, and is never answered with success.
func TestClientThatIsGone(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name   string
		ctx    context.Context
		status string
		warns  bool
	}{
		{"gone", gone, "499", false},
		{"here", t.Context(), "500", true},
	} {
		w := httptest.NewRecorder()
		g, log := served(test.ctx, w, false, func(http.ResponseWriter, *http.Request) error {
			return fmt.Errorf("asking the pod: %w", context.Canceled)
		})
		if n := testutil.ToFloat64(g.metrics.requests.WithLabelValues("/x", test.status)); n != 1 || fmt.Sprint(w.Code) != test.status {
			t.Errorf("%s: answered %d, counted %v as %s", test.name, w.Code, n, test.status)
		}
		if warned := strings.Contains(log, "level=WARN"); warned != test.warns {
			t.Errorf("%s: the log is %q", test.name, log)
		}
	}
}

// deadlines is a connection that notes its write deadline.
type deadlines struct {
	*httptest.ResponseRecorder
	write time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = t; return nil }

// A handler waits for nothing for ever, and no answer is written under the deadline
// of the request before it on the connection.
func TestBoundsOfTime(t *testing.T) {
	for _, stream := range []bool{false, true} {
		w := &deadlines{httptest.NewRecorder(), time.Now().Add(-time.Minute)}
		served(t.Context(), w, stream, func(_ http.ResponseWriter, r *http.Request) error {
			if _, bounded := r.Context().Deadline(); bounded == stream {
				t.Errorf("stream %v: its context has a deadline: %v", stream, bounded)
			}
			return errors.New("refused")
		})
		if time.Until(w.write) < writeTimeout/2 {
			t.Errorf("stream %v: answered under the deadline %v", stream, w.write)
		}
	}
}
