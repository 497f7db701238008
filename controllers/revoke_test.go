package controllers_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// ringOf reads the ring of a Secret, as who may read that would.
func ringOf(t *testing.T, name string) *token.Ring {
	t.Helper()
	var secret corev1.Secret
	must(t, cluster.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: name}, &secret))
	ring, err := token.ParseRing(secret.Data[v1alpha1.RingKey])
	must(t, err)
	return ring
}

// dial calls a room's pod as a gateway does, or the operator.
func dial(t *testing.T, vr *v1alpha1.VoiceRoom, as, secret string) *mediaapi.Client {
	t.Helper()
	var published corev1.ConfigMap
	must(t, cluster.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: v1alpha1.PublicKeysConfigMap}, &published))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(published.Data[v1alpha1.CAFile]))
	ring := ringOf(t, secret)
	dialer := mediaapi.NewDialer(as, token.NewMinter(func() *token.Ring { return ring }, time.Now, nil), func() *x509.CertPool { return roots }, time.Now)
	t.Cleanup(dialer.Close)
	return dialer.Pod(vr.Status.Media.Endpoint, vr.Status.Media.PodUID)
}

// TestRevokedTokenKeys deletes the ring of tickets and room tokens while a room waits for
// its owner. Nothing that the old ring signed opens the pod any more, what the new one
// signs does, and the owner finds a new ticket; the pods of idle rooms know as well.
func TestRevokedTokenKeys(t *testing.T) {
	startOperator(t, nil)
	vr := newRoom(t, "revoked")
	waitReady(t, vr)
	checkTicket(t, vr)
	waitWarm(t, "default")
	stolen, key := ringOf(t, v1alpha1.TokenKeysSecret), vr.Status.HostTicketKey
	must(t, cluster.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: v1alpha1.TokenKeysSecret}}))
	until(t, "the owner has another ticket", func() (bool, error) {
		err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr)
		return vr.Status.HostTicketKey != key, err
	})
	checkTicket(t, vr)

	next := newRoom(t, "after-revocation") // on a pod that was idle meanwhile
	waitReady(t, next)
	for _, vr := range []*v1alpha1.VoiceRoom{vr, next} {
		gateway := dial(t, vr, token.CallerGateway, v1alpha1.GatewayKeySecret)
		if got := signal(t, gateway, vr, stolen); got != mediaapi.TokenUnknownKey {
			t.Errorf("room %s answers a token of the stolen key %q", vr.Name, got)
		}
		if got := signal(t, gateway, vr, ringOf(t, v1alpha1.TokenKeysSecret)); got == mediaapi.TokenUnknownKey {
			t.Errorf("room %s answers a token of the new key %q", vr.Name, got)
		}
	}
	removeRoom(t, vr)
	removeRoom(t, next)
}

// signal offers a connection with a room token, and returns why not: the offer is none,
// so that there always is a reason.
func signal(t *testing.T, pod *mediaapi.Client, vr *v1alpha1.VoiceRoom, ring *token.Ring) room.Code {
	t.Helper()
	bearer, err := token.NewMinter(func() *token.Ring { return ring }, time.Now, rand.Reader).Room(token.Room{Subject: vr.Spec.Owner,
		RoomUID: string(vr.UID), Epoch: uint64(vr.Status.Media.Epoch), Group: vr.Status.GroupID, Role: string(room.Host), Session: "forged",
		ExpiresAt: time.Now().Add(time.Minute)})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = pod.Signal(ctx, mediaapi.SignalRequest{Epoch: uint64(vr.Status.Media.Epoch), Token: bearer, Offer: "none"})
	refusal, ok := errors.AsType[*room.Error](err)
	if !ok {
		t.Fatalf("signalling: %v", err)
	}
	return refusal.Code
}
