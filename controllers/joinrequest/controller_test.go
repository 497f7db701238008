package joinrequest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/fleet"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/apiserver"
	"voiceroom.dev/voiceroom/token"
)

var cfg *rest.Config

func TestMain(m *testing.M) { os.Exit(apiserver.Run(m, &cfg)) }

// world is a namespace of a real API server with a room in it.
type world struct {
	client.WithWatch
	namespace string
	vr        *v1alpha1.VoiceRoom
	uid       types.UID // of vr
	live      *room.Room
	ring      *token.Ring
	verifier  *token.Verifier
	counting  error // what asking chat ends with

	mu      sync.Mutex // guards what follows against the controller
	replica *room.State
	now     time.Time

	*Reconciler
}

// Replica implements Rooms.
func (w *world) Replica(uid types.UID) fleet.Replica {
	w.mu.Lock()
	defer w.mu.Unlock()
	if uid != w.uid {
		return fleet.Replica{}
	}
	return fleet.Replica{State: w.replica, Live: true}
}

// publish makes the room's state now what the operator knows of it.
func (w *world) publish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.replica = w.live.State()
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c := apiserver.Client(t, cfg)
	w := &world{WithWatch: c, namespace: apiserver.Namespace(t, c), now: time.Now()}
	w.vr, w.live = aRoom(t)
	w.vr.ObjectMeta = metav1.ObjectMeta{Namespace: w.namespace, Name: "lobby"}
	must(t, c.Create(t.Context(), w.vr))
	w.uid = w.vr.UID
	w.setPhase(t, v1alpha1.RoomOpen)
	w.publish()
	w.newKeys(t)
	w.verifier = token.NewVerifier(func() *token.PublicSet { return w.ring.Public() }, w.clock)
	w.Reconciler = &Reconciler{Client: c, Rooms: w, Tickets: w,
		Count: func(context.Context, *v1alpha1.VoiceRoom) error { return w.counting }, Now: w.clock}
	return w
}

// newKeys replaces the keys that sign tickets.
func (w *world) newKeys(t *testing.T) {
	t.Helper()
	ring, _, err := (*token.Ring)(nil).Rotate(w.now.Add(-time.Hour), token.DefaultRotation, rand.Reader)
	must(t, err)
	w.ring = ring
}

// Mint and Revoked implement Tickets.
func (w *world) Mint(of token.Ticket) (ticket, key string, err error) {
	ticket, err = token.NewMinter(func() *token.Ring { return w.ring }, w.clock, rand.Reader).Ticket(of)
	return ticket, w.ring.Keys[0].ID, err
}

func (w *world) Revoked(key string) bool { return key != w.ring.Keys[0].ID }

func (w *world) setPhase(t *testing.T, phase v1alpha1.RoomPhase) {
	t.Helper()
	w.vr.Status.Phase = phase
	must(t, w.Status().Update(t.Context(), w.vr))
}

func (w *world) request(t *testing.T, user string, change ...func(*v1alpha1.JoinRequest)) *v1alpha1.JoinRequest {
	t.Helper()
	jr := &v1alpha1.JoinRequest{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, GenerateName: "join-"},
		Spec: v1alpha1.JoinRequestSpec{Room: v1alpha1.LocalReference{Name: "lobby"}, User: user, DisplayName: "A user",
			TicketSeconds: 60, TTLSecondsAfterFinished: ptr.To[int32](100)}}
	for _, c := range change {
		c(jr)
	}
	must(t, w.Create(t.Context(), jr))
	return jr
}

// once reconciles jr, reads it back, and returns when it runs again.
func (w *world) once(t *testing.T, jr *v1alpha1.JoinRequest) time.Duration {
	t.Helper()
	result, err := w.Reconcile(t.Context(), jr.DeepCopy())
	must(t, err)
	must(t, client.IgnoreNotFound(w.Get(t.Context(), client.ObjectKeyFromObject(jr), jr)))
	return result.RequeueAfter
}

func (w *world) want(t *testing.T, jr *v1alpha1.JoinRequest, phase v1alpha1.JoinPhase, code room.Code) {
	t.Helper()
	ready := meta.FindStatusCondition(jr.Status.Conditions, v1alpha1.ConditionReady)
	if jr.Status.Phase != phase || jr.Status.Reason != string(code) || ready == nil || ready.Message == "" {
		t.Errorf("%s %q, Ready %+v; want %s %q", jr.Status.Phase, jr.Status.Reason, ready, phase, code)
		return
	}
	good := phase == v1alpha1.JoinGranted || phase == v1alpha1.JoinJoined
	if good != (ready.Status == metav1.ConditionTrue) || ready.ObservedGeneration != jr.Generation {
		t.Errorf("Ready is %+v in %s", ready, phase)
	}
	final := phase != v1alpha1.JoinGranted && phase != v1alpha1.JoinPending
	if final != (jr.Status.FinishedAt != nil) {
		t.Errorf("finished at %v in %s", jr.Status.FinishedAt, phase)
	}
}

