// Package providers turns ChatProvider resources into open chat.Providers. It is
// the one place that knows which back ends exist; operator and gateway share it.
package providers

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/nats"
	"voiceroom.dev/voiceroom/chat/registry"
)

// Opener keeps a registry in step with ChatProvider resources. Safe for
// concurrent use.
type Opener struct {
	// Registry is what Open and Forget change.
	Registry *registry.Registry
	// Secrets reads credentials. Only Secrets in Namespace, the operator's own, are
	// ever read: a ChatProvider cannot point at a tenant's.
	Secrets   client.Reader
	Namespace string
	// Client names this process to the back end.
	Client string
	Log    *slog.Logger
}

// Open makes the registry hold what the resource describes now, with the
// credentials as they are now. It does not wait for the back end. Errors wrap
// registry.ErrCredentials or chat.ErrInvalid where those are the cause, and never
// hold a secret.
func (o *Opener) Open(ctx context.Context, cp *v1alpha1.ChatProvider) error {
	switch spec := cp.Spec; {
	case spec.NATS != nil:
		return o.openNATS(ctx, cp.Name, spec.NATS)
	default:
		return fmt.Errorf("chat provider %q: %w: it names no back end that this version knows", cp.Name, chat.ErrInvalid)
	}
}

// Forget closes the provider of this name.
func (o *Opener) Forget(name string) error { return o.Registry.Remove(name) }

func (o *Opener) openNATS(ctx context.Context, name string, spec *v1alpha1.NATSProvider) error {
	token, err := o.secret(ctx, "nats.token", spec.Token)
	if err != nil {
		return err
	}
	ca, err := o.secret(ctx, "nats.ca", spec.CA)
	if err != nil {
		return err
	}
	cfg := nats.Config{URL: spec.URL, Client: o.Client, Token: string(token), CA: ca, Replicas: int(spec.Replicas), Log: o.Log}
	return o.Registry.Set(ctx, name, fingerprint(spec, token, ca), func(context.Context) (chat.Provider, error) {
		return nats.New(cfg)
	})
}

// secret returns nil if ref is nil. field is what the reader of an error looks for.
func (o *Opener) secret(ctx context.Context, field string, ref *v1alpha1.SecretKey) ([]byte, error) {
	if ref == nil {
		return nil, nil
	}
	var secret corev1.Secret
	err := o.Secrets.Get(ctx, client.ObjectKey{Namespace: o.Namespace, Name: ref.Name}, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("spec.%s: %w: there is no Secret %s/%s", field, registry.ErrCredentials, o.Namespace, ref.Name)
	case err != nil:
		return nil, fmt.Errorf("spec.%s: reading Secret %s/%s: %w", field, o.Namespace, ref.Name, err)
	case len(secret.Data[ref.Key]) == 0:
		return nil, fmt.Errorf("spec.%s: %w: Secret %s/%s has no key %q", field, registry.ErrCredentials, o.Namespace, ref.Name, ref.Key)
	}
	return secret.Data[ref.Key], nil
}

// fingerprint is a digest of everything that an open provider depends on.
func fingerprint(spec any, secrets ...[]byte) string {
	// Structs of strings and numbers always marshal, and byte slices become base64:
	// one unambiguous text.
	b, _ := json.Marshal([]any{spec, secrets})
	return fmt.Sprintf("%x", sha256.Sum256(b))
}
