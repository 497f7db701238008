package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs the control API of a fleet on all loopback addresses, and returns its port.
func serve(t *testing.T, f *pods) (d *mediaapi.Dialer, port string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{mediaapi.ServerName}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	tcp, err := net.Listen("tcp4", ":0")
	must(t, err)
	server := httptest.NewUnstartedServer(f.handler())
	must(t, server.Listener.Close())
	server.Listener = &podListener{tcp, f}
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	ring, _, err := (*token.Ring)(nil).Rotate(time.Now(), token.DefaultRotation, rand.Reader)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	minter := token.NewMinter(func() *token.Ring { return ring }, time.Now, rand.Reader)
	d = mediaapi.NewDialer(token.CallerOperator, minter, func() *x509.CertPool { return roots }, time.Now)
	t.Cleanup(d.Close)
	_, port, err = net.SplitHostPort(tcp.Addr().String())
	must(t, err)
	return d, port
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestRoomOfAFakePod: the operator's calls find a room as in a media pod, its owner comes
// in, and a replica follows everything.
func TestRoomOfAFakePod(t *testing.T) {
	f := newPods(time.Now)
	t.Cleanup(func() { must(t, f.close()) })
	f.ownersCome.Store(true)
	d, port := serve(t, f)
	own := d.Pod(net.JoinHostPort(f.add("pool-1", "uid-1", "pool", ""), port), "uid-1")
	other := d.Pod(net.JoinHostPort(f.add("pool-2", "uid-2", "pool", ""), port), "uid-2")
	put := mediaapi.PutRequest{ID: room.ID{UID: "r", Namespace: "n", Name: "r"}, Epoch: 1,
		Spec: room.Spec{Generation: 1, Owner: "ann", MaxMembers: 3, MaxMics: 1, Access: room.Public, MicPolicy: room.Auto}}
	_, err := own.Put(t.Context(), put)
	must(t, err)
	if _, err := other.Get(t.Context(), 0); !errors.Is(err, &room.Error{Code: mediaapi.NoRoom}) {
		t.Fatalf("the other pod answers %v, want %s", err, mediaapi.NoRoom)
	}
	must(t, own.Renew(t.Context(), 1, 0))
	info, err := own.Subject(t.Context(), 1, "ann")
	must(t, err)
	if info.Member.Status != room.Associated {
		t.Fatalf("the owner is %s, want %s", info.Member.Status, room.Associated)
	}

	var replica room.Replica
	enough := errors.New("the owner has its microphone")
	entered := false
	err = own.Watch(t.Context(), 1, 0, func(fr mediaapi.Frame) error {
		switch {
		case fr.Snapshot != nil:
			replica.Begin(fr.Snapshot)
		case fr.Event != nil && !replica.Follow(*fr.Event):
			t.Errorf("event %+v does not follow the replica", fr.Event)
		}
		if !entered {
			entered = true
			if _, err := own.Command(t.Context(), 1, "", room.Enter{Session: info.Member.Session}); err != nil {
				return err
			}
		}
		if len(replica.State().Mics) == 1 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatalf("the watch ended with %v", err)
	}
	state, err := own.Get(t.Context(), 1)
	must(t, err)
	if diff := cmp.Diff(state, replica.State(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("replica (-pod +replica):\n%s", diff)
	}
	if c := f.count(); c.Pods != 2 || c.Rooms != 1 || c.Activated != 1 || c.Leased != 1 {
		t.Errorf("census %+v", c)
	}
}

// TestCapOfAFakePod: seats are the real ones.
func TestCapOfAFakePod(t *testing.T) {
	f := newPods(time.Now)
	t.Cleanup(func() { must(t, f.close()) })
	f.add("pool-1", "uid-1", "pool", "")
	p := f.all()[0]
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.put(mediaapi.PutRequest{ID: room.ID{UID: "r"}, Epoch: 1, Spec: room.Spec{Generation: 1, Owner: "ann", MaxMembers: 3, MaxMics: 1, Access: room.Public}})
	must(t, err)
	must(t, p.renew(mediaapi.LeaseRequest{Epoch: 1}))
	must(t, p.come("ann", "s"))
	must(t, p.do(room.Enter{Session: "s"}))
	must(t, p.comeMore(2))
	if err := p.comeMore(1); !errors.Is(err, &room.Error{Code: room.RoomFull}) {
		t.Errorf("a fourth member of three: %v", err)
	}
}

// TestRemovedPod cuts its watchers off and is not to be reached any more.
func TestRemovedPod(t *testing.T) {
	f := newPods(time.Now)
	t.Cleanup(func() { must(t, f.close()) })
	d, port := serve(t, f)
	c := d.Pod(net.JoinHostPort(f.add("pool-1", "uid-1", "pool", ""), port), "uid-1")
	_, err := c.Put(t.Context(), mediaapi.PutRequest{ID: room.ID{UID: "r"}, Epoch: 1, Spec: room.Spec{Generation: 1, Owner: "ann", MaxMembers: 3, MaxMics: 1}})
	must(t, err)
	err = c.Watch(t.Context(), 1, 0, func(fr mediaapi.Frame) error {
		if fr.Snapshot != nil {
			f.remove("pool-1")
		}
		return nil
	})
	if err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("the watch of a pod that is gone ended with %v", err)
	}
	if _, err := c.Get(t.Context(), 0); !errors.Is(err, mediaapi.ErrUnreachable) {
		t.Errorf("a pod that is gone answers %v", err)
	}
}