// ticket verifies what the request's Secret holds.
func (w *world) ticket(t *testing.T, jr *v1alpha1.JoinRequest) token.Ticket {
	t.Helper()
	var secret corev1.Secret
	must(t, w.Get(t.Context(), client.ObjectKey{Namespace: jr.Namespace, Name: jr.Status.TicketSecret}, &secret))
	if !metav1.IsControlledBy(&secret, jr) {
		t.Errorf("the Secret does not go with the request: %v", secret.OwnerReferences)
	}
	ticket, err := w.verifier.Ticket(string(secret.Data[v1alpha1.TicketKey]))
	must(t, err)
	return ticket
}

func TestGrantedThenJoined(t *testing.T) {
	w := newWorld(t)
	jr := w.request(t, "key:a:alice")
	w.once(t, jr)
	w.want(t, jr, v1alpha1.JoinGranted, "")
	got := w.ticket(t, jr)
	want := token.Ticket{ID: got.ID, Purpose: token.PurposeJoin, Subject: "key:a:alice", Name: "A user", Room: w.namespace + "/lobby",
		RoomUID: string(w.vr.UID), Role: string(room.Speaker), Key: jr.Status.TicketKey, IssuedAt: got.IssuedAt, ExpiresAt: got.ExpiresAt}
	if got != want || !got.ExpiresAt.Equal(jr.Status.ExpiresAt.Time) || got.ExpiresAt.Sub(w.now).Round(time.Second) > time.Minute {
		t.Errorf("ticket %+v, want %+v, until %v", got, want, jr.Status.ExpiresAt)
	}

	do(t, w.live, room.Reserve{Subject: "key:a:alice", Session: "s"})
	w.publish()
	if again := w.once(t, jr); again <= 0 {
		t.Error("nobody looks whether the user comes")
	}
	w.want(t, jr, v1alpha1.JoinGranted, "") // a reservation is not yet somebody in the room

	for _, c := range []room.Command{room.Open{Session: "s"}, room.Associate{Session: "s"}, room.Enter{Session: "s"}} {
		do(t, w.live, c)
	}
	w.publish()
	w.pass(2 * time.Minute) // it entered in time, although that is seen late
	again := w.once(t, jr)
	w.want(t, jr, v1alpha1.JoinJoined, "")
	if again != 100*time.Second {
		t.Errorf("looked at again in %v, want after the TTL", again)
	}
	w.pass(99 * time.Second)
	w.once(t, jr)
	w.want(t, jr, v1alpha1.JoinJoined, "")
	w.pass(2 * time.Second)
	w.once(t, jr)
	apiserver.AwaitGone(t, w, jr)
}

func TestExpired(t *testing.T) {
	w := newWorld(t)
	jr := w.request(t, "key:a:alice")
	w.once(t, jr)
	w.pass(59 * time.Second)
	if again := w.once(t, jr); again > time.Second {
		t.Errorf("looked at again in %v, after the ticket ran out", again)
	}
	w.want(t, jr, v1alpha1.JoinGranted, "")
	w.pass(time.Second)
	w.once(t, jr)
	w.want(t, jr, v1alpha1.JoinExpired, room.Expired)
}

