// Package credentials makes what a media pod reads and its callers sign with, where there is no operator that would.
package credentials

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/token"
)

// Credentials are of one pod. One key ring signs for everybody.
type Credentials struct {
	Minter *token.Minter
	roots  *x509.CertPool
}

// Write makes keys and a certificate, valid for a day, and writes the files that a pod reads into dir.
func Write(dir string) (*Credentials, error) {
	ring, _, err := (*token.Ring)(nil).Rotate(time.Now(), token.DefaultRotation, rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making keys: %w", err)
	}
	public, err := ring.Public().Marshal()
	if err != nil {
		return nil, fmt.Errorf("writing keys: %w", err)
	}
	certificate, private, err := newCertificate()
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	for name, content := range map[string][]byte{mediaapi.TokensFile: public, mediaapi.OperatorFile: public, mediaapi.GatewayFile: public,
		"tls.crt": certificate, "tls.key": private} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, fmt.Errorf("writing credentials: %w", err)
		}
	}
	c := &Credentials{Minter: token.NewMinter(func() *token.Ring { return ring }, time.Now, rand.Reader), roots: x509.NewCertPool()}
	c.roots.AppendCertsFromPEM(certificate)
	return c, nil
}

// Dialer calls the pod as the operator does. The caller closes it.
func (c *Credentials) Dialer() *mediaapi.Dialer {
	return mediaapi.NewDialer(token.CallerOperator, c.Minter, func() *x509.CertPool { return c.roots }, time.Now)
}

// newCertificate makes the pair of the control API, which vouches for itself, in PEM.
func newCertificate() (certificate, private []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{mediaapi.ServerName}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}
