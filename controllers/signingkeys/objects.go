package signingkeys

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/token"
)

// fieldManager owns the fields of the ConfigMaps.
const fieldManager = client.FieldOwner("voiceroom-keys")

// secrets are the four Secrets as they were read, with what is to be written.
type secrets struct {
	tokens, operator, gateway ringSecret
	ca                        authoritySecret
}

// storedSecret is a Secret that may not exist yet. dirty says that it is to be written.
type storedSecret struct {
	object *corev1.Secret
	dirty  bool
}

type ringSecret struct {
	storedSecret
	ring *token.Ring
}

type authoritySecret struct {
	storedSecret
	succession *succession
}

func (s *ringSecret) set(ring *token.Ring) error {
	b, err := ring.Marshal()
	if err != nil {
		return fmt.Errorf("marshalling the ring of Secret %s: %w", s.object.Name, err)
	}
	s.ring, s.object.Data, s.dirty = ring, map[string][]byte{v1alpha1.RingKey: b}, true
	return nil
}

func (s *authoritySecret) set(next *succession) {
	s.object.Type, s.object.Data = corev1.SecretTypeTLS, next.secretData()
	s.succession, s.dirty = next, true
}

// read reads and parses all four. A Secret that cannot be parsed is an error, never
// replaced: everything that it signed would be void.
func (r *Reconciler) read(ctx context.Context) (*secrets, error) {
	var s secrets
	for name, ring := range map[string]*ringSecret{
		v1alpha1.TokenKeysSecret: &s.tokens, v1alpha1.OperatorKeySecret: &s.operator, v1alpha1.GatewayKeySecret: &s.gateway} {
		if err := r.get(ctx, name, &ring.storedSecret); err != nil {
			return nil, err
		}
		if ring.object.ResourceVersion == "" {
			continue
		}
		parsed, err := token.ParseRing(ring.object.Data[v1alpha1.RingKey])
		if err != nil {
			return nil, fmt.Errorf("reading Secret %s: %w", name, err)
		}
		ring.ring = parsed
	}
	if err := r.get(ctx, v1alpha1.CASecret, &s.ca.storedSecret); err != nil {
		return nil, err
	}
	if s.ca.object.ResourceVersion == "" {
		return &s, nil
	}
	succession, err := parseSuccession(s.ca.object.Data)
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", v1alpha1.CASecret, err)
	}
	s.ca.succession = succession
	return &s, nil
}

func (r *Reconciler) get(ctx context.Context, name string, into *storedSecret) error {
	into.object = &corev1.Secret{}
	into.object.Namespace, into.object.Name = r.Namespace, name
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(into.object), into.object)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("getting Secret %s: %w", name, err)
	}
	into.object.Namespace, into.object.Name = r.Namespace, name
	return nil
}

// write keeps what changed. Whoever wrote meanwhile wins: the resource version (or
// the name) is taken, and the next reconcile starts from theirs.
func (s *secrets) write(ctx context.Context, c client.Client) error {
	for _, secret := range []*storedSecret{&s.ca.storedSecret, &s.tokens.storedSecret, &s.operator.storedSecret, &s.gateway.storedSecret} {
		if !secret.dirty {
			continue
		}
		var err error
		if secret.object.ResourceVersion == "" {
			err = c.Create(ctx, secret.object)
		} else {
			err = c.Update(ctx, secret.object)
		}
		if err != nil {
			return fmt.Errorf("writing Secret %s: %w", secret.object.Name, err)
		}
	}
	return nil
}

// publish applies the public halves to both namespaces and says whether that
// changed anything.
func (r *Reconciler) publish(ctx context.Context, k *keys) (bool, error) {
	data, err := k.publicFiles()
	if err != nil {
		return false, err
	}
	changed := false
	for _, namespace := range []string{r.MediaNamespace, r.Namespace} {
		var have corev1.ConfigMap
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: v1alpha1.PublicKeysConfigMap}, &have)
		switch {
		case client.IgnoreNotFound(err) != nil:
			return false, fmt.Errorf("getting ConfigMap %s/%s: %w", namespace, v1alpha1.PublicKeysConfigMap, err)
		case !apierrors.IsNotFound(err) && maps.Equal(have.Data, data):
			continue
		}
		want := corev1ac.ConfigMap(v1alpha1.PublicKeysConfigMap, namespace).WithData(data)
		if err := r.Client.Apply(ctx, want, fieldManager, client.ForceOwnership); err != nil {
			return false, fmt.Errorf("publishing keys to ConfigMap %s/%s: %w", namespace, v1alpha1.PublicKeysConfigMap, err)
		}
		changed = true
	}
	return changed, nil
}

// publicFiles are the public halves by the names of the files that pods read.
func (k *keys) publicFiles() (map[string]string, error) {
	files := map[string]string{v1alpha1.CAFile: string(k.ca.bundle())}
	public := k.public()
	for name, set := range map[string]*token.PublicSet{
		mediaapi.TokensFile: public.Tokens, mediaapi.OperatorFile: public.Operator, mediaapi.GatewayFile: public.Gateway} {
		b, err := set.Marshal()
		if err != nil {
			return nil, fmt.Errorf("marshalling %s: %w", name, err)
		}
		files[name] = string(b)
	}
	return files, nil
}
