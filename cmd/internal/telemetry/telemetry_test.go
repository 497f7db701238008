package telemetry

import (
	"compress/gzip"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace/noop"
	otlp "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// received is one request of the exporter, as a collector reads it.
type received struct {
	path, tenant string
	service      string
	spans        []string
}

// newTestCollector takes requests, the first with this status and the others with 200.
func newTestCollector(t *testing.T, first int) (server *httptest.Server, requests chan received) {
	t.Helper()
	requests = make(chan received, 8)
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- read(t, r)
		w.WriteHeader(first)
		first = http.StatusOK
	}))
	t.Cleanup(server.Close)
	return server, requests
}

func read(t *testing.T, r *http.Request) received {
	t.Helper()
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		plain, err := gzip.NewReader(body)
		if err != nil {
			t.Error(err)
			return received{}
		}
		body = plain
	}
	content, err := io.ReadAll(body)
	if err != nil {
		t.Error(err)
	}
	var request otlp.ExportTraceServiceRequest
	if err := proto.Unmarshal(content, &request); err != nil || r.Header.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("not a request of OTLP: %v, %s", err, r.Header.Get("Content-Type"))
	}
	got := received{path: r.URL.Path, tenant: r.Header.Get("Tenant")}
	for _, resource := range request.ResourceSpans {
		for _, a := range resource.Resource.Attributes {
			if a.Key == "service.name" {
				got.service = a.Value.GetStringValue()
			}
		}
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				got.spans = append(got.spans, s.Name)
			}
		}
	}
	return got
}

// traceOnce runs what a command does, with one span, and returns what Start and the exporter said.
func traceOnce(t *testing.T) (logged string, err error) {
	t.Helper()
	t.Cleanup(func() { otel.SetTracerProvider(noop.NewTracerProvider()) })
	var log strings.Builder
	stop, err := Start(t.Context(), "voiceroom-test", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		return "", err
	}
	_, span := otel.Tracer("test").Start(t.Context(), "work")
	span.End()
	stop()
	return log.String(), nil
}

// What the environment says is done: where, with which headers, how, and again when the collector asks.
func TestSends(t *testing.T) {
	want := received{path: "/v1/traces", service: "voiceroom-test", spans: []string{"work"}}
	as := func(change func(*received)) received {
		changed := want
		change(&changed)
		return changed
	}
	for name, test := range map[string]struct {
		first int
		env   map[string]string // URL stands for the collector's
		want  []received
	}{
		"plainly":               {200, map[string]string{"ENDPOINT": "URL"}, []received{want}},
		"below a path":          {200, map[string]string{"ENDPOINT": "URL/otlp/"}, []received{as(func(r *received) { r.path = "/otlp/v1/traces" })}},
		"to a path of its own":  {200, map[string]string{"ENDPOINT": "http://127.0.0.1:1", "TRACES_ENDPOINT": "URL/spans"}, []received{as(func(r *received) { r.path = "/spans" })}},
		"with a header":         {200, map[string]string{"ENDPOINT": "URL", "HEADERS": "a=b, tenant=voice%20room"}, []received{as(func(r *received) { r.tenant = "voice room" })}},
		"compressed":            {200, map[string]string{"ENDPOINT": "URL", "COMPRESSION": "gzip"}, []received{want}},
		"again when it is busy": {503, map[string]string{"ENDPOINT": "URL"}, []received{want, want}},
		"once if it is refused": {400, map[string]string{"ENDPOINT": "URL"}, []received{want}},
	} {
		t.Run(name, func(t *testing.T) {
			server, requests := newTestCollector(t, test.first)
			server.Start()
			for key, value := range test.env {
				t.Setenv("OTEL_EXPORTER_OTLP_"+key, strings.ReplaceAll(value, "URL", server.URL))
			}
			logged, err := traceOnce(t)
			if err != nil {
				t.Fatal(err)
			}
			if refused := test.first == http.StatusBadRequest; refused != strings.Contains(logged, "400 Bad Request") {
				t.Errorf("logged: %q", logged)
			}
			close(requests)
			var got []received
			for r := range requests {
				got = append(got, r)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(received{})); diff != "" {
				t.Errorf("the collector got other requests (-want +got):\n%s", diff)
			}
		})
	}
}

// A collector with a certificate is trusted if the environment names who signed it, and only then.
func TestTrustsWhoItIsToldTo(t *testing.T) {
	server, requests := newTestCollector(t, http.StatusOK)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	if logged, err := traceOnce(t); err != nil || !strings.Contains(logged, x509.UnknownAuthorityError{}.Error()) {
		t.Errorf("a stranger's certificate: %v, logged %q", err, logged)
	}
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", file)
	if logged, err := traceOnce(t); err != nil || logged != "" {
		t.Fatalf("a trusted certificate: %v, logged %q", err, logged)
	}
	if got := len(requests); got != 1 {
		t.Errorf("the collector got %d requests, not one", got)
	}
}

// What cannot be meant is refused at the start, and nothing of a header's value is told.
func TestRefuses(t *testing.T) {
	for name, env := range map[string][2]string{
		"a host without a scheme":      {"ENDPOINT", "collector:4318"},
		"a header without a value":     {"HEADERS", "secret"},
		"a header that is not escaped": {"HEADERS", "a=secret%"},
		"a time that is none":          {"TIMEOUT", "10s"},
		"a missing authority":          {"CERTIFICATE", "/nonexistent/ca.crt"},
		"a missing certificate":        {"CLIENT_CERTIFICATE", "/nonexistent/tls.crt"},
		"gRPC":                         {"PROTOCOL", "grpc"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
			t.Setenv("OTEL_EXPORTER_OTLP_"+env[0], env[1])
			_, err := traceOnce(t)
			if err == nil || !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_"+env[0]) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want an error about %s", err, env[0])
			}
		})
	}
}

// Without a collector nothing is started.
func TestDisabled(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"not named":  {},
		"turned off": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range env {
				t.Setenv(key, value)
			}
			if logged, err := traceOnce(t); err != nil || logged != "" {
				t.Errorf("%v, logged %q", err, logged)
			}
		})
	}
}
