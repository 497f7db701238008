package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
)

// TestKnowsSecrets: without, no chat provider that asks for credentials can be opened.
func TestKnowsSecrets(t *testing.T) {
	mgr, err := newManager(&rest.Config{Host: "127.0.0.1:1"}, settings{})
	if err != nil {
		t.Fatal(err)
	}
	if secret := corev1.SchemeGroupVersion.WithKind("Secret"); !mgr.GetScheme().Recognizes(secret) {
		t.Errorf("the gateway's client knows no %v", secret)
	}
}
