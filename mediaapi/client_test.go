package mediaapi_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a real HTTPS server with a media pod's name and returns a dialer for it.
func serve(t *testing.T, now func() time.Time, h http.HandlerFunc) (d *mediaapi.Dialer, endpoint string, ring *token.Ring) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{mediaapi.ServerName}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	ring, _, err = (*token.Ring)(nil).Rotate(now(), token.DefaultRotation, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	minter := token.NewMinter(func() *token.Ring { return ring }, now, rand.Reader)
	d = mediaapi.NewDialer(token.CallerGateway, minter, func() *x509.CertPool { return roots }, now)
	t.Cleanup(d.Close)
	return d, strings.TrimPrefix(server.URL, "https://"), ring
}

// A caller's token is minted once for many calls, and anew long before it expires;
// each is good for its pod only.
func TestCallerTokens(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	bearers := make(chan string, 10)
	d, endpoint, ring := serve(t, now, func(w http.ResponseWriter, r *http.Request) {
		bearers <- strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if r.ProtoMajor != 2 {
			t.Errorf("called over %s", r.Proto)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	c := d.Pod(endpoint, "pod")
	call := func(c *mediaapi.Client) string {
		t.Helper()
		if err := c.Renew(t.Context(), 1, 0); err != nil {
			t.Fatal(err)
		}
		return <-bearers
	}
	first := call(c)
	if second := call(c); second != first {
		t.Error("a token was minted for each call")
	}
	verifier := token.NewVerifier(ring.Public, now)
	if got, err := verifier.Caller(first, "pod"); err != nil || got.Name != token.CallerGateway {
		t.Errorf("the token says %+v, %v", got, err)
	}
	ahead.Store(int64(token.CallerTTL / 2))
	later := call(c)
	if later == first {
		t.Error("an old token is used on")
	}
	ahead.Store(int64(token.CallerTTL - time.Second))
	if _, err := verifier.Caller(call(c), "pod"); err != nil {
		t.Errorf("a token was used after its end: %v", err)
	}
	other := d.Pod(endpoint, "other")
	if _, err := verifier.Caller(call(other), "pod"); !errors.Is(err, token.ErrAudience) {
		t.Errorf("another pod's token: %v", err)
	}
}

// Without a key that signs, no pod is to blame.
func TestNoSigningKey(t *testing.T) {
	minter := token.NewMinter(func() *token.Ring { return nil }, time.Now, rand.Reader)
	d := mediaapi.NewDialer(token.CallerOperator, minter, x509.NewCertPool, time.Now)
	nothing := func(mediaapi.Frame) error { return nil }
	for _, err := range []error{d.Pod("127.0.0.1:1", "pod").Renew(t.Context(), 1, 0), d.Pod("127.0.0.1:1", "pod").Watch(t.Context(), 1, 0, nothing)} {
		if !errors.Is(err, token.ErrNoKey) || errors.Is(err, mediaapi.ErrUnreachable) {
			t.Errorf("got %v", err)
		}
	}
}

// What comes back as a refusal, and what as a pod that cannot be reached.
func TestAnswers(t *testing.T) {
	refusal := func(err error) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { mediaapi.NewProblem(err).Write(w) }
	}
	tests := []struct {
		name   string
		answer http.HandlerFunc
		code   room.Code // empty: unreachable
	}{
		{"refusal of the room", refusal(&room.Error{Code: room.RoomFull, Detail: "full"}), room.RoomFull},
		{"wrapped refusal", refusal(fmt.Errorf("joining: %w", &room.Error{Code: room.Frozen})), room.Frozen},
		{"fault of the server", refusal(errors.New("secret path /x")), mediaapi.Internal},
		{"page of somebody else", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "bad gateway", http.StatusBadGateway) }, ""},
		{"problem of somebody else", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mediaapi.ProblemType)
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, `{"title":"Bad Gateway"}`)
		}, ""},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
		}, ""},
		{"not JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, ""},
		{"cut off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, endpoint, _ := serve(t, time.Now, test.answer)
			_, err := d.Pod(endpoint, "pod").Get(t.Context(), 0)
			switch {
			case test.code == "" && !errors.Is(err, mediaapi.ErrUnreachable):
				t.Errorf("got %v, want unreachable", err)
			case test.code != "" && (!errors.Is(err, &room.Error{Code: test.code}) || errors.Is(err, mediaapi.ErrUnreachable)):
				t.Errorf("got %v, want %s", err, test.code)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells too much: %v", err)
			}
		})
	}
}

