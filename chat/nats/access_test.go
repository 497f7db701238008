package nats_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/nats"
	"voiceroom.dev/voiceroom/chat/nats/natsserver"
)

// The server says nothing to a request that it may not answer, and reports the
// violation apart: that must not look like an outage.
func TestPermissionViolationIsDenied(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		Users: []*server.User{{Username: "gateway", Password: "x", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{">"}, Deny: []string{"voiceroom.member.>"}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("server is not ready")
	}
	p := open(t, nats.Config{URL: s.ClientURL(), User: "gateway", Password: "x\n", Timeout: 500 * time.Millisecond})
	t.Cleanup(func() { _ = p.Close() }) // it always returns nil
	g, err := p.CreateGroup(t.Context(), "room", chat.GroupSpec{Limits: chat.Limits{MaxMembers: 1, MaxMics: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AddMember(t.Context(), g.ID, chat.Member{Subject: "guest:1"}); !errors.Is(err, chat.ErrDenied) {
		t.Errorf("AddMember: got %v, want ErrDenied", err)
	}
	if _, err := p.Group(t.Context(), g.ID); err != nil {
		t.Errorf("what is allowed fails too: %v", err)
	}
}

// issue writes a self-signed certificate for 127.0.0.1, and returns it in PEM.
func issue(t *testing.T, certFile, keyFile string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "chat"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, data := range map[string][]byte{
		certFile: cert,
		keyFile:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	old := issue(t, certFile, keyFile)
	s := newSingle(t, natsserver.Config{Token: "t", CertFile: certFile, KeyFile: keyFile})
	url := s.running.URL()
	check := func(cfg nats.Config) error {
		cfg.Token = "t"
		p := open(t, cfg)
		defer p.Close()
		return p.Check(t.Context())
	}
	if err := check(nats.Config{URL: url, CA: old}); err != nil {
		t.Errorf("with the right CA: %v", err)
	}
	if err := check(nats.Config{URL: url}); !errors.Is(err, chat.ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the CA: got %v, want ErrUnavailable that names the certificate", err)
	}
	renewed := issue(t, certFile, keyFile)
	if err := check(nats.Config{URL: url, CA: renewed}); err != nil {
		t.Errorf("after renewal: %v", err)
	}
	if err := check(nats.Config{URL: url, CA: old}); !errors.Is(err, chat.ErrUnavailable) {
		t.Errorf("with the old CA after renewal: got %v, want ErrUnavailable", err)
	}
}
