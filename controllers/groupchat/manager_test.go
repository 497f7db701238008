package groupchat_test

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/controllers/chatprovider"
	"voiceroom.dev/voiceroom/controllers/groupchat"
	"voiceroom.dev/voiceroom/controllers/pace"
	"voiceroom.dev/voiceroom/test/apiserver"
)

// TestFlow runs both controllers as the operator does: chat is down when a group
// is asked for, comes back, the room is opened, people come, and all is dissolved,
// the group first, then the provider that was waiting for it.
func TestFlow(t *testing.T) {
	w := newWorld(t)
	w.running.Shutdown()
	apiserver.Manage(t, cfg, func(ctx context.Context, mgr ctrl.Manager) error {
		err := (&chatprovider.Reconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Opener: w, Providers: w.chats,
			Now: time.Now}).SetupWithManager(mgr)
		if err != nil {
			return err
		}
		return (&groupchat.Reconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Providers: w.chats,
			Events: mgr.GetEventRecorder("test"), Installation: installation, Counts: pace.New(pace.NewBudget(50), groupchat.CountEvery), Now: time.Now,
			Orphans: &groupchat.Orphans{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Namespace: w.namespace}}).SetupWithManager(ctx, mgr)
	})
	cp := w.addProvider(t)
	vr := w.room(t, false)
	gc := w.group(t, ownedBy(vr))
	await := func(what string, done func() bool) {
		t.Helper()
		apiserver.Await(t, w, gc, what, func() bool { return ready(gc) != nil && done() })
	}
	await("it says that chat is down", func() bool {
		r := ready(gc)
		return r.Status == metav1.ConditionFalse && r.Reason == v1alpha1.ReasonProviderUnavailable && strings.HasPrefix(r.Message, "spec.provider: ")
	})
	w.startChat(t)
	await("it goes on by itself", func() bool { return ready(gc).Status == metav1.ConditionTrue })
	if groups := w.groups(t); len(groups) != 1 || groups[0].ID != gc.Status.GroupID {
		t.Errorf("groups %+v, want the one that the status names, %q", groups, gc.Status.GroupID)
	}
	await("it is bound to its owner", func() bool {
		return gc.Status.BoundRoom != nil && *gc.Status.BoundRoom == v1alpha1.BoundRoom{Name: vr.Name, UID: string(vr.UID)}
	})

	w.activate(t, vr)
	vr.Status.GroupChat, vr.Status.Members = gc.Name, 1
	must(t, w.chat(t).AddMember(t.Context(), gc.Status.GroupID, chat.Member{Subject: "key:test:owner"}))
	must(t, w.Status().Update(t.Context(), vr))
	await("the room's news are seen", func() bool { return gc.Status.State == v1alpha1.GroupValid && gc.Status.Members == 1 })

	must(t, w.Delete(t.Context(), cp))
	apiserver.Await(t, w, cp, "the provider is held", func() bool { return cp.DeletionTimestamp != nil })
	must(t, w.Delete(t.Context(), gc))
	id := gc.Status.GroupID
	provider := w.chat(t) // still open while it is held
	apiserver.AwaitGone(t, w, gc)
	apiserver.AwaitGone(t, w, cp)
	if _, err := provider.Group(t.Context(), id); err == nil {
		t.Error("the group is still there")
	}
	if _, err := w.chats.Get(cp.Name); err == nil {
		t.Error("a provider that is gone is still open")
	}
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(vr), vr); err != nil {
		t.Errorf("the room: %v", err)
	}
}
