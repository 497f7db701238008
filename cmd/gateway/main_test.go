package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/controlplane"
	"voiceroom.dev/voiceroom/hack/kubeassets/kubebin"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/token"
)

const (
	namespace = "voiceroom-system"
	user      = "system:serviceaccount:voiceroom-system:voiceroom-gateway"
	patience  = 30 * time.Second
	apiKey    = "a-back-end's-key-of-some-length"
	otherKey  = "another-back-end's-key-of-a-length"
)

func TestSettingsThatAreRefused(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--namespace", ""}, "--namespace"},
		{[]string{"--public-url", "voice.example.org"}, "--public-url"},
		{[]string{"--public-url", "ftp://voice.example.org"}, "--public-url"},
		{[]string{"--public-url", "https://example.org/voice"}, "--public-url"},
		{[]string{"--allowed-origin", "https://app.example.org/path"}, "--allowed-origin"},
		{[]string{"--trusted-proxy", "10.0.0.1"}, "--trusted-proxy"},
		{[]string{"--api-keys-dir", "/no/such/directory"}, "--api-keys-dir"},
		{[]string{"--api-keys-dir", "/x", "--api-keys-secret", "y"}, "api-keys"},
		{[]string{"--oidc-issuer", "https://login.example.org"}, "oidc-audience"},
		{[]string{"--tls-cert", "x"}, "tls-key"},
		{[]string{"--kubeconfig", "/no/such/file"}, "no/such/file"},
		{[]string{"--log-level", "loud"}, "log-level"},
		{[]string{"argument"}, "argument"},
	} {
		cmd := newCommand(func(slog.Handler) {})
		cmd.SetArgs(append([]string{"--namespace", namespace}, test.args...))
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: error %v, want one about %s", test.args, err, test.want)
		}
	}
}

// cluster is an API server on which the gateway may do what its role says.
type cluster struct {
	client.Client
	t          *testing.T
	kubeconfig string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	assets, err := kubebin.Ensure(t.Context(), os.Stderr, kubebin.ControlPlane()...)
	if err != nil {
		t.Fatal(err)
	}
	plane, err := controlplane.Start(t.Context(), controlplane.Options{Assets: assets, WithoutControllers: true, CRDPaths: []string{"../../config/crd"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	scheme := runtime.NewScheme()
	_ = clientgoscheme.AddToScheme(scheme)
	_ = v1alpha1.AddToScheme(scheme)
	c := &cluster{t: t, kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	if c.Client, err = client.New(plane.Config(), client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	restricted, err := plane.User(user)
	if err != nil {
		t.Fatal(err)
	}
	if err := controlplane.WriteKubeconfig(c.kubeconfig, restricted); err != nil {
		t.Fatal(err)
	}
	c.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	c.grant()
	return c
}

func (c *cluster) create(o client.Object) {
	c.t.Helper()
	if err := c.Create(c.t.Context(), o); err != nil {
		c.t.Fatal(err)
	}
}

// grant gives the gateway its generated role, and nothing else.
func (c *cluster) grant() {
	c.t.Helper()
	file, err := os.Open("../../config/rbac/gateway.yaml")
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	subject := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}}
	for decoder := yaml.NewYAMLOrJSONDecoder(file, 4096); ; {
		var raw runtime.RawExtension
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			c.t.Fatal(err)
		}
		if len(bytes.TrimSpace(raw.Raw)) == 0 || string(raw.Raw) == "null" {
			continue
		}
		object, _, err := clientgoscheme.Codecs.UniversalDeserializer().Decode(raw.Raw, nil, nil)
		if err != nil {
			c.t.Fatal(err)
		}
		switch role := object.(type) {
		case *rbacv1.ClusterRole:
			c.create(role)
			c.create(&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: role.Name}, Subjects: subject,
				RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name}})
		case *rbacv1.Role:
			c.create(role)
			c.create(&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: role.Namespace, Name: role.Name}, Subjects: subject,
				RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name}})
		}
	}
}

func (c *cluster) secret(name string, data map[string][]byte) {
	c.t.Helper()
	c.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data})
}

