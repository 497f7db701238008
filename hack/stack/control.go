package stack

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/token"
)

// Dialer calls media pods with the operator's key, as it is now. The caller closes it.
func (s *Stack) Dialer(ctx context.Context) (*mediaapi.Dialer, error) {
	var secret corev1.Secret
	var public corev1.ConfigMap
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: SystemNamespace, Name: v1alpha1.OperatorKeySecret}, &secret); err != nil {
		return nil, fmt.Errorf("reading the operator's key: %w", err)
	}
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: SystemNamespace, Name: v1alpha1.PublicKeysConfigMap}, &public); err != nil {
		return nil, fmt.Errorf("reading the pods' authority: %w", err)
	}
	ring, err := token.ParseRing(secret.Data[v1alpha1.RingKey])
	if err != nil {
		return nil, fmt.Errorf("reading the operator's key: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(public.Data[v1alpha1.CAFile]))
	minter := token.NewMinter(func() *token.Ring { return ring }, time.Now, nil)
	return mediaapi.NewDialer(token.CallerOperator, minter, func() *x509.CertPool { return roots }, time.Now), nil
}
