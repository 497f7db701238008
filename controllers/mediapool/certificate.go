package mediapool

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/signingkeys"
	"voiceroom.dev/voiceroom/mediaapi"
)

const (
	fieldManager = client.FieldOwner("voiceroom-mediapool")
	// renewBefore is how long before its end a certificate is replaced.
	renewBefore = signingkeys.CertificateLife / 3
)

// ensureCertificate makes the Secret with the certificate of the pool's pods, and
// replaces it long before it expires: pods read it anew. It returns when to look
// again.
func (r *Reconciler) ensureCertificate(ctx context.Context, pool *v1alpha1.MediaPool, m *memory) (time.Duration, error) {
	now := r.Clock.Now()
	if due := m.certificate.Sub(now); due > 0 && m.uid == pool.UID {
		return due, nil
	}
	authority, err := r.Keyring.Authority()
	if err != nil {
		return 0, err
	}
	var have corev1.Secret
	key := client.ObjectKey{Namespace: r.Namespace, Name: tlsSecretName(pool.Name)}
	if err := r.Client.Get(ctx, key, &have, client.DisableReadYourWritesConsistency); client.IgnoreNotFound(err) != nil {
		return 0, fmt.Errorf("getting Secret %s: %w", key, err)
	}
	expires := authority.Expiry(have.Data[corev1.TLSCertKey], have.Data[corev1.TLSPrivateKeyKey], mediaapi.ServerName, now)
	// One that is left of an earlier pool of this name is about to go with it.
	if expires.Sub(now) < renewBefore || !metav1.IsControlledBy(&have, pool) {
		cert, keyPEM, err := authority.Issue(mediaapi.ServerName, now)
		if err != nil {
			return 0, err
		}
		owner := ownedBy(pool)
		want := corev1ac.Secret(key.Name, key.Namespace).
			WithType(corev1.SecretTypeTLS).
			WithData(map[string][]byte{corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: keyPEM}).
			WithOwnerReferences(metav1ac.OwnerReference().WithAPIVersion(owner.APIVersion).WithKind(owner.Kind).WithName(owner.Name).
				WithUID(owner.UID).WithController(true).WithBlockOwnerDeletion(false))
		if err := r.Client.Apply(ctx, want, fieldManager, client.ForceOwnership, client.DisableReadYourWritesConsistency); err != nil {
			return 0, fmt.Errorf("applying Secret %s: %w", key, err)
		}
	}
	m.uid, m.certificate = pool.UID, now.Add(certificateCheck)
	return certificateCheck, nil
}
