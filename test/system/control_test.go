package system

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/hack/stack"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// control calls a room's pod with the operator's key.
func control(t *testing.T, r *v1alpha1.VoiceRoom) *mediaapi.Client {
	t.Helper()
	var secret corev1.Secret
	must(t, system.Client.Get(t.Context(), client.ObjectKey{Namespace: stack.SystemNamespace, Name: v1alpha1.OperatorKeySecret}, &secret))
	ring, err := token.ParseRing(secret.Data[v1alpha1.RingKey])
	must(t, err)
	var public corev1.ConfigMap
	must(t, system.Client.Get(t.Context(), client.ObjectKey{Namespace: stack.SystemNamespace, Name: v1alpha1.PublicKeysConfigMap}, &public))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(public.Data[v1alpha1.CAFile]))
	dialer := mediaapi.NewDialer(token.CallerOperator, token.NewMinter(func() *token.Ring { return ring }, time.Now, nil), func() *x509.CertPool { return roots }, time.Now)
	t.Cleanup(dialer.Close)
	return dialer.Pod(r.Status.Media.Endpoint, r.Status.Media.PodUID)
}

// roomState is the room as its pod has it.
func roomState(t *testing.T, r *v1alpha1.VoiceRoom) *room.State {
	t.Helper()
	state, err := control(t, r).Get(t.Context(), 0)
	must(t, err)
	return state
}

// moderate gives commands as the control plane does, and waits until what they did
// outlives the pod.
func moderate(t *testing.T, r *v1alpha1.VoiceRoom, commands ...room.Command) {
	t.Helper()
	for _, c := range commands {
		result, err := control(t, r).CommandDurably(t.Context(), uint64(r.Status.Media.Epoch), "", c)
		must(t, err)
		if !result.Durable {
			t.Fatalf("%T is not durable", c)
		}
	}
}

// link makes an invite link with the owner's ticket, and returns what is in it.
func link(t *testing.T, r *v1alpha1.VoiceRoom, body any) string {
	t.Helper()
	b, err := json.Marshal(body)
	must(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, system.GatewayURL+"/v1/rooms/"+r.Namespace+"/"+r.Name+"/invites", bytes.NewReader(b))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+ready(t, r))
	res, err := http.DefaultClient.Do(req)
	must(t, err)
	defer func() { _ = res.Body.Close() }()
	var made struct {
		Invite string `json:"invite"`
	}
	must(t, json.NewDecoder(res.Body).Decode(&made))
	if made.Invite == "" {
		t.Fatalf("no invite: HTTP %d", res.StatusCode)
	}
	return made.Invite
}

// request gets a ticket with a JoinRequest.
func request(t *testing.T, r *v1alpha1.VoiceRoom, name, user string) string {
	t.Helper()
	jr := &v1alpha1.JoinRequest{Spec: v1alpha1.JoinRequestSpec{Room: v1alpha1.LocalReference{Name: r.Name}, User: user}}
	jr.Namespace, jr.Name = r.Namespace, name
	must(t, system.Client.Create(t.Context(), jr))
	t.Cleanup(func() { must(t, client.IgnoreNotFound(system.Client.Delete(context.Background(), jr))) })
	must(t, system.Wait(t.Context(), jr, patience, func() bool { return jr.Status.Phase == v1alpha1.JoinGranted }))
	var s corev1.Secret
	must(t, system.Client.Get(t.Context(), client.ObjectKey{Namespace: jr.Namespace, Name: jr.Status.TicketSecret}, &s))
	return string(s.Data[v1alpha1.TicketKey])
}

// asks asks for a place and returns the code of the refusal; empty: it got one.
func asks(t *testing.T, cfg bot.Config) string {
	t.Helper()
	cfg.Gateway = system.GatewayURL
	err := bot.New(cfg).Ask(t.Context())
	if err != nil && code(err) == "" {
		t.Fatal(err)
	}
	return code(err)
}
