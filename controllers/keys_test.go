package controllers_test

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers"
	"voiceroom.dev/voiceroom/controllers/signingkeys"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/token"
)

// order notes the writes of a client, and breaks off before one that holds a word.
type order struct {
	next   http.RoundTripper
	writes []string
	until  string
}

func (o *order) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		if o.until != "" && strings.Contains(r.URL.Path, o.until) {
			return nil, errKilled
		}
		parts := strings.Split(r.URL.Path, "/")
		o.writes = append(o.writes, strings.Join(parts[4:], "/"))
	}
	return o.next.RoundTrip(r)
}

// keysWorld is a deployment's keys in namespaces of their own.
type keysWorld struct {
	*signingkeys.Reconciler
	order  *order
	clock  *testclock.FakePassiveClock
	pushed []mediaapi.Keys
}

func newKeysWorld(t *testing.T, name string) *keysWorld {
	t.Helper()
	w := &keysWorld{order: &order{}, clock: testclock.NewFakePassiveClock(time.Now())}
	cfg := unlimited(plane.Config())
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { w.order.next = rt; return w.order })
	c, err := client.New(cfg, client.Options{Scheme: controllers.Scheme()})
	must(t, err)
	w.Reconciler = &signingkeys.Reconciler{Client: c, Namespace: name, MediaNamespace: name + "-media", Keyring: signingkeys.NewKeyring(),
		Push: func(_ context.Context, k mediaapi.Keys) { w.pushed = append(w.pushed, k) }, Rotation: token.DefaultRotation, Clock: w.clock}
	for _, ns := range []string{w.Namespace, w.MediaNamespace} {
		must(t, cluster.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}))
	}
	return w
}

func (w *keysWorld) reconcile(t *testing.T) ctrl.Result {
	t.Helper()
	w.order.writes = nil
	result, err := w.Reconcile(t.Context(), ctrl.Request{})
	must(t, err)
	return result
}

// published are the keys that media pods verify room tokens with.
func (w *keysWorld) published(t *testing.T) *token.PublicSet {
	t.Helper()
	var here, there corev1.ConfigMap
	must(t, cluster.Get(t.Context(), client.ObjectKey{Namespace: w.Namespace, Name: v1alpha1.PublicKeysConfigMap}, &here))
	must(t, cluster.Get(t.Context(), client.ObjectKey{Namespace: w.MediaNamespace, Name: v1alpha1.PublicKeysConfigMap}, &there))
	if diff := cmp.Diff(here.Data, there.Data); diff != "" {
		t.Errorf("the two ConfigMaps differ:\n%s", diff)
	}
	set, err := token.ParsePublicSet([]byte(there.Data[mediaapi.TokensFile]))
	must(t, err)
	return set
}

// kept is the ring that others sign with.
func (w *keysWorld) kept(t *testing.T) *token.Ring {
	t.Helper()
	var secret corev1.Secret
	must(t, cluster.Get(t.Context(), client.ObjectKey{Namespace: w.Namespace, Name: v1alpha1.TokenKeysSecret}, &secret))
	ring, err := token.ParseRing(secret.Data[v1alpha1.RingKey])
	must(t, err)
	return ring
}