// TestARequestPardonsAKick, if it was made after it; what was granted before does not.
func TestARequestPardonsAKick(t *testing.T) {
	w := newWorld(t)
	before := w.request(t, "key:a:bob")
	w.once(t, before)
	old := w.ticket(t, before)
	w.pass(time.Second)
	enter(t, w.live, "key:a:bob")
	m, _ := w.live.View().Subject("key:a:bob")
	if _, err := w.live.Do(w.clock(), room.Control, room.Renew{Until: w.clock().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.live.Do(w.clock(), room.Control, room.Kick{Member: m.ID}); err != nil {
		t.Fatal(err)
	}
	w.publish()
	w.pass(time.Second)
	after := w.request(t, "key:a:bob")
	w.once(t, after)
	w.want(t, after, v1alpha1.JoinGranted, "")
	for _, tt := range []struct {
		ticket token.Ticket
		want   error
	}{{token.Ticket{}, &room.Error{Code: room.IsKicked}}, {old, &room.Error{Code: room.IsKicked}}, {w.ticket(t, after), nil}} {
		_, err := w.live.Do(w.clock(), room.Control, room.Reserve{Subject: "key:a:bob", Session: "again", InvitedAt: tt.ticket.IssuedAt})
		if !errors.Is(err, tt.want) {
			t.Errorf("with a ticket of %v: %v, want %v", tt.ticket.IssuedAt, err, tt.want)
		}
	}
}

// TestTicketsEndWithTheirKey: another one would be younger than what was asked for.
func TestTicketsEndWithTheirKey(t *testing.T) {
	w := newWorld(t)
	jr := w.request(t, "key:a:alice")
	w.once(t, jr)
	w.want(t, jr, v1alpha1.JoinGranted, "")
	w.newKeys(t)
	w.once(t, jr)
	w.want(t, jr, v1alpha1.JoinExpired, room.KeyRevoked)
	again := w.request(t, "key:a:alice")
	w.once(t, again)
	w.want(t, again, v1alpha1.JoinGranted, "")
	w.ticket(t, again)
}

func TestRoomEndsBeforeTheUserComes(t *testing.T) {
	w := newWorld(t)
	closed, gone := w.request(t, "key:a:alice"), w.request(t, "key:a:bob")
	w.once(t, closed)
	w.once(t, gone)
	w.setPhase(t, v1alpha1.RoomClosed)
	w.once(t, closed)
	w.want(t, closed, v1alpha1.JoinExpired, room.RoomClosed)
	must(t, w.Delete(t.Context(), w.vr))
	w.once(t, gone)
	w.want(t, gone, v1alpha1.JoinExpired, room.RoomClosed)
}

func TestWaitsForTheRoom(t *testing.T) {
	w := newWorld(t)
	later := w.request(t, "key:a:alice", func(jr *v1alpha1.JoinRequest) { jr.Spec.Room.Name = "later" })
	w.once(t, later)
	w.want(t, later, v1alpha1.JoinPending, codeRoomNotFound)
	vr := &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "later"}, Spec: w.vr.Spec}
	must(t, w.Create(t.Context(), vr))
	w.once(t, later)
	w.want(t, later, v1alpha1.JoinPending, codeRoomNotReady)
	vr.Status.Phase = v1alpha1.RoomReady
	must(t, w.Status().Update(t.Context(), vr))
	w.once(t, later)
	w.want(t, later, v1alpha1.JoinGranted, "")

	never := w.request(t, "key:a:alice", func(jr *v1alpha1.JoinRequest) { jr.Spec.Room.Name = "never" })
	w.pass(patience + time.Minute)
	w.once(t, never)
	w.want(t, never, v1alpha1.JoinExpired, codeRoomNotFound)
}

// TestDeniedIsFinal, and mints nothing.
func TestDeniedIsFinal(t *testing.T) {
	w := newWorld(t)
	enter(t, w.live, "key:a:second")
	w.publish()
	jr := w.request(t, "key:a:alice")
	w.once(t, jr)
	w.want(t, jr, v1alpha1.JoinDenied, room.RoomFull)
	do(t, w.live, room.Leave{Session: "s-key:a:second"})
	w.publish()
	w.once(t, jr)
	w.want(t, jr, v1alpha1.JoinDenied, room.RoomFull)
	var secrets corev1.SecretList
	must(t, w.List(t.Context(), &secrets, client.InNamespace(w.namespace)))
	if len(secrets.Items) != 0 || jr.Status.TicketSecret != "" {
		t.Errorf("Secrets %v, status names %q; want none", secrets.Items, jr.Status.TicketSecret)
	}
}

func TestChatIsAsked(t *testing.T) {
	down := &admission.Error{Code: admission.ChatUnavailable, Detail: "the room's chat does not answer", Retryable: true}
	for _, tt := range []struct {
		name   string
		err    error
		policy v1alpha1.ChatFailurePolicy
		phase  v1alpha1.JoinPhase
		code   room.Code
	}{
		{"it has a place", nil, v1alpha1.ChatFail, v1alpha1.JoinGranted, ""},
		{"it is full", &admission.Error{Code: room.RoomFull, Detail: "full"}, v1alpha1.ChatFail, v1alpha1.JoinDenied, room.RoomFull},
		{"it is full, degraded", &admission.Error{Code: room.RoomFull, Detail: "full"}, v1alpha1.ChatDegrade, v1alpha1.JoinDenied, room.RoomFull},
		{"the group is gone", fmt.Errorf("asking: %w", &admission.Error{Code: admission.GroupGone, Detail: "gone"}), v1alpha1.ChatFail,
			v1alpha1.JoinDenied, admission.GroupGone},
		{"it does not answer", down, v1alpha1.ChatFail, v1alpha1.JoinPending, admission.ChatUnavailable},
		{"it does not answer, degraded", down, v1alpha1.ChatDegrade, v1alpha1.JoinGranted, ""},
		{"something else", errors.New("boom"), v1alpha1.ChatFail, v1alpha1.JoinPending, admission.ChatUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.vr.Spec.Chat.FailurePolicy = tt.policy
			must(t, w.Update(t.Context(), w.vr))
			w.counting = tt.err
			jr := w.request(t, "key:a:alice")
			again := w.once(t, jr)
			w.want(t, jr, tt.phase, tt.code)
			if tt.phase != v1alpha1.JoinPending {
				return
			}
			if again <= 0 {
				t.Error("it is not asked again")
			}
			w.counting = nil
			w.once(t, jr)
			w.want(t, jr, v1alpha1.JoinGranted, "")
		})
	}
}

