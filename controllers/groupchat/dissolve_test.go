package groupchat_test

import (
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/controllers/groupchat"
)

// made is a group that exists, marked for deletion.
func (w *world) deleted(t *testing.T, change ...func(*v1alpha1.GroupChat)) *v1alpha1.GroupChat {
	t.Helper()
	gc := w.group(t, change...)
	w.once(t, gc)
	must(t, w.Delete(t.Context(), gc))
	must(t, w.Get(t.Context(), client.ObjectKeyFromObject(gc), gc))
	return gc
}

func (w *world) reconcile(t *testing.T, gc *v1alpha1.GroupChat) (gone bool) {
	t.Helper()
	_, err := w.operator(whole()).Reconcile(t.Context(), gc.DeepCopy())
	must(t, err)
	err = w.Get(t.Context(), client.ObjectKeyFromObject(gc), gc)
	must(t, client.IgnoreNotFound(err))
	return apierrors.IsNotFound(err)
}

func (w *world) event(t *testing.T) string {
	t.Helper()
	select {
	case e := <-w.events.Events:
		return e
	default:
		return "no event"
	}
}

func TestRetainKeepsTheGroup(t *testing.T) {
	w := newWorld(t)
	w.readyProvider(t)
	gc := w.deleted(t, func(gc *v1alpha1.GroupChat) { gc.Spec.DeletionPolicy = v1alpha1.DeletionRetain })
	if !w.reconcile(t, gc) {
		t.Error("the resource is still there")
	}
	if groups := w.groups(t); len(groups) != 1 {
		t.Errorf("groups %+v, want the one that was kept", groups)
	}
}

// TestDissolvingWaitsForChat says so, and goes on by itself.
func TestDissolvingWaitsForChat(t *testing.T) {
	w := newWorld(t)
	w.readyProvider(t)
	gc := w.deleted(t)
	w.running.Shutdown()
	if w.reconcile(t, gc) {
		t.Fatal("the resource went although its group could not be dissolved")
	}
	if got := ready(gc); got.Reason != v1alpha1.ReasonDissolveFailed || !strings.Contains(got.Message, "spec.provider") {
		t.Errorf("Ready is %+v, want DissolveFailed that names spec.provider", got)
	}
	w.startChat(t)
	w.run(t, w.operator(whole()), whole(), gc, func() bool { return false })
	if groups := w.groups(t); len(groups) != 0 {
		t.Errorf("groups left behind: %+v", groups)
	}
}

// TestProviderGoneForGood: the resource is released, with a record and a warning;
// when a provider of that name comes back, the sweep removes what was left there.
func TestProviderGoneForGood(t *testing.T) {
	w := newWorld(t)
	w.readyProvider(t)
	gc := w.deleted(t)
	w.dropProvider(t)
	if !w.reconcile(t, gc) {
		t.Fatal("the resource still blocks its namespace")
	}
	if e := w.event(t); !strings.HasPrefix(e, "Warning "+v1alpha1.ReasonReleasedWithoutOwner) || !strings.Contains(e, gc.Status.GroupID) {
		t.Errorf("event %q, want a warning that names the group", e)
	}
	orphans, err := w.sweeper().Orphans.List(t.Context())
	if err != nil || len(orphans) != 1 || orphans[0].GroupID != gc.Status.GroupID || orphans[0].Provider != w.provider || orphans[0].UID != gc.UID {
		t.Fatalf("records %+v, %v", orphans, err)
	}
	must(t, w.chat(t).SetValid(t.Context(), gc.Status.GroupID)) // also one that people were in

	must(t, w.sweeper().Sweep(t.Context()))
	if groups := w.groups(t); len(groups) != 1 {
		t.Fatalf("swept at a provider that does not exist: %+v", groups)
	}
	w.readyProvider(t)
	must(t, w.sweeper().Sweep(t.Context()))
	if groups := w.groups(t); len(groups) != 0 {
		t.Errorf("left behind although recorded: %+v", groups)
	}
	if orphans, err := w.sweeper().Orphans.List(t.Context()); err != nil || len(orphans) != 0 {
		t.Errorf("records %+v, %v; want none", orphans, err)
	}
}

