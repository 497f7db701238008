package signingkeys

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// authorityLife is how long an authority is trusted.
	authorityLife = 365 * 24 * time.Hour
	// publishAhead is how long an authority is trusted before it signs. Callers read it within
	// minutes.
	publishAhead = 24 * time.Hour
)

// Keys of the authorities' Secret beside those of its type, which are the signing one's.
const (
	nextCertKey   = "next.crt"
	nextKeyKey    = "next.key"
	formerCertKey = "former.crt" // one after the other
)

// succession is the authority that signs and those that are trusted beside it. One makes
// room for the next while everything that it signed still holds: the next one is trusted
// a day before it signs, and the former ones until they expire, which is after whatever
// they signed. Immutable.
type succession struct {
	signer *Authority
	next   *Authority // nil: none yet
	former []*x509.Certificate
}

// rotate returns the succession as it should be at now, and whether it differs. A nil one
// has nobody in it: the first authority signs at once.
func (s *succession) rotate(now time.Time) (*succession, bool, error) {
	var due succession
	if s != nil {
		due = *s
	}
	changed := false
	if due.next != nil && (due.signer.expired(now) || !now.Before(due.next.made().Add(publishAhead))) {
		due.former = append([]*x509.Certificate{due.signer.cert}, due.former...)
		due.signer, due.next, changed = due.next, nil, true
	}
	if due.signer == nil || due.signer.expired(now) {
		first, err := newAuthority(now)
		if err != nil {
			return nil, false, err
		}
		due.signer, changed = first, true
	}
	// A certificate that is signed last of all still lives as long as others.
	if due.next == nil && !now.Before(due.signer.made().Add(authorityLife-CertificateLife-2*publishAhead)) {
		next, err := newAuthority(now)
		if err != nil {
			return nil, false, err
		}
		due.next, changed = next, true
	}
	var trusted []*x509.Certificate
	for _, cert := range due.former {
		if now.Before(cert.NotAfter) {
			trusted = append(trusted, cert)
		}
	}
	changed = changed || len(trusted) < len(due.former)
	due.former = trusted
	return &due, changed, nil
}

// certificates are all that are trusted.
func (s *succession) certificates() []*x509.Certificate {
	all := []*x509.Certificate{s.signer.cert}
	if s.next != nil {
		all = append(all, s.next.cert)
	}
	return append(all, s.former...)
}

// bundle is all that are trusted, in PEM.
func (s *succession) bundle() []byte { return encodeCertificates(s.certificates()) }

func encodeCertificates(certs []*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, cert := range certs {
		b.Write(encodeCertificate(cert.Raw))
	}
	return b.Bytes()
}

// secretData is what parseSuccession reads.
func (s *succession) secretData() map[string][]byte {
	data := map[string][]byte{corev1.TLSCertKey: s.signer.pem, corev1.TLSPrivateKeyKey: s.signer.keyPEM}
	if s.next != nil {
		data[nextCertKey], data[nextKeyKey] = s.next.pem, s.next.keyPEM
	}
	if len(s.former) > 0 {
		data[formerCertKey] = encodeCertificates(s.former)
	}
	return data
}

func parseSuccession(data map[string][]byte) (*succession, error) {
	signer, err := parseAuthority(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", corev1.TLSCertKey, err)
	}
	s := &succession{signer: signer}
	if data[nextCertKey] != nil {
		if s.next, err = parseAuthority(data[nextCertKey], data[nextKeyKey]); err != nil {
			return nil, fmt.Errorf("%s: %w", nextCertKey, err)
		}
	}
	for rest := data[formerCertKey]; len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New(formerCertKey + ": not certificates in PEM")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", formerCertKey, err)
		}
		s.former = append(s.former, cert)
	}
	return s, nil
}
