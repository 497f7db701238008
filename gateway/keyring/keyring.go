// Package keyring follows the keys that a gateway works with: the rings that sign
// tickets, room tokens and calls to media pods, the public keys, the certificate
// authority of the pods and the API keys of back ends.
//
// Each is one named object in the operator's namespace, watched by its name: the
// gateway needs, and is given, no right to list Secrets.
package keyring

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/gateway/apikey"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/token"
)

// Keyring is what the gateway signs and verifies with, as of now. The zero values
// returned before Start has read everything sign and verify nothing. Safe for
// concurrent use; what it returns is immutable.
type Keyring struct {
	log     *slog.Logger
	watches []watch

	tokens  atomic.Pointer[token.Ring]
	calls   atomic.Pointer[token.Ring]
	public  atomic.Pointer[token.PublicSet]
	roots   atomic.Pointer[x509.CertPool]
	apiKeys atomic.Pointer[apikey.Set]
}

// watch is one object and what to do with its contents.
type watch struct {
	kind, name string // kind as in a REST path
	optional   bool   // the gateway works without it
	set        func(data map[string][]byte) error
	present    *atomic.Bool
	informer   cache.SharedIndexInformer
}

// New makes a Keyring of the objects that the operator keeps in namespace.
// apiKeySecret names the Secret with the API keys; empty: none.
func New(client kubernetes.Interface, namespace, apiKeySecret string, log *slog.Logger) *Keyring {
	k := &Keyring{log: log}
	k.watches = []watch{
		{kind: "secrets", name: v1alpha1.TokenKeysSecret, set: setRing(&k.tokens)},
		{kind: "secrets", name: v1alpha1.GatewayKeySecret, set: setRing(&k.calls)},
		{kind: "configmaps", name: v1alpha1.PublicKeysConfigMap, set: k.setPublic},
	}
	if apiKeySecret != "" {
		k.watches = append(k.watches, watch{kind: "secrets", name: apiKeySecret, optional: true, set: k.setAPIKeys})
	}
	for i := range k.watches {
		k.watches[i].present = new(atomic.Bool)
		k.watches[i].informer = k.follow(client, namespace, k.watches[i])
	}
	return k
}

// Tokens is the ring of tickets and room tokens.
func (k *Keyring) Tokens() *token.Ring { return k.tokens.Load() }

// Calls is the ring of calls to media pods.
func (k *Keyring) Calls() *token.Ring { return k.calls.Load() }

// Public are the public halves of Tokens.
func (k *Keyring) Public() *token.PublicSet { return k.public.Load() }

// Roots is the authority of the media pods' certificates.
func (k *Keyring) Roots() *x509.CertPool {
	if roots := k.roots.Load(); roots != nil {
		return roots
	}
	return x509.NewCertPool() // nil would mean the system's
}

// APIKeys are the keys of back ends.
func (k *Keyring) APIKeys() *apikey.Set { return k.apiKeys.Load() }

// Start follows the objects until ctx ends; then it returns nil.
func (k *Keyring) Start(ctx context.Context) error {
	var running sync.WaitGroup
	for _, w := range k.watches {
		running.Go(func() { w.informer.RunWithContext(ctx) })
	}
	running.Wait()
	return nil
}

// NeedLeaderElection makes every replica of a manager run it.
func (k *Keyring) NeedLeaderElection() bool { return false }

// Ready names what is missing before the gateway can work; nil: nothing. It has the
// form of a readiness check.
func (k *Keyring) Ready(*http.Request) error {
	var missing []string
	for _, w := range k.watches {
		if !w.optional && !w.present.Load() {
			missing = append(missing, w.name)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("waiting for %s", strings.Join(missing, ", "))
	}
	return nil
}

func (k *Keyring) follow(client kubernetes.Interface, namespace string, w watch) cache.SharedIndexInformer {
	var object runtime.Object = &corev1.Secret{}
	if w.kind == "configmaps" {
		object = &corev1.ConfigMap{}
	}
	source := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), w.kind, namespace, fields.OneTermEqualSelector("metadata.name", w.name))
	informer := cache.NewSharedIndexInformer(source, object, 0, nil)
	take := func(object any) {
		if err := w.set(contents(object)); err != nil {
			k.log.Error("Keys cannot be used", "kind", w.kind, "name", w.name, "error", err)
			return
		}
		w.present.Store(true)
	}
	// The error is of a stopped informer, and this one has not started.
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    take,
		UpdateFunc: func(_, object any) { take(object) },
		DeleteFunc: func(any) {
			if w.optional { // API keys that were taken away open nothing
				_ = w.set(nil)
			}
		},
	})
	return informer
}

func contents(object any) map[string][]byte {
	switch o := object.(type) {
	case *corev1.Secret:
		return o.Data
	case *corev1.ConfigMap:
		data := make(map[string][]byte, len(o.Data))
		for name, value := range o.Data {
			data[name] = []byte(value)
		}
		return data
	}
	return nil
}

func setRing(ring *atomic.Pointer[token.Ring]) func(map[string][]byte) error {
	return func(data map[string][]byte) error {
		parsed, err := token.ParseRing(data[v1alpha1.RingKey])
		if err != nil {
			return fmt.Errorf("reading %s: %w", v1alpha1.RingKey, err)
		}
		ring.Store(parsed)
		return nil
	}
}

func (k *Keyring) setPublic(data map[string][]byte) error {
	public, err := token.ParsePublicSet(data[mediaapi.TokensFile])
	if err != nil {
		return fmt.Errorf("reading %s: %w", mediaapi.TokensFile, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data[v1alpha1.CAFile]) {
		return fmt.Errorf("reading %s: no certificate in it", v1alpha1.CAFile)
	}
	k.public.Store(public)
	k.roots.Store(roots)
	return nil
}

func (k *Keyring) setAPIKeys(data map[string][]byte) error {
	keys, err := apikey.Parse(data)
	k.apiKeys.Store(keys) // the well-formed ones
	return err
}
