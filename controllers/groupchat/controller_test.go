package groupchat_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
)

func ready(gc *v1alpha1.GroupChat) *metav1.Condition {
	return meta.FindStatusCondition(gc.Status.Conditions, v1alpha1.ConditionReady)
}

// once reconciles gc once and reads back what was written.
func (w *world) once(t *testing.T, gc *v1alpha1.GroupChat) time.Duration {
	t.Helper()
	result, err := w.operator(whole()).Reconcile(t.Context(), gc.DeepCopy())
	must(t, err)
	must(t, w.Get(t.Context(), client.ObjectKeyFromObject(gc), gc))
	return result.RequeueAfter
}

// TestWhyThereIsNoGroup: what stands in the way is named in Ready, and no group,
// and no finalizer that nobody needs, is made meanwhile.
func TestWhyThereIsNoGroup(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(*testing.T, *world)
		reason  string
		message string
	}{
		{"no such provider", func(*testing.T, *world) {}, v1alpha1.ReasonProviderNotFound, "there is no ChatProvider"},
		{"not checked yet", func(t *testing.T, w *world) {
			must(t, w.Open(t.Context(), w.addProvider(t)))
		}, v1alpha1.ReasonProviderNotReady, "was not checked yet"},
		{"not open", func(t *testing.T, w *world) { w.addProvider(t) }, v1alpha1.ReasonProviderNotReady, "is not open yet"},
		{"not ready", func(t *testing.T, w *world) {
			w.setReady(t, w.readyProvider(t), metav1.ConditionFalse, v1alpha1.ReasonProviderUnavailable, "no servers")
		}, v1alpha1.ReasonProviderUnavailable, "is not ready: no servers"},
		{"namespace not allowed", func(t *testing.T, w *world) {
			w.readyProvider(t, func(cp *v1alpha1.ChatProvider) { cp.Spec.AllowedNamespaces = []string{"elsewhere"} })
		}, v1alpha1.ReasonProviderNotAllowed, "takes no groups of the namespace"},
		{"being deleted", func(t *testing.T, w *world) {
			cp := w.readyProvider(t, func(cp *v1alpha1.ChatProvider) { cp.Finalizers = []string{v1alpha1.Finalizer} })
			must(t, w.Delete(t.Context(), cp))
		}, v1alpha1.ReasonProviderNotReady, "is being deleted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.prepare(t, w)
			gc := w.group(t)
			again := w.once(t, gc)
			got := ready(gc)
			if got == nil || got.Status != metav1.ConditionFalse || got.Reason != tt.reason || got.ObservedGeneration != gc.Generation ||
				!strings.HasPrefix(got.Message, "spec.provider: ") || !strings.Contains(got.Message, tt.message) {
				t.Errorf("Ready is %+v, want False, %s, spec.provider: ... %s ...", got, tt.reason, tt.message)
			}
			if again <= 0 {
				t.Error("it is not tried again")
			}
			if gc.Status.GroupID != "" || len(gc.Finalizers) != 0 {
				t.Errorf("group %q, finalizers %v; want neither", gc.Status.GroupID, gc.Finalizers)
			}
		})
	}
}

func TestChatLostBetweenCheckAndCreation(t *testing.T) {
	w := newWorld(t)
	w.readyProvider(t)
	w.running.Shutdown()
	gc := w.group(t)
	first := w.once(t, gc)
	if got := ready(gc); got.Reason != v1alpha1.ReasonProviderUnavailable || !strings.HasPrefix(got.Message, "spec.provider: ") {
		t.Errorf("Ready is %+v, want ProviderUnavailable that names spec.provider", got)
	}
	w.now = w.now.Add(4 * time.Second)
	if later := w.once(t, gc); later <= first {
		t.Errorf("tried again after %v, then after %v; want growing pauses", first, later)
	}
	w.startChat(t)
	w.run(t, w.operator(whole()), whole(), gc, func() bool { return ready(gc).Status == metav1.ConditionTrue })
	if groups := w.groups(t); len(groups) != 1 || groups[0].ID != gc.Status.GroupID {
		t.Errorf("groups %+v, want the one that the status names, %q", groups, gc.Status.GroupID)
	}
}

// TestNewLeaderLooksFirst: an operator that has not opened its providers yet knows
// nothing worse of their groups than the one before.
func TestNewLeaderLooksFirst(t *testing.T) {
	w := newWorld(t)
	cp := w.readyProvider(t)
	gc := w.group(t)
	w.once(t, gc)
	before := gc.ResourceVersion
	must(t, w.Forget(w.provider))
	if again := w.once(t, gc); gc.ResourceVersion != before || again <= 0 {
		t.Errorf("Ready is %+v, next look after %v; want it as it was, and another look", ready(gc), again)
	}
	w.setReady(t, cp, metav1.ConditionFalse, v1alpha1.ReasonProviderUnavailable, "no servers")
	w.once(t, gc)
	if got := ready(gc); got.Status != metav1.ConditionFalse {
		t.Errorf("Ready is %+v although the provider's check says no", got)
	}
}

