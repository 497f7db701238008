package groupchat_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/nats"
	"voiceroom.dev/voiceroom/chat/nats/natsserver"
	"voiceroom.dev/voiceroom/chat/registry"
	"voiceroom.dev/voiceroom/controllers/groupchat"
	"voiceroom.dev/voiceroom/controllers/pace"
	"voiceroom.dev/voiceroom/test/apiserver"
)

const installation = "test-cluster"

var cfg *rest.Config

func TestMain(m *testing.M) { os.Exit(apiserver.Run(m, &cfg)) }

// world is a namespace of a real API server and a real chat server.
type world struct {
	client.WithWatch
	namespace string
	provider  string // name of the ChatProvider
	chats     *registry.Registry
	events    *events.FakeRecorder
	now       time.Time
	nats      natsserver.Config
	running   *natsserver.Server
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c := apiserver.Client(t, cfg)
	w := &world{WithWatch: c, namespace: apiserver.Namespace(t, c), chats: &registry.Registry{},
		events: events.NewFakeRecorder(100), now: time.Now(), nats: natsserver.Config{StoreDir: t.TempDir()}}
	w.provider = "chat-" + w.namespace
	w.startChat(t)
	w.nats.Listen = w.running.Addr().String()
	t.Cleanup(func() {
		if err := w.chats.Close(); err != nil {
			t.Error(err)
		}
		w.running.Shutdown()
		w.dropProvider(t)
	})
	return w
}

func (w *world) startChat(t *testing.T) {
	t.Helper()
	var err error
	if w.running, err = natsserver.Start(t.Context(), w.nats); err != nil {
		t.Fatal(err)
	}
}

// Open implements chatprovider.Opener.
func (w *world) Open(ctx context.Context, cp *v1alpha1.ChatProvider) error {
	return w.chats.Set(ctx, cp.Name, cp.Spec.NATS.URL, func(context.Context) (chat.Provider, error) {
		return nats.New(nats.Config{URL: cp.Spec.NATS.URL, Timeout: time.Second, ReconnectWait: 20 * time.Millisecond})
	})
}

// Forget implements chatprovider.Opener.
func (w *world) Forget(name string) error { return w.chats.Remove(name) }

// addProvider makes the ChatProvider, which no controller looks after yet.
func (w *world) addProvider(t *testing.T, change ...func(*v1alpha1.ChatProvider)) *v1alpha1.ChatProvider {
	t.Helper()
	cp := &v1alpha1.ChatProvider{ObjectMeta: metav1.ObjectMeta{Name: w.provider},
		Spec: v1alpha1.ChatProviderSpec{NATS: &v1alpha1.NATSProvider{URL: "nats://" + w.nats.Listen}}}
	for _, c := range change {
		c(cp)
	}
	must(t, w.Create(t.Context(), cp))
	return cp
}

// readyProvider is addProvider, opened and found ready.
func (w *world) readyProvider(t *testing.T, change ...func(*v1alpha1.ChatProvider)) *v1alpha1.ChatProvider {
	t.Helper()
	cp := w.addProvider(t, change...)
	must(t, w.Open(t.Context(), cp))
	w.setReady(t, cp, metav1.ConditionTrue, v1alpha1.ReasonConnected, "it answers")
	return cp
}

func (w *world) setReady(t *testing.T, cp *v1alpha1.ChatProvider, status metav1.ConditionStatus, reason, message string) {
	t.Helper()
	cp.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: message,
		LastTransitionTime: metav1.Now()}}
	must(t, w.Status().Update(t.Context(), cp))
}

// dropProvider takes the ChatProvider away by force, finalizer and all.
func (w *world) dropProvider(t *testing.T) {
	t.Helper()
	ctx, cp := context.Background(), &v1alpha1.ChatProvider{ObjectMeta: metav1.ObjectMeta{Name: w.provider}}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
	must(t, client.IgnoreNotFound(w.Delete(ctx, cp)))
	must(t, client.IgnoreNotFound(w.Patch(ctx, cp, patch)))
}

func (w *world) chat(t *testing.T) chat.Provider {
	t.Helper()
	p, err := w.chats.Get(w.provider)
	must(t, err)
	return p
}

// group makes a GroupChat resource.
func (w *world) group(t *testing.T, change ...func(*v1alpha1.GroupChat)) *v1alpha1.GroupChat {
	t.Helper()
	gc := &v1alpha1.GroupChat{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, GenerateName: "group-"},
		Spec: v1alpha1.GroupChatSpec{Provider: w.provider, Owner: "key:test:owner", MaxMembers: 4, MaxMics: 2}}
	for _, c := range change {
		c(gc)
	}
	must(t, w.Create(t.Context(), gc))
	return gc
}

