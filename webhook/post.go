package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	// postTimeout bounds one delivery, its answer included.
	postTimeout = 10 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 4 << 10
	// Failed deliveries wait a random time of up to minBackoff, doubled with every
	// failure in a row, up to maxBackoff.
	minBackoff, maxBackoff = time.Second, 5 * time.Minute
	// maxRetryAfter bounds what a receiver may ask for with Retry-After.
	maxRetryAfter = time.Hour
)

// CheckURL refuses addresses that webhooks are not sent to: they name people, so they go
// over HTTPS, or over HTTP to this host or to a Service of the cluster (name.namespace.svc).
func CheckURL(text string) error {
	at, err := url.Parse(text)
	switch {
	case err != nil: // it would quote the URL, which may hold a secret
		return errors.New("the webhook URL cannot be parsed")
	case at.Host == "" || at.Scheme != "https" && at.Scheme != "http":
		return errors.New("the webhook URL is not an address such as https://shop.example.org/voice")
	case at.User != nil || at.Fragment != "":
		return errors.New("the webhook URL has a user or a fragment; deliveries are signed instead")
	case at.Scheme == "http" && !near(at.Hostname()):
		return fmt.Errorf("the webhook URL would show what happens in rooms to everybody on the way to %s: use https", at.Hostname())
	}
	return nil
}

// near says whether a host is this one or a Service of the cluster.
func near(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback() || strings.HasSuffix(host, ".svc") || strings.HasSuffix(host, ".svc.cluster.local")
}

// poster sends signed parcels.
type poster struct {
	url     string
	secrets func() ([]byte, error)
	client  http.Client
	clock   Clock
}

func newPoster(c Config) *poster {
	p := &poster{url: c.URL, secrets: c.Secrets, clock: c.Clock}
	if c.Client != nil {
		p.client = *c.Client
	} else {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = Concurrency
		p.client.Transport = transport
	}
	// A redirect would carry the delivery to where the deployer did not send it.
	p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return p
}

// refusal is an answer other than 2xx.
type refusal struct {
	status int
	after  time.Duration // that the receiver asks to wait
}

func (r *refusal) Error() string { return fmt.Sprintf("the receiver answered %d", r.status) }

// send makes one attempt. It returns the cursor of the answer, nil if there is none.
func (p *poster) send(ctx context.Context, parcel parcel) (*Cursor, error) {
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	req, err := p.request(ctx, parcel)
	if err != nil {
		return nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL, which may hold a secret
		}
		return nil, fmt.Errorf("calling the receiver: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return nil, &refusal{status: resp.StatusCode, after: retryAfter(resp.Header.Get("Retry-After"), p.clock.Now())}
	case err != nil:
		return nil, fmt.Errorf("reading the receiver's answer: %w", err)
	}
	return parseAnswer(answer)
}

func (p *poster) request(ctx context.Context, parcel parcel) (*http.Request, error) {
	secrets, err := p.secrets()
	if err != nil {
		return nil, fmt.Errorf("reading the webhook secrets: %w", err)
	}
	keys, err := ParseSecrets(secrets)
	if err != nil {
		return nil, err
	}
	now := p.clock.Now()
	signature, err := keys.sign(parcel.id, now, parcel.body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(parcel.body))
	if err != nil {
		return nil, errors.New("the webhook URL cannot be called")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "voiceroom-webhook")
	req.Header.Set(standardwebhooks.HeaderWebhookID, parcel.id)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return req, nil
}

func (p *poster) close() { p.client.CloseIdleConnections() }

// retryAfter reads the header of this name (RFC 9110, section 10.2.3): seconds or a date.
func retryAfter(value string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// backoff is how long to wait after some failures in a row; random is in [0, 1).
func backoff(failures int, random float64) time.Duration {
	most := maxBackoff
	if doublings := failures - 1; doublings < 16 {
		most = min(most, minBackoff<<doublings)
	}
	return time.Duration(random * float64(most))
}