func newRing(t *testing.T) *token.Ring {
	t.Helper()
	ring, _, err := (*token.Ring)(nil).Rotate(time.Now(), token.DefaultRotation, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func ringData(t *testing.T, ring *token.Ring) map[string][]byte {
	t.Helper()
	b, err := ring.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{v1alpha1.RingKey: b}
}

func publicData(t *testing.T, ring *token.Ring) map[string]string {
	t.Helper()
	public, err := ring.Public().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{mediaapi.TokensFile: string(public), v1alpha1.CAFile: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// logFirst is logWith for the first run of this process only: what an earlier one left
// running may be logging.
func logFirst(handler slog.Handler) { firstRun.Do(func() { logWith(handler) }) }

var firstRun sync.Once

// running is a gateway that runs.
type running struct {
	t           *testing.T
	url, health string
	stop        context.CancelFunc
	ended       chan error
	log         *bytes.Buffer // to be read once ended
}

func start(c *cluster, args ...string) *running {
	c.t.Helper()
	listen, health := freeAddress(c.t), freeAddress(c.t)
	ctx, stop := context.WithCancel(context.Background())
	r := &running{t: c.t, url: "http://" + listen, health: "http://" + health, stop: stop, ended: make(chan error, 1), log: &bytes.Buffer{}}
	cmd := newCommand(logFirst)
	cmd.SetArgs(append([]string{"--kubeconfig", c.kubeconfig, "--namespace", namespace, "--listen", listen, "--health-listen", health, "--linger", "1s"}, args...))
	cmd.SetErr(&lockedWriter{w: r.log})
	go func() { r.ended <- cmd.ExecuteContext(ctx) }()
	c.t.Cleanup(stop)
	return r
}

// lockedWriter is for loggers that write at once.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// do returns status and body; 0 if nobody answers.
func (r *running) do(method, url, bearer, body string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
		req.Header.Set("X-Voiceroom-User", "ann")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = res.Body.Close() }()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

func (r *running) eventually(what string, yes func() bool) {
	r.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-tick.C:
		case err := <-r.ended:
			r.t.Fatalf("the gateway ended (%v) while the test waited until %s:\n%s", err, what, r.log)
		case <-deadline.C:
			r.t.Fatalf("in vain: %s", what)
		}
	}
}

// The command against a real API server, with no more rights than its role: it
// waits for its keys, follows their changes, serves, and stops cleanly.
func TestGateway(t *testing.T) {
	c := newCluster(t)
	r := start(c, "--allow-guests", "--api-keys-secret", "voiceroom-api-keys", "--access-log")
	ready := func() (int, string) { return r.do("GET", r.health+"/readyz", "", "") }
	r.eventually("it says what it waits for", func() bool {
		status, body := ready()
		return status == http.StatusServiceUnavailable && strings.Contains(body, v1alpha1.GatewayKeySecret) && strings.Contains(body, v1alpha1.TokenKeysSecret)
	})
	if status, _ := r.do("GET", r.health+"/healthz", "", ""); status != http.StatusOK {
		t.Errorf("healthz: %d", status)
	}

	ring := newRing(t)
	c.secret(v1alpha1.TokenKeysSecret, ringData(t, ring))
	c.secret(v1alpha1.GatewayKeySecret, ringData(t, newRing(t)))
	c.secret("voiceroom-api-keys", map[string][]byte{"shop": []byte(apiKey)})
	keys := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: v1alpha1.PublicKeysConfigMap}, Data: publicData(t, ring)}
	c.create(keys)
	r.eventually("it is ready", func() bool { status, _ := ready(); return status == http.StatusOK })

	status, body := r.do("POST", r.url+"/v1/guests", "", `{"name":"Bob"}`)
	var guest struct{ Ticket string }
	if err := json.Unmarshal([]byte(body), &guest); err != nil || status != http.StatusCreated {
		t.Fatalf("a guest: %d %s", status, body)
	}
	room := `{"namespace":"default","name":"book-club"}`
	r.eventually("it knows the API key", func() bool {
		status, body = r.do("POST", r.url+"/v1/rooms", apiKey, room)
		return status != http.StatusUnauthorized
	})
	if status != http.StatusCreated {
		t.Fatalf("a room: %d %s", status, body)
	}
	r.eventually("the room is in the cache", func() bool {
		status, body = r.do("POST", r.url+"/v1/rooms/default/book-club/join", guest.Ticket, "")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "room-not-ready")
	})
	if status, body = r.do("DELETE", r.url+"/v1/rooms/default/book-club", apiKey, ""); status != http.StatusNoContent {
		t.Errorf("deleting it: %d %s", status, body)
	}
	if status, _ = r.do("GET", r.url+"/r/default/book-club", "", ""); status != http.StatusOK {
		t.Errorf("the page: %d", status)
	}
	_, body = r.do("GET", r.health+"/metrics", "", "")
	if !strings.Contains(body, `voiceroom_gateway_requests_total{code="201",route="/v1/guests"} 1`) {
		t.Error("the metrics do not count the guest")
	}

	// Keys that are malformed change nothing; new ones are used; ones that are taken away open nothing.
	keys.Data[mediaapi.TokensFile] = "nonsense"
	update(c, keys)
	next := newRing(t)
	keys.Data = publicData(t, next)
	update(c, keys)
	r.eventually("it publishes the new keys", func() bool {
		_, body := r.do("GET", r.url+"/.well-known/jwks.json", "", "")
		return strings.Contains(body, next.Keys[0].ID)
	})
	apiKeys := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "voiceroom-api-keys"},
		Data: map[string][]byte{"shop": []byte("too short"), "forum": []byte(otherKey)}}
	refuses := func(key string) func() bool {
		return func() bool {
			status, _ := r.do("POST", r.url+"/v1/rooms", key, room)
			return status == http.StatusUnauthorized
		}
	}
	update(c, apiKeys)
	r.eventually("the key that was replaced opens nothing", refuses(apiKey))
	if refuses(otherKey)() {
		t.Error("the key beside it is refused too")
	}
	if err := c.Delete(t.Context(), apiKeys); err != nil {
		t.Fatal(err)
	}
	r.eventually("keys of a Secret that is gone open nothing", refuses(otherKey))

	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	for _, secret := range []string{guest.Ticket, apiKey, string(ring.Keys[0].Seed)} {
		if strings.Contains(r.log.String(), secret) {
			t.Error("a secret is in the log")
		}
	}
	if strings.Contains(r.log.String(), "forbidden") {
		t.Errorf("the role is too narrow:\n%s", r.log)
	}
}

func update(c *cluster, o client.Object) {
	c.t.Helper()
	if err := c.Update(c.t.Context(), o); err != nil {
		c.t.Fatal(err)
	}
}

func TestVersionAndHelp(t *testing.T) {
	for _, flag := range []string{"--version", "--help"} {
		var out bytes.Buffer
		cmd := newCommand(func(slog.Handler) {})
		cmd.SetArgs([]string{flag})
		cmd.SetOut(&out)
		if err := cmd.Execute(); err != nil || out.Len() == 0 {
			t.Errorf("%s: %v, %q", flag, err, out.String())
		}
	}
}
