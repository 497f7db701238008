package signingkeys

import (
	"testing"
	"time"
)

func TestIssueAndExpiry(t *testing.T) {
	now := time.Now()
	a, err := newAuthority(now)
	if err != nil {
		t.Fatal(err)
	}
	a, err = parseAuthority(a.pem, a.keyPEM) // as it comes back from the Secret
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := a.Issue("media.example", now)
	if err != nil {
		t.Fatal(err)
	}
	other, err := newAuthority(now)
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := a.Issue("media.example", now)
	if err != nil {
		t.Fatal(err)
	}
	want := now.Add(CertificateLife)
	for name, tt := range map[string]struct {
		got   time.Time
		valid bool
	}{
		"good":                    {a.Expiry(cert, key, "media.example", now), true},
		"another clock, behind":   {a.Expiry(cert, key, "media.example", now.Add(-clockSkew/2)), true},
		"expired":                 {a.Expiry(cert, key, "media.example", want.Add(time.Second)), false},
		"another name":            {a.Expiry(cert, key, "other.example", now), false},
		"another authority":       {other.Expiry(cert, key, "media.example", now), false},
		"another key":             {a.Expiry(cert, otherKey, "media.example", now), false},
		"no certificate":          {a.Expiry(nil, nil, "media.example", now), false},
		"garbage":                 {a.Expiry([]byte("x"), key, "media.example", now), false},
		"a certificate as its CA": {(&Authority{cert: other.cert}).Expiry(a.pem, a.keyPEM, "media.example", now), false},
	} {
		if valid := !tt.got.IsZero(); valid != tt.valid || valid && tt.got.Sub(want).Abs() > time.Second {
			t.Errorf("%s: valid until %v, want valid %v", name, tt.got, tt.valid)
		}
	}
	if _, err := parseAuthority(cert, key); err == nil {
		t.Error("a server's certificate is taken for an authority")
	}
}