// A pod of another name, or of another authority, is not talked to.
func TestWrongServer(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	d, _, _ := serve(t, time.Now, nil)
	if err := d.Pod(strings.TrimPrefix(server.URL, "https://"), "pod").Renew(t.Context(), 1, 0); !errors.Is(err, mediaapi.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

func TestWatch(t *testing.T) {
	stop := errors.New("enough")
	frames := func(w http.ResponseWriter, lines ...string) {
		for _, l := range lines {
			_, _ = io.WriteString(w, l+"\n")
		}
		_ = http.NewResponseController(w).Flush()
	}
	until := func(r *http.Request) { <-r.Context().Done() }
	tests := []struct {
		name   string
		answer http.HandlerFunc
		fn     func(mediaapi.Frame) error
		want   error
	}{
		{"the pod ends it", func(w http.ResponseWriter, _ *http.Request) { frames(w, `{"snapshot":{"epoch":1}}`, `{}`) }, nil, io.EOF},
		{"the watcher ends it", func(w http.ResponseWriter, r *http.Request) { frames(w, `{}`); until(r) }, func(mediaapi.Frame) error { return stop }, stop},
		{"the pod dies", func(w http.ResponseWriter, _ *http.Request) { frames(w, `{}`); panic(http.ErrAbortHandler) }, nil, mediaapi.ErrUnreachable},
		{"the pod goes silent", func(w http.ResponseWriter, r *http.Request) { frames(w, `{}`); until(r) }, nil, mediaapi.ErrUnreachable},
		{"refused", func(w http.ResponseWriter, _ *http.Request) {
			mediaapi.NewProblem(&room.Error{Code: room.StaleEpoch}).Write(w)
		}, nil, &room.Error{Code: room.StaleEpoch}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d, endpoint, _ := serve(t, time.Now, test.answer)
			fn := test.fn
			if fn == nil {
				fn = func(mediaapi.Frame) error { return nil }
			}
			if err := d.Pod(endpoint, "pod").Watch(t.Context(), 1, 0, fn); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// A watch that its own caller ends says so, whatever the connection makes of it.
func TestWatchEnds(t *testing.T) {
	d, endpoint, _ := serve(t, time.Now, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "{}\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	err := d.Pod(endpoint, "pod").Watch(ctx, 1, 0, func(mediaapi.Frame) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) || errors.Is(err, mediaapi.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

// Each code that a room gives has an HTTP status of its kind.
func TestStatus(t *testing.T) {
	for code, want := range map[room.Code]int{
		room.RoomFull: 409, room.Frozen: 503, room.StaleEpoch: 410, room.TokenReplayed: 401, room.IsBanned: 403,
		room.UnknownMember: 404, mediaapi.TooLarge: 413, room.BadCommand: 400, "offer-empty": 400, "something-new": 400,
	} {
		if got := mediaapi.Status(code); got != want {
			t.Errorf("%s is %d, want %d", code, got, want)
		}
	}
}

// A pod may keep a call waiting only while it is called for something.
func TestWhile(t *testing.T) {
	asked := make(chan struct{})
	d, endpoint, _ := serve(t, time.Now, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- struct{}{}:
			<-r.Context().Done()
		case <-r.Context().Done():
		}
	})
	moved := errors.New("moved")
	for name, call := range map[string]func(*mediaapi.Client) error{
		"a call":  func(c *mediaapi.Client) error { _, err := c.Get(t.Context(), 1); return err },
		"a watch": func(c *mediaapi.Client) error { return c.Watch(t.Context(), 1, 0, nil) },
	} {
		life, end := context.WithCancelCause(t.Context())
		go func() { <-asked; end(moved) }()
		if err := call(d.Pod(endpoint, "pod").While(life)); !errors.Is(err, mediaapi.ErrUnreachable) || !errors.Is(err, moved) {
			t.Errorf("%s: %v", name, err)
		}
		if err := call(d.Pod(endpoint, "pod").While(life)); !errors.Is(err, moved) {
			t.Errorf("%s that comes too late: %v", name, err)
		}
	}
}
