package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/nats"
	"voiceroom.dev/voiceroom/chat/nats/natsserver"
	"voiceroom.dev/voiceroom/chat/registry"
	"voiceroom.dev/voiceroom/controllers"
	"voiceroom.dev/voiceroom/hack/controlplane"
	"voiceroom.dev/voiceroom/hack/devnode"
)

const (
	systemNamespace = "voiceroom-system"
	mediaNamespace  = "voiceroom-media"
	image           = "media:test"
	brokenImage     = "broken:test"
	// patience is how long anything may take before a test gives up; nothing asserts it.
	patience = 60 * time.Second
)

// The world that every test shares: a real control plane, a node that runs real
// media pods, a real chat server. Operators come and go.
var (
	plane   *controlplane.Plane
	cluster client.Client
	groups  chat.Provider
	// binaries are what the images of media pods run.
	binaries map[string]string
	node     *devnode.Node
	// gatewayBinary is the gateway's command; see startGateway.
	gatewayBinary string
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard()) // operators are killed here all the time
	code, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if code == 0 {
		// controller-runtime waits for ever for a cache that was stopped before it was filled.
		killedEarly := goleak.IgnoreAnyFunction("sigs.k8s.io/controller-runtime/pkg/cache.newMultiNamespaceInformerHandlerRegistration.func1")
		if err := goleak.Find(killedEarly); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func testMain(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir, err := os.MkdirTemp("", "voiceroom-controllers-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	media := filepath.Join(dir, "media")
	gatewayBinary = filepath.Join(dir, "gateway")
	if out, err := exec.Command("go", "build", "-o", dir, "../cmd/media", "../cmd/gateway").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("building media server and gateway: %w\n%s", err, out)
	}
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		assets = "../bin"
	}
	plane, err = controlplane.Start(ctx, controlplane.Options{Assets: assets, CRDPaths: []string{"../config/crd"}})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, plane.Stop()) }()
	cluster, err = client.New(unlimited(plane.Config()), client.Options{Scheme: controllers.Scheme()})
	if err != nil {
		return 1, err
	}
	server, err := natsserver.Start(ctx, natsserver.Config{StoreDir: filepath.Join(dir, "chat")})
	if err != nil {
		return 1, err
	}
	defer server.Shutdown()
	groups, err = nats.New(nats.Config{URL: server.URL(), Client: "test", Replicas: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, groups.Close()) }()
	if err := populate(ctx, server.URL()); err != nil {
		return 1, err
	}
	binaries = map[string]string{image: media, brokenImage: "/bin/false"}
	node, err = devnode.New(devnode.Options{Config: plane.Config(), Namespaces: []string{mediaNamespace}, Partitions: true, Binaries: binaries})
	if err != nil {
		return 1, err
	}
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	defer func() { cancel(); err = errors.Join(err, <-done) }()
	return m.Run(), nil
}

func populate(ctx context.Context, chatURL string) error {
	objects := []client.Object{
		&v1alpha1.ChatProvider{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.ChatProviderSpec{NATS: &v1alpha1.NATSProvider{URL: chatURL}}},
		newPool("default", 2, 100, 20000),
	}
	for _, name := range []string{systemNamespace, mediaNamespace} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		objects = append([]client.Object{ns}, objects...)
	}
	for _, o := range objects {
		if err := cluster.Create(ctx, o); err != nil {
			return fmt.Errorf("creating %T %s: %w", o, o.GetName(), err)
		}
	}
	return nil
}

func newPool(name string, warm, most, firstPort int32) *v1alpha1.MediaPool {
	return &v1alpha1.MediaPool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.MediaPoolSpec{Warm: warm, MaxPods: most,
		Network: v1alpha1.PoolNetwork{PortRange: v1alpha1.PortRange{Min: firstPort, Max: firstPort + 200}}}}
}

func unlimited(cfg *rest.Config) *rest.Config {
	cfg.QPS = -1
	return cfg
}

// opener opens the chat server of a ChatProvider, which needs no credentials here.
type opener struct{ chats *registry.Registry }

func (o opener) Open(ctx context.Context, cp *v1alpha1.ChatProvider) error {
	return o.chats.Set(ctx, cp.Name, cp.Spec.NATS.URL, func(context.Context) (chat.Provider, error) {
		return nats.New(nats.Config{URL: cp.Spec.NATS.URL, Client: "operator", Replicas: 1, Log: slog.New(slog.DiscardHandler)})
	})
}

func (o opener) Forget(name string) error { return o.chats.Remove(name) }

