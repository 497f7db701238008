package voiceroom

import (
	"context"
	"crypto/x509"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/token"
)

// place is where a room could move to: a pool and a node, to be read.
type place struct {
	client.Client
	pool v1alpha1.MediaPool
	node corev1.Node
}

func (p *place) Get(_ context.Context, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	switch o := o.(type) {
	case *v1alpha1.MediaPool:
		p.pool.DeepCopyInto(o)
	case *corev1.Node:
		p.node.DeepCopyInto(o)
	}
	return nil
}

// TestUnfit: no room is sealed for a pod that cannot take it, whoever else is asked.
func TestUnfit(t *testing.T) {
	noKey := token.NewMinter(func() *token.Ring { return nil }, time.Now, nil)
	dialer := mediaapi.NewDialer(token.CallerOperator, noKey, x509.NewCertPool, time.Now)
	t.Cleanup(dialer.Close)
	next := &corev1.Pod{Status: corev1.PodStatus{PodIP: "127.0.0.1"}}
	addressed := corev1.Node{Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}}}}
	for name, tt := range map[string]struct {
		node   corev1.Node
		reason string
	}{
		"its node has no address":     {corev1.Node{}, v1alpha1.ReasonNodeWithoutAddress},
		"it would not know who calls": {addressed, v1alpha1.ReasonPodUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Reconciler{Client: &place{node: tt.node}, Dialer: dialer}
			short, err := r.unfit(t.Context(), &v1alpha1.VoiceRoom{}, next)
			if err != nil || short == nil || short.reason != tt.reason {
				t.Errorf("unfit for %+v, %v; want %s", short, err, tt.reason)
			}
		})
	}
}
