package gateway_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/nats"
	"voiceroom.dev/voiceroom/chat/nats/natsserver"
	"voiceroom.dev/voiceroom/gateway"
	"voiceroom.dev/voiceroom/gateway/apikey"
	"voiceroom.dev/voiceroom/media"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
	"voiceroom.dev/voiceroom/web"
)

// The cluster and the chat server of this package's tests.
var (
	kube    *rest.Config
	direct  client.Client // the API server itself
	cached  cache.Cache
	natsURL string
)

func TestMain(m *testing.M) {
	before := goleak.IgnoreCurrent()
	code := testMain(m)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if err := goleak.Find(before); err != nil && code == 0 {
		_, _ = os.Stderr.WriteString(err.Error())
		code = 1
	}
	os.Exit(code)
}

func testMain(m *testing.M) int {
	ctrl.SetLogger(logr.Discard())
	ctx, cancel := context.WithCancel(context.Background())
	dir, err := os.MkdirTemp("", "gateway")
	must(err)
	defer func() { _ = os.RemoveAll(dir) }()
	server, err := natsserver.Start(ctx, natsserver.Config{StoreDir: dir})
	must(err)
	defer server.Shutdown()
	natsURL = server.URL()

	env := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join("..", "config", "crd")},
		ErrorIfCRDPathMissing: true,
		BinaryAssetsDirectory: cmp.Or(os.Getenv("KUBEBUILDER_ASSETS"), filepath.Join("..", "bin")),
	}
	kube, err = env.Start()
	must(err)
	defer func() { must(env.Stop()) }()
	scheme := runtime.NewScheme()
	must(clientgoscheme.AddToScheme(scheme))
	must(v1alpha1.AddToScheme(scheme))
	connections, err := rest.HTTPClientFor(kube)
	must(err)
	defer connections.CloseIdleConnections()
	direct, err = client.New(kube, client.Options{Scheme: scheme, HTTPClient: connections})
	must(err)
	cached, err = cache.New(kube, cache.Options{Scheme: scheme, HTTPClient: connections})
	must(err)
	must(gateway.Index(ctx, cached))
	var running sync.WaitGroup
	running.Go(func() { must(cached.Start(ctx)) })
	defer running.Wait()
	defer cancel()
	if !cached.WaitForCacheSync(ctx) {
		panic("the cache did not start")
	}
	return m.Run()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// patience is how long a test waits for what must happen before it fails.
const patience = 20 * time.Second

// eventually waits until yes returns true.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("in vain: %s", what)
		}
	}
}

const (
	apiKey = "a-back-end's-key-of-some-length" // of "shop"
	owner  = "key:shop:ann"
)

// keys are the deployment's: of tokens, of the operator and of the gateways.
type keys struct{ tokens, operator, gateway *token.Ring }

func newRing() *token.Ring {
	ring, _, err := (*token.Ring)(nil).Rotate(time.Now(), token.DefaultRotation, rand.Reader)
	must(err)
	return ring
}

// world is a deployment without an operator: a gateway, one room of its own with a
// real pod, the real chat. The test is the operator.
type world struct {
	t       *testing.T
	keys    keys
	roots   *x509.CertPool
	keysDir string
	tlsDir  string
	minter  *token.Minter
	chat    *nats.Provider
	gateway *gateway.Gateway
	dialers []*mediaapi.Dialer
	url     string
	config  gateway.Config

	vr    *v1alpha1.VoiceRoom
	group chat.Group
	pod   *mediaapi.Client // as the operator
}

// provider makes one back end the one of every name.
type provider struct{ chat.Provider }

func (p provider) Get(string) (chat.Provider, error) { return p.Provider, nil }

// newWorld starts a deployment with one room. changes may be nil.
func newWorld(t *testing.T, spec v1alpha1.VoiceRoomSpec, changes func(*gateway.Config)) *world {
	t.Helper()
	w := &world{t: t, keys: keys{newRing(), newRing(), newRing()}, keysDir: t.TempDir(), tlsDir: t.TempDir()}
	w.minter = token.NewMinter(func() *token.Ring { return w.keys.tokens }, time.Now, rand.Reader)
	w.writeKeys()
	var err error
	if w.chat, err = nats.New(nats.Config{URL: natsURL}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.chat.Close() })
	w.startGateway(changes)
	w.createRoom(spec)
	return w
}

