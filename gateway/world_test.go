package gateway_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
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

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/nats"
	"voiceroom.dev/voiceroom/chat/nats/natsserver"
	"voiceroom.dev/voiceroom/gateway"
	"voiceroom.dev/voiceroom/gateway/apikey"
	"voiceroom.dev/voiceroom/hack/controlplane"
	"voiceroom.dev/voiceroom/hack/kubeassets/kubebin"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
	"voiceroom.dev/voiceroom/web"
)

// The cluster and the chat server of this package's tests.
var (
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

	assets, err := kubebin.Ensure(ctx, os.Stderr, kubebin.ControlPlane()...)
	must(err)
	plane, err := controlplane.Start(ctx, controlplane.Options{Assets: assets, WithoutControllers: true,
		CRDPaths: []string{filepath.Join("..", "config", "crd")}})
	must(err)
	defer func() { must(plane.Stop()) }()
	kube := plane.Config()
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
	apiKey    = "a-back-end's-key-of-some-length"  // of "shop"
	dottedKey = "a.key.that-has-the-form-of-a-JWT" // of "forum"
	owner     = "key:shop:ann"
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
	w.createRoom("", spec)
	return w
}

func (w *world) startGateway(changes func(*gateway.Config)) {
	w.t.Helper()
	apiKeys, err := apikey.Parse(map[string][]byte{"shop": []byte(apiKey), "forum": []byte(dottedKey)})
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
		Providers: provider{w.chat},
		Dial: func(life context.Context, endpoint, podUID string) gateway.Pod {
			return dialer.Pod(endpoint, podUID).While(life)
		},
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
	if w.config.Cluster.Cached == client.Reader(cached) { // one that lags behind has no news either
		if err := w.gateway.Follow(w.t.Context(), cached); err != nil {
			w.t.Fatal(err)
		}
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

// createRoom makes the VoiceRoom and its group, and gives it to a pod. The name may
// be empty.
func (w *world) createRoom(name string, spec v1alpha1.VoiceRoomSpec) {
	w.t.Helper()
	spec.Owner = cmp.Or(spec.Owner, owner)
	w.vr = &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, GenerateName: "room-"}, Spec: spec}
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

// recreate deletes the room and makes another of the same name.
func (w *world) recreate() {
	w.t.Helper()
	if err := direct.Delete(w.t.Context(), w.vr); err != nil {
		w.t.Fatal(err)
	}
	w.createRoom(w.vr.Name, w.vr.Spec)
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
	w.agree(c, a)
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
