package signingkeys

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestNoCallFailsWhileAuthoritiesChange goes through two years, eight hours at a time. Callers
// know the bundle of up to sixteen hours ago; pods serve the certificate of up to sixteen
// hours ago, which is replaced as a pool does it. Every caller must trust every pod.
func TestNoCallFailsWhileAuthoritiesChange(t *testing.T) {
	const step = 8 * time.Hour
	start := time.Now()
	var (
		s       *succession
		bundles []*x509.CertPool    // what callers may hold, the newest last
		served  []*x509.Certificate // what pods may serve, the newest last
		leaf    tls.Certificate
		signers = map[string]bool{}
		most    int
	)
	for now := start; now.Before(start.Add(2 * 365 * 24 * time.Hour)); now = now.Add(step) {
		next, changed, err := s.rotate(now)
		if err != nil {
			t.Fatal(err)
		}
		if changed {
			if s, err = parseSuccession(next.secretData()); err != nil { // as it comes back from the Secret
				t.Fatal(err)
			}
			if diff := cmp.Diff(next.bundle(), s.bundle()); diff != "" {
				t.Fatalf("%s: the Secret says something else: %s", now, diff)
			}
		}
		signers[string(s.signer.pem)] = true
		most = max(most, len(s.certificates()))
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(s.bundle()) {
			t.Fatal("an empty bundle")
		}
		bundles = last3(append(bundles, roots))
		leaf = renew(t, s.signer, leaf, now)
		served = last3(append(served, leaf.Leaf))
		for i, roots := range bundles {
			for j, cert := range served {
				if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: "media.example", CurrentTime: now}); err != nil {
					t.Fatalf("after %v, a caller of %v ago and a pod of %v ago: %v", now.Sub(start), time.Duration(len(bundles)-1-i)*step, time.Duration(len(served)-1-j)*step, err)
				}
			}
		}
	}
	if len(signers) != 3 || most != 2 {
		t.Errorf("%d authorities signed in two years, %d were trusted at once; want one for each nine months, and two", len(signers), most)
	}
}

func last3[T any](all []T) []T { return all[max(0, len(all)-3):] }

// renew returns the certificate that a pool's pods have at now.
func renew(t *testing.T, signer *Authority, have tls.Certificate, now time.Time) tls.Certificate {
	t.Helper()
	if have.Leaf != nil {
		var cert []byte
		for _, der := range have.Certificate {
			cert = append(cert, encodeCertificate(der)...)
		}
		key, err := x509.MarshalPKCS8PrivateKey(have.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		if signer.Expiry(cert, encodePKCS8(key), "media.example", now).Sub(now) >= CertificateLife/3 {
			return have
		}
	}
	cert, key, err := signer.Issue("media.example", now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// TestAuthorityExpiredMeanwhile: an operator that was away for years has a new authority
// at once.
func TestAuthorityExpiredMeanwhile(t *testing.T) {
	now := time.Now()
	s, _, err := (*succession)(nil).rotate(now)
	if err != nil {
		t.Fatal(err)
	}
	old := s.signer
	now = now.Add(2 * authorityLife)
	s, changed, err := s.rotate(now)
	if err != nil || !changed || s.signer == old || s.signer.expired(now) || len(s.certificates()) != 1 {
		t.Errorf("changed %v, %v: %+v", changed, err, s)
	}
}

// TestBrokenSuccessionIsAnError: it is never taken for a Secret that has nothing in it.
func TestBrokenSuccessionIsAnError(t *testing.T) {
	s, _, err := (*succession)(nil).rotate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"tls.crt", "tls.key", nextCertKey, formerCertKey} {
		data := s.secretData()
		data[key] = []byte("nonsense")
		if _, err := parseSuccession(data); err == nil {
			t.Errorf("%s is nonsense, and nobody says so", key)
		}
	}
}
