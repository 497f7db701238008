package chatprovider_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/nats"
	"voiceroom.dev/voiceroom/chat/nats/natsserver"
	"voiceroom.dev/voiceroom/chat/registry"
	"voiceroom.dev/voiceroom/controllers/chatprovider"
	"voiceroom.dev/voiceroom/test/apiserver"
)

var cfg *rest.Config

func TestMain(m *testing.M) { os.Exit(apiserver.Run(m, &cfg)) }

// opener opens providers on NATS with a token that the test chooses.
type opener struct {
	chats registry.Registry
	token string
	err   error // what opening fails with
}

func (o *opener) Open(ctx context.Context, cp *v1alpha1.ChatProvider) error {
	if o.err != nil {
		return o.err
	}
	return o.chats.Set(ctx, cp.Name, cp.Spec.NATS.URL+o.token, func(context.Context) (chat.Provider, error) {
		return nats.New(nats.Config{URL: cp.Spec.NATS.URL, Token: o.token, Timeout: 500 * time.Millisecond, ReconnectWait: 10 * time.Millisecond})
	})
}

func (o *opener) Forget(name string) error { return o.chats.Remove(name) }

type world struct {
	client.WithWatch
	*opener
	*chatprovider.Reconciler
	now  time.Time
	nats natsserver.Config
	chat *natsserver.Server
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{WithWatch: apiserver.Client(t, cfg), opener: &opener{token: "right"}, now: time.Now(),
		nats: natsserver.Config{StoreDir: t.TempDir(), Token: "right"}}
	w.start(t)
	w.nats.Listen = w.chat.Addr().String()
	w.Reconciler = &chatprovider.Reconciler{Client: w.WithWatch, Live: w.WithWatch, Opener: w.opener, Providers: &w.chats,
		Now: func() time.Time { return w.now }}
	t.Cleanup(func() {
		if err := w.chats.Close(); err != nil {
			t.Error(err)
		}
		w.chat.Shutdown()
	})
	return w
}

func (w *world) start(t *testing.T) {
	t.Helper()
	var err error
	w.chat, err = natsserver.Start(t.Context(), w.nats)
	must(t, err)
}

func (w *world) provider(t *testing.T) *v1alpha1.ChatProvider {
	t.Helper()
	cp := &v1alpha1.ChatProvider{ObjectMeta: metav1.ObjectMeta{GenerateName: "chat-"},
		Spec: v1alpha1.ChatProviderSpec{NATS: &v1alpha1.NATSProvider{URL: "nats://" + w.nats.Listen}}}
	must(t, w.Create(t.Context(), cp))
	return cp
}

// reconcile runs once and returns the Ready condition and when it runs again.
func (w *world) reconcile(t *testing.T, cp *v1alpha1.ChatProvider) (*metav1.Condition, time.Duration) {
	t.Helper()
	result, err := w.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(cp)})
	must(t, err)
	must(t, client.IgnoreNotFound(w.Get(t.Context(), client.ObjectKeyFromObject(cp), cp)))
	return meta.FindStatusCondition(cp.Status.Conditions, v1alpha1.ConditionReady), result.RequeueAfter
}

func TestReady(t *testing.T) {
	for _, tt := range []struct {
		name    string
		spoil   func(*world)
		status  metav1.ConditionStatus
		reason  string
		message string
	}{
		{"it answers", func(*world) {}, metav1.ConditionTrue, v1alpha1.ReasonConnected, "answers"},
		{"it is down", func(w *world) { w.chat.Shutdown() }, metav1.ConditionFalse, v1alpha1.ReasonProviderUnavailable, "chat unavailable"},
		{"it refuses us", func(w *world) { w.token = "wrong" }, metav1.ConditionFalse, v1alpha1.ReasonProviderDenied, "denied"},
		{"no credentials", func(w *world) { w.err = fmt.Errorf("spec.nats.token: %w", registry.ErrCredentials) },
			metav1.ConditionFalse, v1alpha1.ReasonCredentialsNotFound, "spec.nats.token: credentials not found"},
		{"a bad address", func(w *world) { w.err = fmt.Errorf("spec.nats.url: %w", chat.ErrInvalid) },
			metav1.ConditionFalse, v1alpha1.ReasonProviderDenied, "spec.nats.url"},
		{"a long story", func(w *world) { w.err = fmt.Errorf("%s", strings.Repeat("é", 4000)) },
			metav1.ConditionFalse, v1alpha1.ReasonProviderUnavailable, "é"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.spoil(w)
			cp := w.provider(t)
			got, again := w.reconcile(t, cp)
			if got == nil || got.Status != tt.status || got.Reason != tt.reason || !strings.Contains(got.Message, tt.message) || got.ObservedGeneration != cp.Generation {
				t.Errorf("Ready is %+v, want %s, %s, ...%s...", got, tt.status, tt.reason, tt.message)
			}
			if again <= 0 {
				t.Error("it is not checked again")
			}
			if !slices.Contains(cp.Finalizers, v1alpha1.Finalizer) {
				t.Error("nothing holds the resource")
			}
			if want := []string{"Durable", "History", "Subscribe"}; tt.status == metav1.ConditionTrue && !slices.Equal(cp.Status.Capabilities, want) {
				t.Errorf("capabilities %v, want %v", cp.Status.Capabilities, want)
			}
		})
	}
}