// startOperator runs an operator whose requests pass through wrap, until stop.
func startOperator(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) (stop func()) {
	t.Helper()
	cfg := unlimited(plane.Config())
	if wrap != nil {
		cfg.Wrap(wrap)
	}
	chats := &registry.Registry{}
	options := controllers.Options{Namespace: systemNamespace, MediaNamespace: mediaNamespace, MediaImage: image,
		GatewayURL: "https://voice.example.org", Providers: chats}
	managing := controllers.ManagerOptions(options)
	managing.Metrics = metricsserver.Options{BindAddress: "0"}
	managing.Controller = config.Controller{SkipNameValidation: ptr.To(true)} // one process, many operators
	mgr, err := ctrl.NewManager(cfg, managing)
	if err != nil {
		t.Fatal(err)
	}
	options.Opener = opener{chats}
	ctx, cancel := context.WithCancel(context.Background())
	if err := controllers.Setup(ctx, mgr, options); err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := errors.Join(<-done, chats.Close()); err != nil {
				t.Errorf("the operator ended with: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// newRoom creates a room; removeRoom must follow.
func newRoom(t *testing.T, name string, change ...func(*v1alpha1.VoiceRoom)) *v1alpha1.VoiceRoom {
	t.Helper()
	vr := &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: v1alpha1.VoiceRoomSpec{Owner: "key:test:ann"}}
	for _, c := range change {
		c(vr)
	}
	must(t, cluster.Create(t.Context(), vr))
	return vr
}

// removeRoom deletes a room and waits until nothing is left of it.
func removeRoom(t *testing.T, vr *v1alpha1.VoiceRoom) {
	t.Helper()
	must(t, client.IgnoreNotFound(cluster.Delete(t.Context(), vr)))
	until(t, "nothing is left of room "+vr.Name, func() (bool, error) { return traceless(t.Context(), vr) })
}

// traceless says whether pods, group, GroupChat and Secret of a room are gone.
func traceless(ctx context.Context, vr *v1alpha1.VoiceRoom) (bool, error) {
	if pods, err := podsOf(ctx, vr); err != nil || len(pods) > 0 {
		return false, err
	}
	for _, o := range []client.Object{&v1alpha1.GroupChat{}, &corev1.Secret{}} {
		name := vr.Name
		if _, ok := o.(*corev1.Secret); ok {
			name += "-host-ticket"
		}
		err := cluster.Get(ctx, client.ObjectKey{Namespace: vr.Namespace, Name: name}, o)
		if err == nil || client.IgnoreNotFound(err) != nil {
			return false, client.IgnoreNotFound(err)
		}
	}
	left, err := groupsOf(ctx, vr.Name)
	return len(left) == 0, err
}

// podsOf lists the pods that carry a room's labels.
func podsOf(ctx context.Context, vr *v1alpha1.VoiceRoom) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := cluster.List(ctx, &pods, client.InNamespace(mediaNamespace), client.MatchingLabels{v1alpha1.LabelRoomUID: string(vr.UID)})
	return pods.Items, err
}

// groupsOf lists the groups at the provider that belong to GroupChats of a name.
func groupsOf(ctx context.Context, name string) ([]chat.Group, error) {
	all, err := groups.ListGroups(ctx, "")
	var mine []chat.Group
	for _, g := range all {
		if strings.Contains(g.Key, "/"+name+"/") {
			mine = append(mine, g)
		}
	}
	return mine, err
}

// waitCondition waits until a condition of a room has a status and a reason (any if
// empty), and returns it. vr is updated.
func waitCondition(t *testing.T, vr *v1alpha1.VoiceRoom, kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	t.Helper()
	var found metav1.Condition
	until(t, fmt.Sprintf("%s of room %s is %s %s", kind, vr.Name, status, reason), func() (bool, error) {
		if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr); err != nil {
			return false, err
		}
		c := meta.FindStatusCondition(vr.Status.Conditions, kind)
		if c != nil {
			found = *c
		}
		return c != nil && c.Status == status && (reason == "" || c.Reason == reason), nil
	})
	return found
}

func waitReady(t *testing.T, vr *v1alpha1.VoiceRoom) {
	t.Helper()
	waitCondition(t, vr, v1alpha1.ConditionReady, metav1.ConditionTrue, "")
}

// until polls what other processes do; it gives up after patience.
func until(t *testing.T, what string, done func() (bool, error)) {
	t.Helper()
	deadline := time.After(patience)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		ok, err := done()
		if err != nil {
			t.Fatalf("waiting until %s: %v", what, err)
		}
		if ok {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("gave up waiting until %s; %s", what, pools(t.Context()))
		}
	}
}

// pools tells how the pools are, for a test that failed.
func pools(ctx context.Context) string {
	var list v1alpha1.MediaPoolList
	if err := cluster.List(ctx, &list); err != nil {
		return err.Error()
	}
	var all []string
	for _, mp := range list.Items {
		if c := meta.FindStatusCondition(mp.Status.Conditions, v1alpha1.ConditionReady); c != nil {
			all = append(all, mp.Name+": "+c.Message)
		}
	}
	return strings.Join(all, "; ")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
