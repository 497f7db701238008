package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/media"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// claim starts a pod, hands it the room under an epoch, and says so in the status.
func (w *world) claim(epoch uint64, seed *room.State) {
	w.t.Helper()
	uid := rand.Text()
	endpoint := w.startPod(uid)
	dialer := mediaapi.NewDialer(token.CallerOperator, token.NewMinter(func() *token.Ring { return w.keys.operator }, time.Now, nil),
		func() *x509.CertPool { return w.roots }, time.Now)
	w.dialers = append(w.dialers, dialer)
	w.pod = dialer.Pod(endpoint, uid)
	s := w.vr.Spec
	_, err := w.pod.Put(w.t.Context(), mediaapi.PutRequest{
		ID:    room.ID{UID: string(w.vr.UID), Namespace: w.vr.Namespace, Name: w.vr.Name, GroupID: w.group.ID},
		Epoch: epoch, Seed: seed,
		Spec: room.Spec{Generation: w.vr.Generation, Owner: s.Owner, MaxMembers: int(s.MaxMembers), MaxMics: int(s.MaxMics),
			Access: room.Access(s.Access), MicPolicy: room.MicPolicy(s.MicPolicy), Moderators: s.Moderators, Banned: s.Banned,
			Duplicates: room.Duplicates(s.Duplicates), Audience: room.AudienceMode(s.Audience), MuteOnEntry: s.MuteOnEntry, SpeakingSeconds: int(s.SpeakingSeconds),
			Announcement: s.Announcement, Metadata: s.Metadata},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.status(func(s *v1alpha1.VoiceRoomStatus) {
		s.Phase, s.GroupID = v1alpha1.RoomOpen, w.group.ID
		s.Media = &v1alpha1.RoomMediaStatus{Pod: "pod", PodUID: uid, Endpoint: endpoint, Epoch: int64(epoch)}
	})
}

// status changes the room's status, and waits until the gateway's cache has it.
func (w *world) status(change func(*v1alpha1.VoiceRoomStatus)) {
	w.t.Helper()
	before := w.vr.DeepCopy()
	change(&w.vr.Status)
	if err := direct.Status().Patch(w.t.Context(), w.vr, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
	eventually(w.t, "the cache has the room's status", func() bool {
		var vr v1alpha1.VoiceRoom
		err := cached.Get(w.t.Context(), client.ObjectKeyFromObject(w.vr), &vr)
		return err == nil && vr.ResourceVersion == w.vr.ResourceVersion
	})
}

// startPod runs a media server until the test ends.
func (w *world) startPod(uid string) (endpoint string) {
	w.t.Helper()
	server, err := media.New(media.Config{PodUID: uid, Control: "127.0.0.1:0", Health: "127.0.0.1:0",
		Media: netip.MustParseAddrPort("127.0.0.1:0"), KeysDir: w.keysDir, TLSDir: w.tlsDir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(func() {
		for _, d := range w.dialers { // a pod that stops waits for its callers
			d.Close()
		}
		cancel()
		running.Wait()
	})
	return server.ControlAddr()
}

// writeKeys writes what a pod has mounted.
func (w *world) writeKeys() {
	w.t.Helper()
	for name, ring := range map[string]*token.Ring{mediaapi.TokensFile: w.keys.tokens, mediaapi.OperatorFile: w.keys.operator, mediaapi.GatewayFile: w.keys.gateway} {
		w.writeKeysOf(name, ring)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "media"}, DNSNames: []string{mediaapi.ServerName},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	must(os.WriteFile(filepath.Join(w.tlsDir, "tls.crt"), certificate, 0o600))
	must(os.WriteFile(filepath.Join(w.tlsDir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	w.roots = x509.NewCertPool()
	w.roots.AppendCertsFromPEM(certificate)
}

func (w *world) writeKeysOf(name string, ring *token.Ring) {
	w.t.Helper()
	b, err := ring.Public().Marshal()
	must(err)
	must(os.WriteFile(filepath.Join(w.keysDir, name), b, 0o600))
}