// room makes a VoiceRoom; activated as its controller would say it.
func (w *world) room(t *testing.T, activated bool) *v1alpha1.VoiceRoom {
	t.Helper()
	vr := &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, GenerateName: "room-"},
		Spec: v1alpha1.VoiceRoomSpec{Owner: "key:test:owner", MaxMembers: 4, MaxMics: 2}}
	must(t, w.Create(t.Context(), vr))
	if activated {
		w.activate(t, vr)
	}
	return vr
}

func (w *world) activate(t *testing.T, vr *v1alpha1.VoiceRoom) {
	t.Helper()
	vr.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionActivated, Status: metav1.ConditionTrue,
		Reason: v1alpha1.ReasonOwnerAssociated, LastTransitionTime: metav1.Now()}}
	must(t, w.Status().Update(t.Context(), vr))
}

func ownedBy(vr *v1alpha1.VoiceRoom) func(*v1alpha1.GroupChat) {
	return func(gc *v1alpha1.GroupChat) {
		gc.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(vr, v1alpha1.GroupVersion.WithKind("VoiceRoom"))}
	}
}

// operator is a Reconciler whose writes, to API server and chat, all go through f.
func (w *world) operator(f *fuse) *groupchat.Reconciler {
	c := f.client(w.WithWatch)
	return &groupchat.Reconciler{Client: c, Live: c, Providers: fused{w.chats, f}, Events: w.events, Installation: installation, Counts: pace.New(pace.NewBudget(50), groupchat.CountEvery),
		Orphans: &groupchat.Orphans{Client: c, Live: c, Namespace: w.namespace}, Now: func() time.Time { return w.now }}
}

// run reconciles gc until it is settled or gone, or the operator dies.
func (w *world) run(t *testing.T, r *groupchat.Reconciler, f *fuse, gc *v1alpha1.GroupChat, settled func() bool) {
	t.Helper()
	for range 20 {
		err := w.Get(t.Context(), client.ObjectKeyFromObject(gc), gc)
		if client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		if err != nil || settled() {
			return
		}
		_, err = r.Reconcile(t.Context(), gc.DeepCopy())
		if f.blown {
			return
		}
		must(t, err)
	}
	t.Fatalf("not settled after 20 rounds: %+v", gc.Status)
}

// groups are those that this installation made for the world's namespace.
func (w *world) groups(t *testing.T) []chat.Group {
	t.Helper()
	groups, err := w.chat(t).ListGroups(t.Context(), installation+"/"+w.namespace+"/")
	must(t, err)
	return groups
}

var errDead = errors.New("the operator was killed")

// fuse ends an operator's life at a write: the first writes after it are done, the
// next is not, or is done without the operator hearing of it. Nothing works
// afterwards. A fuse that is never blown needs enough writes.
type fuse struct {
	writes int  // how many are still let through
	after  bool // the fatal write takes effect
	blown  bool
}

func whole() *fuse { return &fuse{writes: 1 << 20} }

func (f *fuse) read() error {
	if f.blown {
		return errDead
	}
	return nil
}

func (f *fuse) write(do func() error) error {
	if f.blown {
		return errDead
	}
	if f.writes--; f.writes >= 0 {
		return do()
	}
	f.blown = true
	if f.after {
		_ = do() // whatever it was, nobody hears of it
	}
	return errDead
}

func (f *fuse) client(c client.WithWatch) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			if err := f.read(); err != nil {
				return err
			}
			return c.Get(ctx, key, obj, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			return f.write(func() error { return c.Create(ctx, obj, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return f.write(func() error { return c.Patch(ctx, obj, patch, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return f.write(func() error { return c.SubResource(sub).Patch(ctx, obj, patch, opts...) })
		},
		Delete: unexpected[client.DeleteOption], Update: unexpected[client.UpdateOption],
		Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
			return errUnexpected
		},
	})
}

var errUnexpected = errors.New("this controller is not known to write in this way; count it in fuse")

func unexpected[O any](context.Context, client.WithWatch, client.Object, ...O) error {
	return errUnexpected
}

// fused gives providers whose writes go through the fuse.
type fused struct {
	*registry.Registry
	f *fuse
}

func (r fused) Get(name string) (chat.Provider, error) {
	p, err := r.Registry.Get(name)
	return fusedProvider{p, r.f}, err
}

type fusedProvider struct {
	chat.Provider
	f *fuse
}

func (p fusedProvider) CreateGroup(ctx context.Context, key string, spec chat.GroupSpec) (g chat.Group, err error) {
	err = p.f.write(func() error { g, err = p.Provider.CreateGroup(ctx, key, spec); return err })
	return g, err
}

func (p fusedProvider) SetValid(ctx context.Context, id string) error {
	return p.f.write(func() error { return p.Provider.SetValid(ctx, id) })
}

func (p fusedProvider) SetLimits(ctx context.Context, id string, l chat.Limits) error {
	return p.f.write(func() error { return p.Provider.SetLimits(ctx, id, l) })
}

func (p fusedProvider) DeleteGroup(ctx context.Context, id string) error {
	return p.f.write(func() error { return p.Provider.DeleteGroup(ctx, id) })
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
