package signingkeys

import (
	"crypto/x509"
	"errors"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/token"
)

// ErrNotReady says that the keys were not read yet.
var ErrNotReady = errors.New("the signing keys are not there yet")

// Keyring is what the operator signs with now. Empty until the first reconcile;
// its parts always belong together. Safe for concurrent use.
type Keyring struct {
	current atomic.Pointer[keys]
	changed chan event.GenericEvent
}

// NewKeyring makes an empty keyring.
func NewKeyring() *Keyring { return &Keyring{changed: make(chan event.GenericEvent, 1)} }

// Changed tells, once and to one controller, that there are other keys than before.
func (k *Keyring) Changed() <-chan event.GenericEvent { return k.changed }

// use makes next the keys from now on.
func (k *Keyring) use(next *keys, changed bool) {
	k.current.Store(next)
	if !changed {
		return
	}
	select {
	case k.changed <- event.GenericEvent{Object: &corev1.Secret{}}:
	default: // it has not been heard yet
	}
}

// keys is immutable.
type keys struct {
	tokens, operator, gateway *token.Ring
	ca                        *succession
}

// Ready says whether there are keys to sign with.
func (k *Keyring) Ready() bool { return k.current.Load() != nil }

// Tokens returns the ring of tickets and room tokens, nil if not ready.
func (k *Keyring) Tokens() *token.Ring { return k.load().tokens }

// Operator returns the ring of the operator's calls to media pods, nil if not ready.
func (k *Keyring) Operator() *token.Ring { return k.load().operator }

// Roots are what the certificates of media pods are verified with.
func (k *Keyring) Roots() *x509.CertPool {
	roots := x509.NewCertPool()
	if ca := k.load().ca; ca != nil {
		for _, cert := range ca.certificates() {
			roots.AddCert(cert)
		}
	}
	return roots
}

// Authority returns the certificate authority that signs, or ErrNotReady.
func (k *Keyring) Authority() (*Authority, error) {
	if ca := k.load().ca; ca != nil {
		return ca.signer, nil
	}
	return nil, ErrNotReady
}

func (k *Keyring) load() *keys {
	if c := k.current.Load(); c != nil {
		return c
	}
	return &keys{}
}

// public returns what media pods verify with.
func (k *keys) public() mediaapi.Keys {
	return mediaapi.Keys{Tokens: k.tokens.Public(), Operator: k.operator.Public(), Gateway: k.gateway.Public()}
}
