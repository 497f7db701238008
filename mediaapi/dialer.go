package mediaapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"voiceroom.dev/voiceroom/token"
)

const (
	dialTimeout = 2 * time.Second
	// pingAfter and pingTimeout find a connection whose other end is gone without a word.
	pingAfter, pingTimeout = 2 * time.Second, 2 * time.Second
	// renewBefore is how long before its end a caller's token is minted anew.
	renewBefore = token.CallerTTL / 2
	// headerTable bounds, in bytes, what each end of a connection remembers of headers. The
	// largest of them, the token, is soon another.
	headerTable = 1 << 10
)

// Dialer makes the clients of media pods. They share its connections and the
// tokens that it minted. It is a prometheus.Collector of its calls. Safe for concurrent use.
type Dialer struct {
	caller   string
	minter   *token.Minter
	now      func() time.Time
	http     *http.Client
	observer *observer

	mu     sync.Mutex
	tokens map[string]callerToken // by pod UID
	swept  time.Time              // when those that are over were last forgotten
}

type callerToken struct {
	token string
	until time.Time
}

// NewDialer calls as caller (token.CallerOperator or token.CallerGateway) with
// tokens of minter, and trusts servers by roots, read anew for each connection.
func NewDialer(caller string, minter *token.Minter, roots func() *x509.CertPool, now func() time.Time) *Dialer {
	transport := &http.Transport{
		DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: &tls.Config{
				RootCAs: roots(), ServerName: ServerName, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}}}
			return dialer.DialContext(ctx, network, addr)
		},
		ForceAttemptHTTP2: true,
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout,
			MaxEncoderHeaderTableSize: headerTable, MaxDecoderHeaderTableSize: headerTable},
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     time.Minute,
	}
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	observer := newObserver(transport, now)
	return &Dialer{caller: caller, minter: minter, now: now, tokens: map[string]callerToken{}, observer: observer,
		http: &http.Client{Transport: observer, CheckRedirect: refuse}}
}

// Pod returns the client of one pod. endpoint is the "ip:port" of its control
// listener. A Client is cheap; it needs no closing.
func (d *Dialer) Pod(endpoint, podUID string) *Client {
	return &Client{dialer: d, endpoint: endpoint, podUID: podUID, life: context.Background()}
}

// Close closes the connections that are idle.
func (d *Dialer) Close() { d.http.CloseIdleConnections() }

// token returns a token that the pod accepts for a while yet.
func (d *Dialer) token(podUID string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	if t, ok := d.tokens[podUID]; ok && now.Before(t.until) {
		return t.token, nil
	}
	if now.Sub(d.swept) >= renewBefore { // not for each of ten thousand pods
		d.swept = now
		maps.DeleteFunc(d.tokens, func(_ string, t callerToken) bool { return !now.Before(t.until) })
	}
	s, err := d.minter.Caller(token.Caller{Name: d.caller, PodUID: podUID})
	if err != nil {
		return "", fmt.Errorf("calling a media pod: %w", err)
	}
	d.tokens[podUID] = callerToken{token: s, until: now.Add(token.CallerTTL - renewBefore)}
	return s, nil
}