func (w *world) startGateway(changes func(*gateway.Config)) {
	w.t.Helper()
	apiKeys, err := apikey.Parse(map[string][]byte{"shop": []byte(apiKey)})
	if err != nil {
		w.t.Fatal(err)
	}
	dialer := mediaapi.NewDialer(token.CallerGateway, token.NewMinter(func() *token.Ring { return w.keys.gateway }, time.Now, nil),
		func() *x509.CertPool { return w.roots }, time.Now)
	w.dialers = append(w.dialers, dialer)
	w.config = gateway.Config{
		Cluster: gateway.Cluster{Cached: cached, Live: direct, Writer: direct},
		Credentials: gateway.Credentials{
			Ring: func() *token.Ring { return w.keys.tokens }, Public: func() *token.PublicSet { return w.keys.tokens.Public() },
			APIKeys: func() *apikey.Set { return apiKeys },
		},
		Providers:      provider{w.chat},
		Dial:           func(endpoint, podUID string) gateway.Pod { return dialer.Pod(endpoint, podUID) },
		Guests:         gateway.Guests{Allow: true, PerSecond: 100, Burst: 100},
		RoomNamespaces: []string{"default"},
		Web:            web.Files(), WebPolicy: web.Policy,
		Log:     slog.New(slog.NewTextHandler(w.t.Output(), nil)),
		Metrics: prometheus.NewRegistry(),
	}
	if changes != nil {
		changes(&w.config)
	}
	if w.gateway, err = gateway.New(w.config); err != nil {
		w.t.Fatal(err)
	}
	if err := w.gateway.Follow(w.t.Context(), cached); err != nil {
		w.t.Fatal(err)
	}
	server := httptest.NewServer(w.gateway)
	w.url = server.URL
	w.t.Cleanup(func() {
		w.gateway.Drain()
		server.Close()
		if err := w.gateway.Wait(context.Background()); err != nil {
			w.t.Error(err)
		}
	})
}

