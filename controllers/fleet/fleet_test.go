package fleet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"voiceroom.dev/voiceroom/media"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// pod is a real media server in this process, and a dialer that it trusts.
type pod struct {
	dialer   *mediaapi.Dialer
	endpoint string
	kill     func() // ends it, once
}

func startPod(t *testing.T, uid string) *pod {
	t.Helper()
	ring, _, err := (*token.Ring)(nil).Rotate(time.Now(), token.DefaultRotation, rand.Reader)
	must(t, err)
	dir := t.TempDir()
	public, err := ring.Public().Marshal()
	must(t, err)
	for _, name := range []string{mediaapi.TokensFile, mediaapi.OperatorFile, mediaapi.GatewayFile} {
		must(t, os.WriteFile(filepath.Join(dir, name), public, 0o600))
	}
	roots := writeCertificate(t, dir)
	server, err := media.New(media.Config{PodUID: uid, Control: "127.0.0.1:0", Health: "127.0.0.1:0", Media: netip.MustParseAddrPort("127.0.0.1:0"),
		KeysDir: dir, TLSDir: dir, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	ended := false
	p := &pod{endpoint: server.ControlAddr(), kill: func() {
		if cancel(); !ended {
			ended = true
			must(t, <-done)
		}
	}}
	t.Cleanup(p.kill)
	minter := token.NewMinter(func() *token.Ring { return ring }, time.Now, rand.Reader)
	p.dialer = mediaapi.NewDialer(token.CallerOperator, minter, func() *x509.CertPool { return roots }, time.Now)
	return p
}

func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{mediaapi.ServerName}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		must(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return roots
}

// TestFollow follows a real pod: its lease is renewed, its changes arrive and wake
// the controller, its end is noticed, and nothing is left running.
func TestFollow(t *testing.T) {
	p := startPod(t, "pod")
	f := New(p.dialer, &notes{}, clock.RealClock{}, logr.Discard())
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- f.Start(ctx) }()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	must(t, f.Source().Start(ctx, queue))

	client, claim := p.dialer.Pod(p.endpoint, "pod"), Claim{Room: roomNamed("r"), RoomUID: "uid", Epoch: 1, PodUID: "pod", Endpoint: p.endpoint}
	spec := room.Spec{Generation: 1, Owner: "key:k:ann", MaxMembers: 2, MaxMics: 1, Access: room.Public, MicPolicy: room.Auto}
	state, err := client.Put(ctx, mediaapi.PutRequest{ID: room.ID{UID: "uid", Name: "r"}, Epoch: 1, Spec: spec})
	must(t, err)
	f.Follow(claim, state)
	f.Follow(claim, state) // again changes nothing
	until(t, "the pod is watched", func() bool { return f.Replica("uid").Live })
	until(t, "the lease lets the owner in", func() bool {
		_, err := client.Reserve(ctx, mediaapi.ReserveRequest{Epoch: 1, Reserve: room.Reserve{Subject: "key:k:ann", Session: "s"}})
		if err != nil && !errors.Is(err, &room.Error{Code: room.Frozen}) {
			t.Fatal(err)
		}
		return err == nil
	})
	until(t, "the replica has the owner", func() bool { _, ok := f.Replica("uid").State.Subject("key:k:ann"); return ok })
	req, _ := queue.Get()
	if req.NamespacedName != claim.Room {
		t.Errorf("woke %v, want %v", req, claim.Room)
	}
	queue.Done(req)

	f.Rest("uid")
	until(t, "nobody watches", func() bool { return !f.Replica("uid").Live })
	if f.Replica("uid").Lost {
		t.Error("a pod that is not watched on purpose is taken for lost")
	}
	f.Follow(claim, nil) // the status that let go of the pod was not written
	until(t, "the pod is watched again", func() bool { return f.Replica("uid").Live })

	p.kill()
	until(t, "the pod is lost", func() bool { return f.Replica("uid").Lost })
	if f.Replica("uid").State == nil {
		t.Error("the replica of a lost pod is gone: nothing is left to seed the next one with")
	}
	f.Deleted(claim.Room)
	if got := f.Replica("uid"); got.State != nil || got.Epoch != 0 {
		t.Errorf("a forgotten room has the replica %+v", got)
	}
	cancel()
	must(t, <-stopped)
	f.Follow(claim, state) // after the end starts nothing; goleak would tell
}

func until(t *testing.T, what string, yes func() bool) {
	t.Helper()
	deadline := time.After(patience)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !yes() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
