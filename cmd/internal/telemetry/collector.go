package telemetry

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	defaultTimeout = 10 * time.Second // of one request, as the specification has it
	firstPause     = time.Second      // before a batch is sent again; it doubles
	maxAnswer      = 4 << 10          // bytes of a refusal that are told
)

// collector is where spans are sent: OTLP over HTTP, as protobuf. It does what the library's
// otlptracehttp does, which for the sake of one message type links gRPC, and with it 5 MB into each
// command; a media pod has them in memory once a room.
type collector struct {
	url     string
	headers http.Header
	gzip    bool
	client  *http.Client
}

var _ otlptrace.Client = (*collector)(nil)

// option is a variable of the exporter: the one for traces, else the one for all signals.
func option(name string) string {
	return cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_"+name), os.Getenv("OTEL_EXPORTER_OTLP_"+name))
}

// newCollector reads the environment (OpenTelemetry specification, "OTLP exporter configuration").
func newCollector() (*collector, error) {
	c := &collector{headers: http.Header{"Content-Type": {"application/x-protobuf"}}, gzip: option("COMPRESSION") == "gzip"}
	var err error
	if c.url, err = endpoint(); err != nil {
		return nil, err
	}
	for pair := range strings.SplitSeq(option("HEADERS"), ",") {
		name, value, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if name = strings.TrimSpace(name); name == "" && !ok {
			continue
		}
		if !ok || err != nil {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS: not key=value,key=value") // what it holds is secret
		}
		c.headers.Set(name, value)
	}
	timeout := defaultTimeout
	if s := option("TIMEOUT"); s != "" {
		ms, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_TIMEOUT: %w", err)
		}
		timeout = time.Duration(ms) * time.Millisecond
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if transport.TLSClientConfig, err = clientTLS(); err != nil {
		return nil, err
	}
	c.client = &http.Client{Transport: transport, Timeout: timeout}
	return c, nil
}

// endpoint is the URL of traces. The variable for all signals names the parent of theirs.
func endpoint() (string, error) {
	raw, parent := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), false
	if raw == "" {
		raw, parent = os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"), true
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "", fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "", fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT=%s: it has to be http://host:port or https://host:port", u.Redacted())
	case parent:
		u = u.JoinPath("v1/traces")
	}
	return u.String(), nil
}

// clientTLS trusts what the environment names, or else what the system trusts.
func clientTLS() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := option("CERTIFICATE"); file != "" {
		roots, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(roots) {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: no certificate in %s", file)
		}
	}
	if file := option("CLIENT_CERTIFICATE"); file != "" {
		pair, err := tls.LoadX509KeyPair(file, option("CLIENT_KEY"))
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// Start implements otlptrace.Client.
func (c *collector) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (c *collector) Stop(context.Context) error {
	c.client.CloseIdleConnections()
	return nil
}

// UploadTraces implements otlptrace.Client: it sends a batch, again if the collector asks for that, until
// ctx ends. Spans that the collector rejects out of a batch that it takes are not heard of.
func (c *collector) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// As bytes it is an ExportTraceServiceRequest: both have this field only, under the same number.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return fmt.Errorf("encoding spans: %w", err)
	}
	if c.gzip {
		body = compressed(body)
	}
	for pause := firstPause; ; pause *= 2 {
		again, after, err := c.post(ctx, body)
		if !again {
			return err
		}
		select {
		case <-time.After(max(after, pause/2+rand.N(pause))):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

func compressed(body []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(body) // a buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

// retryable are the answers after which the same batch may be sent again (OTLP specification, "Failures").
var retryable = []int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

// post sends a batch once. It may be sent again if it says so, and not before after.
func (c *collector) post(ctx context.Context, body []byte) (again bool, after time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return false, 0, err
	}
	request.Header = c.headers.Clone()
	if c.gzip {
		request.Header.Set("Content-Encoding", "gzip")
	}
	response, err := c.client.Do(request)
	if err != nil {
		return false, 0, err
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer)) // what there is of it
	if response.StatusCode/100 == 2 {
		return false, 0, nil
	}
	seconds, _ := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 16) // 0 if it is a date
	return slices.Contains(retryable, response.StatusCode), time.Duration(seconds) * time.Second,
		fmt.Errorf("sending spans to %s: %s: %q", request.URL.Redacted(), response.Status, answer)
}