func TestKeysArePublishedBeforeTheyAreKept(t *testing.T) {
	w := newKeysWorld(t, "keys-order")
	w.reconcile(t)
	want := []string{"keys-order-media/configmaps/voiceroom-keys", "keys-order/configmaps/voiceroom-keys",
		"keys-order/secrets", "keys-order/secrets", "keys-order/secrets", "keys-order/secrets"}
	if diff := cmp.Diff(want, w.order.writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if !w.Keyring.Ready() || len(w.Keyring.Tokens().Keys) != 1 || len(w.pushed) != 1 {
		t.Errorf("ready %v, pushed %d times", w.Keyring.Ready(), len(w.pushed))
	}
	w.reconcile(t)
	if len(w.order.writes) != 0 || len(w.pushed) != 1 {
		t.Errorf("nothing was due, but %v was written and keys were pushed %d times", w.order.writes, len(w.pushed))
	}
}

func TestKeysRotateWithOverlap(t *testing.T) {
	w := newKeysWorld(t, "keys-rotate")
	w.reconcile(t)
	old := w.kept(t).Keys[0].ID
	due := w.Rotation.Every - w.Rotation.Publish
	w.clock.SetTime(w.clock.Now().Add(due - 30*time.Second))
	if again := w.reconcile(t).RequeueAfter; again > 30*time.Second || len(w.order.writes) != 0 {
		t.Errorf("half a minute early: again in %v, wrote %v", again, w.order.writes)
	}
	w.clock.SetTime(w.clock.Now().Add(31 * time.Second))
	w.reconcile(t)
	ring := w.kept(t)
	if len(ring.Keys) != 2 || ring.Keys[0].ID != old || !ring.Keys[1].SignFrom.Equal(w.clock.Now().Add(w.Rotation.Publish).UTC()) {
		t.Fatalf("ring of %d keys", len(ring.Keys))
	}
	if n := len(w.published(t).Keys); n != 2 || len(w.pushed) != 2 || len(w.pushed[1].Tokens.Keys) != 2 {
		t.Errorf("%d keys published, pushed %d times", n, len(w.pushed))
	}
}

// TestKilledBetweenPublishingAndKeeping: what was published but not kept is
// replaced, and everything that is kept is published.
func TestKilledBetweenPublishingAndKeeping(t *testing.T) {
	w := newKeysWorld(t, "keys-killed")
	w.order.until = "/secrets"
	if _, err := w.Reconcile(t.Context(), ctrl.Request{}); err == nil {
		t.Fatal("the write of a Secret should have failed")
	}
	if w.Keyring.Ready() {
		t.Error("keys are used that were not kept")
	}
	w.order.until = ""
	w.reconcile(t)
	public := w.published(t)
	if ring := w.kept(t); len(public.Keys) != 1 || public.Keys[0].ID != ring.Keys[0].ID {
		t.Errorf("published %v, kept %s", public.Keys, ring.Keys[0].ID)
	}
}

// TestBrokenKeysAreNotReplaced: everything that they signed would be void.
func TestBrokenKeysAreNotReplaced(t *testing.T) {
	w := newKeysWorld(t, "keys-broken")
	w.reconcile(t)
	var secret corev1.Secret
	must(t, cluster.Get(t.Context(), client.ObjectKey{Namespace: w.Namespace, Name: v1alpha1.TokenKeysSecret}, &secret))
	secret.Data[v1alpha1.RingKey] = []byte("{")
	must(t, cluster.Update(t.Context(), &secret))
	w.order.writes = nil
	_, err := w.Reconcile(t.Context(), ctrl.Request{})
	if err == nil || !strings.Contains(err.Error(), v1alpha1.TokenKeysSecret) || len(w.order.writes) != 0 {
		t.Errorf("error %v, writes %v", err, w.order.writes)
	}
	if !w.Keyring.Ready() {
		t.Error("the keys in memory are gone too")
	}
}

// TestDeletedKeysAreRevoked: the ring that replaces a deleted one signs at once, and
// nothing of the old one is published any more.
func TestDeletedKeysAreRevoked(t *testing.T) {
	w := newKeysWorld(t, "keys-revoked")
	w.reconcile(t)
	w.clock.SetTime(w.clock.Now().Add(w.Rotation.Every))
	w.reconcile(t)
	old := w.kept(t)
	if len(old.Keys) != 2 {
		t.Fatalf("a ring of %d keys, want two: one of them waits to sign", len(old.Keys))
	}
	tickets := signingkeys.NewTickets(w.Keyring, w.clock.Now, rand.Reader)
	_, by, err := tickets.Mint(token.Ticket{Purpose: token.PurposeJoin, Subject: "key:k:ann", Room: "a/b", RoomUID: "u", ExpiresAt: w.clock.Now().Add(time.Hour)})
	must(t, err)
	if by != old.Keys[0].ID || tickets.Revoked(by) {
		t.Errorf("signed by %s, which is revoked: %v", by, tickets.Revoked(by))
	}
	select {
	case <-w.Keyring.Changed():
	default:
	}

	must(t, cluster.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: v1alpha1.TokenKeysSecret}}))
	pushes := len(w.pushed)
	w.reconcile(t)
	ring, public := w.kept(t), w.published(t)
	if len(ring.Keys) != 1 || ring.Keys[0].SignFrom.After(w.clock.Now()) {
		t.Errorf("the new ring has %d keys, the first signs from %v", len(ring.Keys), ring.Keys[0].SignFrom)
	}
	if len(public.Keys) != 1 || public.Keys[0].ID != ring.Keys[0].ID || public.Keys[0].ID == old.Keys[0].ID {
		t.Errorf("published %v", public.Keys)
	}
	if len(w.pushed) != pushes+1 || len(w.pushed[pushes].Tokens.Keys) != 1 || len(w.pushed[pushes].Operator.Keys) != 2 {
		t.Errorf("pushed %d times", len(w.pushed)-pushes)
	}
	if !tickets.Revoked(by) || tickets.Revoked(ring.Keys[0].ID) {
		t.Error("what the old keys signed is still taken for good, or what the new ones sign is not")
	}
	select {
	case <-w.Keyring.Changed():
	default:
		t.Error("nobody was told")
	}
}

// TestAuthorityChangesWithOverlap: the next authority is trusted everywhere before pools get
// certificates of it, and the one before is trusted on.
func TestAuthorityChangesWithOverlap(t *testing.T) {
	w := newKeysWorld(t, "keys-authority")
	bundle := func() string {
		t.Helper()
		var public corev1.ConfigMap
		must(t, cluster.Get(t.Context(), client.ObjectKey{Namespace: w.Namespace, Name: v1alpha1.PublicKeysConfigMap}, &public))
		return public.Data[v1alpha1.CAFile]
	}
	w.reconcile(t)
	first, err := w.Keyring.Authority()
	must(t, err)
	old, begun := bundle(), w.clock.Now()
	cert, key, err := first.Issue("media.example", begun)
	must(t, err)
	signs := func() bool { // the first one
		t.Helper()
		now, err := w.Keyring.Authority()
		must(t, err)
		return !now.Expiry(cert, key, "media.example", begun).IsZero()
	}
	pass := func(days int) { w.clock.SetTime(w.clock.Now().Add(time.Duration(days) * 24 * time.Hour)) }
	pass(273)
	w.reconcile(t)
	both := bundle()
	if !signs() || strings.Count(both, "BEGIN") != 2 || !strings.Contains(both, old) {
		t.Fatalf("nine months later %d authorities are trusted", strings.Count(both, "BEGIN"))
	}
	pass(2)
	w.reconcile(t)
	if signs() || strings.Count(bundle(), "BEGIN") != 2 || !strings.Contains(bundle(), old) {
		t.Errorf("two days later the first one still signs, or %d are trusted", strings.Count(bundle(), "BEGIN"))
	}
	pass(93)
	w.reconcile(t)
	if got := bundle(); strings.Contains(got, old) || strings.Count(got, "BEGIN") != 1 {
		t.Errorf("the first authority has expired, and %d are trusted", strings.Count(got, "BEGIN"))
	}
}
