package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

func write(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeCertificate makes the pair of the control API, which vouches for itself.
func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{mediaapi.ServerName}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	write(t, dir, "tls.crt", certificate)
	write(t, dir, "tls.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	return pool
}

// credentials are the files of a pod, and what the operator and its clients prove themselves with.
type credentials struct {
	keys, tls string // directories
	roots     *x509.CertPool
	minter    *token.Minter
}

func newCredentials(t *testing.T) credentials {
	t.Helper()
	c := credentials{keys: t.TempDir(), tls: t.TempDir()}
	ring, _, err := (*token.Ring)(nil).Rotate(time.Now(), token.DefaultRotation, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ring.Public().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{mediaapi.TokensFile, mediaapi.OperatorFile} {
		write(t, c.keys, name, public)
	}
	c.roots = writeCertificate(t, c.tls)
	c.minter = token.NewMinter(func() *token.Ring { return ring }, time.Now, rand.Reader)
	return c
}

func (c credentials) flags() []string { return []string{"--keys=" + c.keys, "--tls=" + c.tls} }

// open gives a process a room that ann owns.
func (c credentials) open(t *testing.T, p *process, members, mics int) *mediaapi.Client {
	t.Helper()
	dialer := mediaapi.NewDialer(token.CallerOperator, c.minter, func() *x509.CertPool { return c.roots }, time.Now)
	t.Cleanup(dialer.Close)
	pod := dialer.Pod(p.control, "uid")
	if _, err := pod.Put(t.Context(), mediaapi.PutRequest{ID: room.ID{UID: "room"}, Epoch: 1,
		Spec: room.Spec{Generation: 1, Owner: "ann", MaxMembers: members, MaxMics: mics, Access: room.Public, MicPolicy: room.Auto}}); err != nil {
		t.Fatal(err)
	}
	return pod
}

// offer lets a client offer, and returns the pod's answer. The client's subject is its session too.
func (c credentials) offer(t *testing.T, pod *mediaapi.Client, subject, offer string) (answer string) {
	t.Helper()
	if err := pod.Renew(t.Context(), 1, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := pod.Reserve(t.Context(), mediaapi.ReserveRequest{Epoch: 1, Reserve: room.Reserve{Subject: subject, Session: subject}}); err != nil {
		t.Fatal(err)
	}
	bearer, err := c.minter.Room(token.Room{RoomUID: "room", Epoch: 1, Subject: subject, Session: subject})
	if err != nil {
		t.Fatal(err)
	}
	got, err := pod.Signal(t.Context(), mediaapi.SignalRequest{Epoch: 1, Token: bearer, Offer: offer})
	if err != nil {
		t.Fatal(err)
	}
	return got.Answer
}

// occupied starts a process with a room that somebody is coming into.
func occupied(t *testing.T, flags ...string) (*process, *mediaapi.Client) {
	t.Helper()
	c := newCredentials(t)
	p := start(t, append(flags, c.flags()...)...)
	pod := c.open(t, p, 2, 1)
	client := transporttest.New(t, transporttest.Options{Slots: 1, Data: true})
	client.Answer([]byte(c.offer(t, pod, "ann", string(client.Offer()))))
	transporttest.Receive(t, client.Opened, "the data channel")
	return p, pod
}

// After SIGTERM a process with people in its room serves on, unready, until its grace is over, a second
// signal comes, or they have gone; then it exits 0.
func TestGrace(t *testing.T) {
	for name, test := range map[string]struct {
		grace string
		then  func(*testing.T, *process, *mediaapi.Client)
	}{
		"over":                   {"100ms", nil},
		"cut by a second signal": {"1h", func(t *testing.T, p *process, _ *mediaapi.Client) { p.signal(t, syscall.SIGTERM) }},
		"not needed any more": {"1h", func(t *testing.T, _ *process, pod *mediaapi.Client) {
			if err := pod.Delete(t.Context(), 1, "Test"); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p, pod := occupied(t, "--grace="+test.grace)
			p.signal(t, syscall.SIGTERM)
			if test.then != nil {
				p.awaitUnready(t)
				if _, err := pod.Get(t.Context(), 1); err != nil {
					t.Errorf("the control API while the pod drains: %v", err)
				}
				test.then(t, p, pod)
			}
			if err := p.wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}