// TestDeletedProviderThatDoesNotAnswer: it is held by its groups and cannot dissolve
// them. Neither blocks the other, nor their namespace, for ever.
func TestDeletedProviderThatDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	cp := w.readyProvider(t, func(cp *v1alpha1.ChatProvider) { cp.Finalizers = []string{v1alpha1.Finalizer} })
	gc := w.deleted(t)
	w.running.Shutdown()
	w.now = gc.DeletionTimestamp.Add(time.Hour)
	if w.reconcile(t, gc) {
		t.Fatal("a provider that nobody deletes may come back; its group was given up")
	}
	must(t, w.Delete(t.Context(), cp))
	w.now = gc.DeletionTimestamp.Time
	if w.reconcile(t, gc) {
		t.Fatal("the group was given up at once")
	}
	w.now = w.now.Add(2 * time.Minute)
	if !w.reconcile(t, gc) {
		t.Fatalf("the resource still blocks its namespace: %+v", ready(gc))
	}
	orphans, err := w.sweeper().Orphans.List(t.Context())
	if err != nil || len(orphans) != 1 || orphans[0].GroupID != gc.Status.GroupID {
		t.Errorf("records %+v, %v; want the group that was left", orphans, err)
	}
}

// TestUnknownProviderLeavesNoTrace: a resource that never had a group needs no
// record, even if it carried the finalizer from the start.
func TestUnknownProviderLeavesNoTrace(t *testing.T) {
	w := newWorld(t)
	gc := w.group(t, func(gc *v1alpha1.GroupChat) { gc.Finalizers = []string{v1alpha1.Finalizer} })
	must(t, w.Delete(t.Context(), gc))
	must(t, w.Get(t.Context(), client.ObjectKeyFromObject(gc), gc))
	if !w.reconcile(t, gc) {
		t.Error("the resource is still there")
	}
	if orphans, err := w.sweeper().Orphans.List(t.Context()); err != nil || len(orphans) != 0 {
		t.Errorf("records %+v, %v; want none", orphans, err)
	}
}

func (w *world) sweeper() *groupchat.Sweeper {
	return &groupchat.Sweeper{Client: w, Live: w, Providers: w.chats, Installation: installation,
		Orphans: &groupchat.Orphans{Client: w, Live: w, Namespace: w.namespace}}
}

// TestSweep removes what nobody holds and nobody entered, and nothing else.
func TestSweep(t *testing.T) {
	w := newWorld(t)
	w.readyProvider(t)
	held := w.group(t)
	w.once(t, held)
	provider := w.chat(t)
	spec := chat.GroupSpec{Name: "n", Owner: "o", Limits: chat.Limits{MaxMembers: 2, MaxMics: 1}}
	create := func(key string) string {
		t.Helper()
		g, err := provider.CreateGroup(t.Context(), key, spec)
		must(t, err)
		return g.ID
	}
	ours := installation + "/" + w.namespace + "/"
	unheld := create(ours + "gone/uid-1")
	earlier := create(ours + held.Name + "/uid-of-an-earlier-resource")
	valid := create(ours + "kept/uid-2")
	must(t, provider.SetValid(t.Context(), valid))
	entered := create(ours + "kept/uid-3")
	must(t, provider.AddMember(t.Context(), entered, chat.Member{Subject: "a"}))
	strange := create(installation + "/not-a-key-of-ours")
	others := create("other-cluster/" + w.namespace + "/gone/uid-4")

	must(t, w.sweeper().Sweep(t.Context()))
	left, err := provider.ListGroups(t.Context(), "")
	must(t, err)
	is := map[string]bool{}
	for _, g := range left {
		is[g.ID] = true
	}
	for name, tt := range map[string]struct {
		id   string
		stay bool
	}{
		"held": {held.Status.GroupID, true}, "never entered": {unheld, false}, "of an earlier resource of the name": {earlier, false},
		"valid": {valid, true}, "with a member": {entered, true}, "under a strange key": {strange, true}, "of another cluster": {others, true},
	} {
		if is[tt.id] != tt.stay {
			t.Errorf("a group %s: still there %v, want %v", name, is[tt.id], tt.stay)
		}
	}
}
