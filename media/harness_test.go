package media_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"voiceroom.dev/voiceroom/media"
	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	podUID  = "pod-uid"
	roomUID = "room-uid"
	owner   = "key:shop:ann"
)

// clock is the time of tokens, leases and the room, which tests can move.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// signer is a ring of keys and its minter.
type signer struct {
	ring *token.Ring
	*token.Minter
}

func newSigner(t testing.TB, now func() time.Time) *signer {
	t.Helper()
	ring, _, err := (*token.Ring)(nil).Rotate(now(), token.DefaultRotation, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{ring, token.NewMinter(func() *token.Ring { return ring }, now, rand.Reader)}
}

// write puts the public halves where a pod reads them.
func (s *signer) write(t testing.TB, dir, name string) {
	t.Helper()
	b, err := s.ring.Public().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, name), b)
}

// writeFile replaces a file in one step, as a projected volume does.
func writeFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// authority is the operator's CA.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{cert: cert, key: key, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

// write issues a certificate for media pods into dir.
func (a *authority) write(t testing.TB, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{mediaapi.ServerName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "tls.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	writeFile(t, filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

// pod is a media server that runs, and what calls it.
type pod struct {
	t      testing.TB
	server *media.Server
	clock  *clock
	stop   context.CancelFunc
	done   chan error // what Run returned

	ca                              *authority
	keysDir, tlsDir                 string
	tokens, operatorKey, gatewayKey *signer
	operator, gateway               *mediaapi.Client
}

// newPod starts a pod without a room; it is stopped when the test ends.
func newPod(t testing.TB, change ...func(*media.Config)) *pod {
	t.Helper()
	p := &pod{t: t, clock: &clock{}, done: make(chan error, 1), ca: newAuthority(t), keysDir: t.TempDir(), tlsDir: t.TempDir()}
	p.tokens, p.operatorKey, p.gatewayKey = newSigner(t, p.clock.now), newSigner(t, p.clock.now), newSigner(t, p.clock.now)
	p.tokens.write(t, p.keysDir, mediaapi.TokensFile)
	p.operatorKey.write(t, p.keysDir, mediaapi.OperatorFile)
	p.gatewayKey.write(t, p.keysDir, mediaapi.GatewayFile)
	p.ca.write(t, p.tlsDir)
	cfg := media.Config{PodUID: podUID, Control: "127.0.0.1:0", Health: "127.0.0.1:0", Media: netip.MustParseAddrPort("127.0.0.1:0"),
		AudienceTick: 20 * time.Millisecond, KeysDir: p.keysDir, TLSDir: p.tlsDir, Logger: slog.New(slog.NewTextHandler(testLog{t}, nil)), Now: p.clock.now}
	for _, f := range change {
		f(&cfg)
	}
	server, err := media.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.server = server
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	go func() { p.done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := p.exit(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	p.operator = p.dial(token.CallerOperator, p.operatorKey, podUID)
	p.gateway = p.dial(token.CallerGateway, p.gatewayKey, podUID)
	return p
}

// exit waits until Run returned.
func (p *pod) exit() error {
	err := <-p.done
	p.done <- err
	return err
}

// testLog writes a server's log lines to the test's.
type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func (p *pod) dial(caller string, s *signer, uid string) *mediaapi.Client {
	d := mediaapi.NewDialer(caller, s.Minter, func() *x509.CertPool { return p.ca.pool }, p.clock.now)
	p.t.Cleanup(d.Close)
	return d.Pod(p.server.ControlAddr(), uid)
}

// put hands the pod a room, with a lease.
func (p *pod) put(change ...func(*mediaapi.PutRequest)) *room.State {
	p.t.Helper()
	r := mediaapi.PutRequest{ID: room.ID{UID: roomUID, Namespace: "shop", Name: "lobby", GroupID: "g1"}, Epoch: 1,
		Spec: room.Spec{Generation: 1, Owner: owner, MaxMembers: 10, MaxMics: 5, Access: room.Public, MicPolicy: room.Auto}}
	for _, f := range change {
		f(&r)
	}
	state, err := p.operator.Put(p.t.Context(), r)
	if err != nil {
		p.t.Fatalf("putting the room: %v", err)
	}
	if err := p.operator.Renew(p.t.Context(), r.Epoch, 0); err != nil {
		p.t.Fatalf("renewing the lease: %v", err)
	}
	return state
}

// reserve takes a place and mints its token.
func (p *pod) reserve(subject, session string) (*mediaapi.Reservation, string) {
	p.t.Helper()
	got, err := p.gateway.Reserve(p.t.Context(), mediaapi.ReserveRequest{Epoch: 1, Reserve: room.Reserve{Subject: subject, Session: session, Name: subject}})
	if err != nil {
		p.t.Fatalf("reserving for %s: %v", subject, err)
	}
	return got, p.token(subject, session)
}

func (p *pod) token(subject, session string) string {
	p.t.Helper()
	s, err := p.tokens.Room(token.Room{RoomUID: roomUID, Epoch: 1, Subject: subject, Session: session, Group: "g1"})
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

func (p *pod) state() *room.State {
	p.t.Helper()
	s, err := p.operator.Get(p.t.Context(), 0)
	if err != nil {
		p.t.Fatalf("getting the room: %v", err)
	}
	return s
}

func (p *pod) command(as string, c room.Command) {
	p.t.Helper()
	if _, err := p.gateway.Command(p.t.Context(), 1, as, c); err != nil {
		p.t.Fatalf("%T: %v", c, err)
	}
}

// metric reads one sample of /metrics, 0 if it is not there.
func (p *pod) metric(name string) int {
	p.t.Helper()
	resp, err := http.Get("http://" + p.server.HealthAddr() + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "voiceroom_media_"+name+" "); ok {
			f, err := strconv.ParseFloat(value, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return int(f)
		}
	}
	return 0
}

// eventually waits for a condition that the test cannot be told of.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(transporttest.Patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

// wantProblem makes a request without our client, and checks how it is refused.
func (p *pod) wantProblem(method, path, auth, body string, status int, code room.Code) {
	p.t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.ca.pool, ServerName: mediaapi.ServerName}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(p.t.Context(), method, "https://"+p.server.ControlAddr()+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		p.t.Fatal(err)
	}
	text := drained(resp)
	var problem mediaapi.Problem
	if err := json.Unmarshal([]byte(text), &problem); err != nil {
		p.t.Fatalf("%s: %s", resp.Status, text)
	}
	if resp.StatusCode != status || problem.Status != status || problem.Code != code {
		p.t.Errorf("got %d %+v, want %d %s", resp.StatusCode, problem, status, code)
	}
}

// wantCode checks that err is a refusal with a code.
func wantCode(t testing.TB, err error, code room.Code) {
	t.Helper()
	if !errors.Is(err, &room.Error{Code: code}) {
		t.Errorf("got %v, want %s", err, code)
	}
}

// follow keeps a replica of the room until the stream ends.
type follower struct {
	replica chan *room.State // the newest
	ended   chan error
}

func (p *pod) follow(epoch uint64) *follower {
	f := &follower{replica: make(chan *room.State, 1), ended: make(chan error, 1)}
	var state *room.State
	ctx := p.t.Context()
	go func() {
		f.ended <- p.operator.Watch(ctx, epoch, 0, func(frame mediaapi.Frame) error {
			switch {
			case frame.Snapshot != nil:
				state = frame.Snapshot
			case frame.Event != nil && !state.Apply(*frame.Event):
				return errors.New("gap in the watch")
			}
			select {
			case <-f.replica:
			default:
			}
			f.replica <- state.Clone()
			return nil
		})
	}()
	return f
}

// until waits for a replica that ok accepts.
func (f *follower) until(t testing.TB, what string, ok func(*room.State) bool) *room.State {
	t.Helper()
	for {
		if s := transporttest.Receive(t, f.replica, what); ok(s) {
			return s
		}
	}
}

// drained reads a body to its end, so that no connection stays busy.
func drained(r *http.Response) string {
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return string(b)
}