// TestOutage: pauses between checks grow while it lasts, and it is over by itself.
func TestOutage(t *testing.T) {
	w := newWorld(t)
	cp := w.provider(t)
	_, usual := w.reconcile(t, cp)
	w.chat.Shutdown()
	_, first := w.reconcile(t, cp)
	w.now = w.now.Add(3 * time.Second)
	_, second := w.reconcile(t, cp)
	w.now = w.now.Add(time.Hour)
	_, last := w.reconcile(t, cp)
	if first >= second || second >= last || last != usual {
		t.Errorf("pauses of %v, %v, %v; want growing ones up to the usual %v", first, second, last, usual)
	}
	w.start(t)
	for {
		if ready, _ := w.reconcile(t, cp); ready.Status == metav1.ConditionTrue {
			break
		}
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestChangedCredentialsAreUsed at the next check, without an edit of the resource.
func TestChangedCredentialsAreUsed(t *testing.T) {
	w := newWorld(t)
	w.token = "wrong"
	cp := w.provider(t)
	if ready, _ := w.reconcile(t, cp); ready.Status != metav1.ConditionFalse {
		t.Fatalf("Ready is %+v with the wrong token", ready)
	}
	w.token = "right"
	if ready, _ := w.reconcile(t, cp); ready.Status != metav1.ConditionTrue {
		t.Errorf("Ready is %+v with the right token", ready)
	}
}

// TestGroupsHoldTheirProvider: it stays, open and checked, until the last group
// that may live there is gone.
func TestGroupsHoldTheirProvider(t *testing.T) {
	w := newWorld(t)
	cp := w.provider(t)
	w.reconcile(t, cp)
	ns := apiserver.Namespace(t, w)
	gc := &v1alpha1.GroupChat{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "a", Finalizers: []string{v1alpha1.Finalizer}},
		Spec: v1alpha1.GroupChatSpec{Provider: cp.Name, Owner: "o", MaxMembers: 2, MaxMics: 1}}
	never := &v1alpha1.GroupChat{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "b"}, Spec: gc.Spec} // has no group yet
	must(t, w.Create(t.Context(), gc))
	must(t, w.Create(t.Context(), never))
	must(t, w.Delete(t.Context(), cp))

	ready, again := w.reconcile(t, cp)
	if ready.Status != metav1.ConditionTrue || again <= 0 || !slices.Contains(cp.Finalizers, v1alpha1.Finalizer) {
		t.Errorf("Ready %+v, again in %v, finalizers %v; want it held and in use", ready, again, cp.Finalizers)
	}
	if _, err := w.chats.Get(cp.Name); err != nil {
		t.Errorf("closed although a group needs it: %v", err)
	}
	gc.Finalizers = nil
	must(t, w.Update(t.Context(), gc))
	w.reconcile(t, cp)
	apiserver.AwaitGone(t, w, cp)
	if _, err := w.chats.Get(cp.Name); err == nil {
		t.Error("still open although it is gone")
	}
}

func TestForcedAway(t *testing.T) {
	w := newWorld(t)
	cp := w.provider(t)
	w.reconcile(t, cp)
	cp.Finalizers = nil
	must(t, w.Update(t.Context(), cp))
	must(t, w.Delete(t.Context(), cp))
	w.reconcile(t, cp)
	if _, err := w.chats.Get(cp.Name); err == nil {
		t.Error("still open although it is gone")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