func TestCreatedAsAsked(t *testing.T) {
	w := newWorld(t)
	w.readyProvider(t)
	gc := w.group(t)
	w.once(t, gc)
	want := chat.Group{ID: gc.Status.GroupID, Name: gc.Name, Owner: "key:test:owner", State: chat.Invalid, Limits: chat.Limits{MaxMembers: 4, MaxMics: 2}}
	got, err := w.chat(t).Group(t.Context(), gc.Status.GroupID)
	must(t, err)
	got.Key, got.CreatedAt = "", time.Time{}
	if got != want {
		t.Errorf("the group is %+v, want %+v", got, want)
	}
	if gc.Status.State != v1alpha1.GroupInvalid || gc.Status.Members != 0 || ready(gc).Reason != v1alpha1.ReasonGroupCreated {
		t.Errorf("status %+v", gc.Status)
	}

	gc.Spec.MaxMembers, gc.Spec.MaxMics = 9, 9
	must(t, w.Update(t.Context(), gc))
	w.once(t, gc)
	if got, err = w.chat(t).Group(t.Context(), gc.Status.GroupID); err != nil || got.Limits != (chat.Limits{MaxMembers: 9, MaxMics: 9}) {
		t.Errorf("after the edit the group's numbers are %+v, %v", got.Limits, err)
	}
}

// TestValidIsALatch: only an activated room of the right UID turns the group
// valid, and nothing turns it back.
func TestValidIsALatch(t *testing.T) {
	w := newWorld(t)
	w.readyProvider(t)
	vr := w.room(t, false)
	gc := w.group(t)
	state := func() chat.State {
		t.Helper()
		w.once(t, gc)
		g, err := w.chat(t).Group(t.Context(), gc.Status.GroupID)
		must(t, err)
		if string(g.State) != string(gc.Status.State) {
			t.Errorf("status says %s, the provider %s", gc.Status.State, g.State)
		}
		return g.State
	}
	bind := func(uid string) {
		t.Helper()
		must(t, w.Get(t.Context(), client.ObjectKeyFromObject(gc), gc))
		gc.Status.BoundRoom = &v1alpha1.BoundRoom{Name: vr.Name, UID: uid}
		must(t, w.Status().Update(t.Context(), gc))
	}
	if got := state(); got != chat.Invalid {
		t.Fatalf("unbound: %s", got)
	}
	bind(string(vr.UID))
	if got := state(); got != chat.Invalid {
		t.Errorf("bound to a room whose owner has not come: %s", got)
	}
	w.activate(t, vr)
	bind("another-uid")
	if got := state(); got != chat.Invalid {
		t.Errorf("bound to an earlier room of that name: %s", got)
	}
	bind(string(vr.UID))
	if got := state(); got != chat.Valid {
		t.Errorf("activated: %s", got)
	}
	must(t, w.Delete(t.Context(), vr))
	if got := state(); got != chat.Valid {
		t.Errorf("after the room ended: %s", got)
	}
}

// TestGroupRemovedAtItsProvider is not made again under another ID: the old one
// was passed on to people.
func TestGroupRemovedAtItsProvider(t *testing.T) {
	w := newWorld(t)
	w.readyProvider(t)
	gc := w.group(t)
	w.once(t, gc)
	id := gc.Status.GroupID
	must(t, w.chat(t).DeleteGroup(t.Context(), id))
	w.once(t, gc)
	if got := ready(gc); got.Status != metav1.ConditionFalse || got.Reason != v1alpha1.ReasonGroupNotFound || !strings.Contains(got.Message, id) {
		t.Errorf("Ready is %+v, want GroupNotFound that names %s", got, id)
	}
	if groups := w.groups(t); gc.Status.GroupID != id || len(groups) != 0 {
		t.Errorf("group %q, at the provider %+v", gc.Status.GroupID, groups)
	}
}

// TestMembersAreWrittenNowAndThen although they are counted whenever the group is looked at.
func TestMembersAreWrittenNowAndThen(t *testing.T) {
	w := newWorld(t)
	w.readyProvider(t)
	gc := w.group(t)
	f := whole()
	r := w.operator(f)
	reconcile := func() (wait time.Duration, writes int) {
		t.Helper()
		before := f.writes
		result, err := r.Reconcile(t.Context(), gc.DeepCopy())
		must(t, err)
		must(t, w.Get(t.Context(), client.ObjectKeyFromObject(gc), gc))
		return result.RequeueAfter, before - f.writes
	}
	reconcile()
	for _, subject := range []string{"a", "b", "c"} {
		must(t, w.chat(t).AddMember(t.Context(), gc.Status.GroupID, chat.Member{Subject: subject}))
	}
	w.now = w.now.Add(10 * time.Second)
	if wait, writes := reconcile(); writes != 0 || wait != 20*time.Second {
		t.Errorf("too soon: %d writes, again in %v; want none, in 20s", writes, wait)
	}
	w.now = w.now.Add(20 * time.Second)
	if _, writes := reconcile(); writes != 1 || gc.Status.Members != 3 {
		t.Errorf("in time: %d writes, %d members; want 1 and 3", writes, gc.Status.Members)
	}
	w.now = w.now.Add(time.Hour)
	if _, writes := reconcile(); writes != 0 {
		t.Errorf("%d writes although nothing changed", writes)
	}
}
