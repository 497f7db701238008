package providers_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/nats/natsserver"
	"voiceroom.dev/voiceroom/chat/registry"
	"voiceroom.dev/voiceroom/cmd/internal/providers"
	"voiceroom.dev/voiceroom/test/apiserver"
)

var cfg *rest.Config

func TestMain(m *testing.M) { os.Exit(apiserver.Run(m, &cfg)) }

// world is a chat server that wants the token "right", and a namespace with the
// Secret that holds it.
type world struct {
	client.WithWatch
	*providers.Opener
	secret *corev1.Secret
	cp     *v1alpha1.ChatProvider
}

func newWorld(t *testing.T) *world {
	t.Helper()
	server, err := natsserver.Start(t.Context(), natsserver.Config{StoreDir: t.TempDir(), Token: "right"})
	must(t, err)
	t.Cleanup(server.Shutdown)
	w := &world{WithWatch: apiserver.Client(t, cfg)}
	w.Opener = &providers.Opener{Registry: &registry.Registry{}, Secrets: w.WithWatch, Namespace: apiserver.Namespace(t, w.WithWatch), Client: "test"}
	t.Cleanup(func() {
		if err := w.Registry.Close(); err != nil {
			t.Error(err)
		}
	})
	w.secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "chat"}, Data: map[string][]byte{"token": []byte("right")}}
	must(t, w.Create(t.Context(), w.secret))
	w.cp = &v1alpha1.ChatProvider{ObjectMeta: metav1.ObjectMeta{Name: w.Namespace},
		Spec: v1alpha1.ChatProviderSpec{NATS: &v1alpha1.NATSProvider{URL: server.URL(), Replicas: 1, Token: &v1alpha1.SecretKey{Name: "chat", Key: "token"}}}}
	return w
}

func (w *world) provider(t *testing.T) chat.Provider {
	t.Helper()
	p, err := w.Registry.Get(w.cp.Name)
	must(t, err)
	return p
}

func TestOpenReadsTheSecret(t *testing.T) {
	w := newWorld(t)
	must(t, w.Open(t.Context(), w.cp))
	first := w.provider(t)
	must(t, first.Check(t.Context()))

	w.cp.Spec.AllowedNamespaces = []string{"elsewhere"} // nothing that an open provider depends on
	must(t, w.Open(t.Context(), w.cp))
	if w.provider(t) != first {
		t.Error("opened again although nothing changed")
	}
	w.secret.Data["token"] = []byte("rotated")
	must(t, w.Update(t.Context(), w.secret))
	must(t, w.Open(t.Context(), w.cp))
	second := w.provider(t)
	if second == first {
		t.Fatal("still open with yesterday's token")
	}
	if err := second.Check(t.Context()); !errors.Is(err, chat.ErrDenied) {
		t.Errorf("checking with a token that the server does not know: %v, want ErrDenied", err)
	}
	must(t, w.Forget(w.cp.Name))
	if _, err := w.Registry.Get(w.cp.Name); !errors.Is(err, registry.ErrUnknown) {
		t.Errorf("after Forget: %v, want ErrUnknown", err)
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*v1alpha1.ChatProviderSpec)
		want   error
		field  string
	}{
		{"no such Secret", func(s *v1alpha1.ChatProviderSpec) { s.NATS.Token.Name = "nothing" }, registry.ErrCredentials, "spec.nats.token"},
		{"no such key", func(s *v1alpha1.ChatProviderSpec) { s.NATS.CA = &v1alpha1.SecretKey{Name: "chat", Key: "ca"} }, registry.ErrCredentials, "spec.nats.ca"},
		{"a back end of a later version", func(s *v1alpha1.ChatProviderSpec) { s.NATS = nil }, chat.ErrInvalid, "no back end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.change(&w.cp.Spec)
			err := w.Open(t.Context(), w.cp)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.field) {
				t.Errorf("%v, want %v about %s", err, tt.want, tt.field)
			}
			if strings.Contains(err.Error(), "right") {
				t.Errorf("the error holds the secret: %v", err)
			}
		})
	}
}

// TestFollow keeps a registry in step with what happens to the resource.
func TestFollow(t *testing.T) {
	w := newWorld(t)
	apiserver.Manage(t, cfg, func(_ context.Context, mgr ctrl.Manager) error { return providers.Follow(mgr, w.Opener) })
	await := func(what string, done func() bool) {
		t.Helper()
		apiserver.Await(t, w, w.secret, what, done)
	}
	must(t, w.Create(t.Context(), w.cp))
	await("it is open", func() bool { _, err := w.Registry.Get(w.cp.Name); return err == nil })
	first := w.provider(t)

	w.cp.Spec.NATS.Replicas = 3
	must(t, w.Update(t.Context(), w.cp))
	await("it is opened anew", func() bool { p, err := w.Registry.Get(w.cp.Name); return err == nil && p != first })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := first.Check(ctx); !errors.Is(err, chat.ErrUnavailable) {
		t.Errorf("the one before answers %v, want ErrUnavailable because it is closed", err)
	}
	must(t, w.Delete(t.Context(), w.cp))
	await("it is closed", func() bool { _, err := w.Registry.Get(w.cp.Name); return err != nil })
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