// createRoom makes the VoiceRoom and its group, and gives it to a pod.
func (w *world) createRoom(spec v1alpha1.VoiceRoomSpec) {
	w.t.Helper()
	spec.Owner = cmp.Or(spec.Owner, owner)
	w.vr = &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "room-"}, Spec: spec}
	if err := direct.Create(w.t.Context(), w.vr); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = direct.Delete(context.Background(), w.vr) })
	var err error
	w.group, err = w.chat.CreateGroup(w.t.Context(), string(w.vr.UID), chat.GroupSpec{Owner: spec.Owner,
		Limits: chat.Limits{MaxMembers: int(w.vr.Spec.MaxMembers), MaxMics: int(w.vr.Spec.MaxMics)}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.claim(1, nil)
}

// claim starts a pod, hands it the room under an epoch, and says so in the status.
func (w *world) claim(epoch uint64, seed *room.State) {
	w.t.Helper()
	uid := rand.Text()
	endpoint := w.startPod(uid)
	dialer := mediaapi.NewDialer(token.CallerOperator, token.NewMinter(func() *token.Ring { return w.keys.operator }, time.Now, nil),
		func() *x509.CertPool { return w.roots }, time.Now)
	w.dialers = append(w.dialers, dialer)
	w.pod = dialer.Pod(endpoint, uid)
	s := w.vr.Spec
	_, err := w.pod.Put(w.t.Context(), mediaapi.PutRequest{
		ID:    room.ID{UID: string(w.vr.UID), Namespace: w.vr.Namespace, Name: w.vr.Name, GroupID: w.group.ID},
		Epoch: epoch, Seed: seed,
		Spec: room.Spec{Generation: w.vr.Generation, Owner: s.Owner, MaxMembers: int(s.MaxMembers), MaxMics: int(s.MaxMics),
			Access: room.Access(s.Access), MicPolicy: room.MicPolicy(s.MicPolicy), Moderators: s.Moderators, Banned: s.Banned},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.status(func(s *v1alpha1.VoiceRoomStatus) {
		s.Phase, s.GroupID = v1alpha1.RoomOpen, w.group.ID
		s.Media = &v1alpha1.RoomMediaStatus{Pod: "pod", PodUID: uid, Endpoint: endpoint, Epoch: int64(epoch)}
	})
}

// status changes the room's status, and waits until the gateway's cache has it.
func (w *world) status(change func(*v1alpha1.VoiceRoomStatus)) {
	w.t.Helper()
	before := w.vr.DeepCopy()
	change(&w.vr.Status)
	if err := direct.Status().Patch(w.t.Context(), w.vr, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
	eventually(w.t, "the cache has the room's status", func() bool {
		var vr v1alpha1.VoiceRoom
		err := cached.Get(w.t.Context(), client.ObjectKeyFromObject(w.vr), &vr)
		return err == nil && vr.ResourceVersion == w.vr.ResourceVersion
	})
}

// startPod runs a media server until the test ends.
func (w *world) startPod(uid string) (endpoint string) {
	w.t.Helper()
	server, err := media.New(media.Config{PodUID: uid, Control: "127.0.0.1:0", Health: "127.0.0.1:0",
		Media: netip.MustParseAddrPort("127.0.0.1:0"), KeysDir: w.keysDir, TLSDir: w.tlsDir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(func() {
		for _, d := range w.dialers { // a pod that stops waits for its callers
			d.Close()
		}
		cancel()
		running.Wait()
	})
	return server.ControlAddr()
}

// writeKeys writes what a pod has mounted.
func (w *world) writeKeys() {
	w.t.Helper()
	for name, ring := range map[string]*token.Ring{mediaapi.TokensFile: w.keys.tokens, mediaapi.OperatorFile: w.keys.operator, mediaapi.GatewayFile: w.keys.gateway} {
		b, err := ring.Public().Marshal()
		must(err)
		must(os.WriteFile(filepath.Join(w.keysDir, name), b, 0o600))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "media"}, DNSNames: []string{mediaapi.ServerName},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	must(os.WriteFile(filepath.Join(w.tlsDir, "tls.crt"), certificate, 0o600))
	must(os.WriteFile(filepath.Join(w.tlsDir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	w.roots = x509.NewCertPool()
	w.roots.AppendCertsFromPEM(certificate)
}

// ticket signs a ticket for the world's room.
func (w *world) ticket(t token.Ticket) string {
	w.t.Helper()
	if t.ExpiresAt.IsZero() {
		t.ExpiresAt = time.Now().Add(time.Hour)
	}
	if t.RoomUID == "" && t.Purpose != token.PurposeGuest {
		t.Room, t.RoomUID = w.vr.Namespace+"/"+w.vr.Name, string(w.vr.UID)
	}
	signed, err := w.minter.Ticket(t)
	if err != nil {
		w.t.Fatal(err)
	}
	return signed
}

func (w *world) hostTicket() string {
	return w.ticket(token.Ticket{Purpose: token.PurposeHost, Subject: w.vr.Spec.Owner, Name: "Ann"})
}

// path is an address below the room's.
func (w *world) path(below string) string {
	return "/v1/rooms/" + w.vr.Namespace + "/" + w.vr.Name + below
}

// call is one request of a test.
type call struct {
	method, path string
	bearer       string
	header       http.Header
	body         string
	contentType  string // default: JSON, if there is a body
}

// answer is what came back.
type answer struct {
	status int
	code   string // of a problem
	detail string
	header http.Header
	body   []byte
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if a.status/100 != 2 {
		t.Fatalf("HTTP %d %s: %s", a.status, a.code, a.detail)
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("reading %q: %v", a.body, err)
	}
}

func (w *world) do(c call) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), c.method, w.url+c.path, strings.NewReader(c.body))
	if err != nil {
		w.t.Fatal(err)
	}
	for name, values := range c.header {
		req.Header[name] = values
	}
	if c.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	if c.body != "" {
		req.Header.Set("Content-Type", cmp.Or(c.contentType, "application/json"))
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatalf("%s %s: %v", c.method, c.path, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, body: body}
	if strings.HasPrefix(res.Header.Get("Content-Type"), mediaapi.ProblemType) {
		var p mediaapi.Problem
		if err := json.NewDecoder(bytes.NewReader(body)).Decode(&p); err != nil || p.Status != res.StatusCode {
			w.t.Errorf("%s %s: a malformed problem: %s", c.method, c.path, body)
		}
		a.code, a.detail = string(p.Code), p.Detail
	}
	return a
}

// grant is the answer to a join.
type grant struct {
	Token, Session, GroupID, Role, RTC string
	Member                             uint32
	Epoch                              uint64
	ExpiresAt                          time.Time
}

func (w *world) join(credential, body string) grant {
	w.t.Helper()
	var g grant
	w.do(call{method: "POST", path: w.path("/join"), bearer: credential, body: body}).into(w.t, &g)
	return g
}

// guest makes a guest's identity.
func (w *world) guest(name string) (ticket, subject string) {
	w.t.Helper()
	var made struct{ Ticket, Subject string }
	w.do(call{method: "POST", path: "/v1/guests", body: `{"name":"` + name + `"}`}).into(w.t, &made)
	return made.Ticket, made.Subject
}

func (w *world) state() *room.State {
	w.t.Helper()
	state, err := w.pod.Get(w.t.Context(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return state
}

// metric sums a metric of the gateway over its labels.
func (w *world) metric(name string) float64 {
	w.t.Helper()
	families, err := w.config.Metrics.(*prometheus.Registry).Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}
