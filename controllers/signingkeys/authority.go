package signingkeys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

const (
	// CertificateLife is how long a pool's certificate lives.
	CertificateLife = 90 * 24 * time.Hour
	// clockSkew is how far behind another machine's clock may be.
	clockSkew = 5 * time.Minute
)

// Authority signs the certificates of the media pods' control API. Immutable.
type Authority struct {
	cert        *x509.Certificate
	key         *ecdsa.PrivateKey
	pem, keyPEM []byte
}

// made is when the authority was made; expired says that nothing that it signed holds.
func (a *Authority) made() time.Time            { return a.cert.NotBefore.Add(clockSkew) }
func (a *Authority) expired(now time.Time) bool { return !now.Before(a.cert.NotAfter) }

// newAuthority makes a self-signed authority.
func newAuthority(now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the authority's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Voiceroom media control"},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing the authority: %w", err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return parseAuthority(encodeCertificate(der), keyPEM)
}

// parseAuthority reads what newAuthority made.
func parseAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, errors.New("certificate and key are not a pair in PEM") // the error might quote the key
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, errors.New("not an ECDSA certificate authority")
	}
	return &Authority{cert: pair.Leaf, key: key, pem: certPEM, keyPEM: keyPEM}, nil
}

// Issue makes a server certificate for a DNS name, valid for CertificateLife from
// now, or as long as the authority. It returns certificate and key in PEM.
func (a *Authority) Issue(dnsName string, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a key for %s: %w", dnsName, err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	notAfter := now.Add(CertificateLife)
	if a.cert.NotAfter.Before(notAfter) {
		notAfter = a.cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial, DNSNames: []string{dnsName},
		NotBefore: now.Add(-clockSkew), NotAfter: notAfter,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("signing a certificate for %s: %w", dnsName, err)
	}
	keyPEM, err = encodeKey(key)
	return encodeCertificate(der), keyPEM, err
}

// End is when the authority itself ends, and with it all that it signed.
func (a *Authority) End() time.Time { return a.cert.NotAfter }

// Expiry returns until when a certificate and its key, in PEM, serve dnsName under
// this authority; the zero time if they do not.
func (a *Authority) Expiry(certPEM, keyPEM []byte, dnsName string, now time.Time) time.Time {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return time.Time{}
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: dnsName, CurrentTime: now}); err != nil {
		return time.Time{}
	}
	return pair.Leaf.NotAfter
}

func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	return n, nil
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return encodePKCS8(der), nil
}

func encodePKCS8(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