// TestKilledWhileGranting: wherever the operator dies, the next one ends with one
// Secret, whose ticket is good.
func TestKilledWhileGranting(t *testing.T) {
	w := newWorld(t)
	errDead := errors.New("the operator was killed")
	healthy := w.Reconciler.Client
	for fatal := 1; ; fatal++ {
		for _, after := range []bool{false, true} {
			writes := 0
			write := func(do func() error) error {
				if writes++; writes < fatal {
					return do()
				}
				if writes == fatal && after {
					_ = do() // whatever it was, nobody hears of it
				}
				return errDead
			}
			w.Reconciler.Client = interceptor.NewClient(w.WithWatch, interceptor.Funcs{
				Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
					return write(func() error { return c.Apply(ctx, o, opts...) })
				},
				SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
					return write(func() error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
				},
			})
			jr := w.request(t, "key:a:alice")
			_, err := w.Reconcile(t.Context(), jr.DeepCopy())
			w.Reconciler.Client = healthy
			if writes < fatal {
				must(t, err)
				if fatal != 3 {
					t.Errorf("granting takes %d writes, want 2: the Secret and the status", fatal-1)
				}
				return
			}
			if !errors.Is(err, errDead) {
				t.Fatalf("killed at write %d, the controller says %v", fatal, err)
			}
			must(t, w.Get(t.Context(), client.ObjectKeyFromObject(jr), jr))
			w.once(t, jr)
			w.want(t, jr, v1alpha1.JoinGranted, "")
			if ticket := w.ticket(t, jr); ticket.ExpiresAt.Before(jr.Status.ExpiresAt.Time) {
				t.Errorf("the ticket ends at %v, before what the status says, %v", ticket.ExpiresAt, jr.Status.ExpiresAt)
			}
			var secrets corev1.SecretList
			must(t, w.List(t.Context(), &secrets, client.InNamespace(w.namespace)))
			if len(secrets.Items) != 1 {
				t.Errorf("%d Secrets, want one", len(secrets.Items))
			}
			must(t, w.Delete(t.Context(), &secrets.Items[0]))
		}
	}
}

// TestAStaleCacheTurnsNothingBack: an operator that sees an old copy of a finished
// request does not answer it anew.
func TestAStaleCacheTurnsNothingBack(t *testing.T) {
	w := newWorld(t)
	jr := w.request(t, "key:a:alice")
	old := jr.DeepCopy()
	w.once(t, jr)
	w.pass(time.Hour)
	w.once(t, jr)
	w.want(t, jr, v1alpha1.JoinExpired, room.Expired)
	if _, err := w.Reconcile(t.Context(), old); err != nil && !apierrors.IsConflict(err) {
		t.Fatal(err)
	}
	must(t, w.Get(t.Context(), client.ObjectKeyFromObject(jr), jr))
	w.want(t, jr, v1alpha1.JoinExpired, room.Expired)
}

// TestManager: news of the room alone move a request on.
func TestManager(t *testing.T) {
	w := newWorld(t)
	w.setPhase(t, v1alpha1.RoomPending)
	apiserver.Manage(t, cfg, func(ctx context.Context, mgr ctrl.Manager) error {
		r := *w.Reconciler
		r.Client = mgr.GetClient()
		return r.SetupWithManager(ctx, mgr)
	})
	jr := w.request(t, "key:a:alice")
	await := func(phase v1alpha1.JoinPhase) {
		t.Helper()
		apiserver.Await(t, w, jr, "it is "+string(phase), func() bool { return jr.Status.Phase == phase })
	}
	await(v1alpha1.JoinPending)
	w.setPhase(t, v1alpha1.RoomOpen)
	await(v1alpha1.JoinGranted)
	enter(t, w.live, "key:a:alice")
	w.publish()
	w.vr.Status.Members = 2
	must(t, w.Status().Update(t.Context(), w.vr))
	await(v1alpha1.JoinJoined)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
