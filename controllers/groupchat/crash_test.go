package groupchat_test

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
)

// atEveryWrite kills the operator at its first write, at its second, and so on,
// just before and just after the write takes effect, until a life needs no more
// writes than it may make. It returns how many a whole life makes.
func atEveryWrite(t *testing.T, life func(t *testing.T, f *fuse)) int {
	t.Helper()
	writes := 0
	for _, after := range []bool{false, true} {
		for n := 0; ; n++ {
			f := &fuse{writes: n, after: after}
			t.Run(fmt.Sprintf("write %d, done %v", n+1, after), func(t *testing.T) { life(t, f) })
			if t.Failed() || !f.blown {
				writes = n
				break
			}
		}
	}
	return writes
}

// TestKilledWhileCreating: wherever the operator dies, the next one converges on
// one group, which the status names, and which is valid because the room's owner came.
func TestKilledWhileCreating(t *testing.T) {
	w := newWorld(t)
	w.readyProvider(t)
	writes := atEveryWrite(t, func(t *testing.T, f *fuse) {
		gc := w.group(t, ownedBy(w.room(t, true)))
		settled := func() bool { return meta.IsStatusConditionTrue(gc.Status.Conditions, v1alpha1.ConditionReady) }
		before := len(w.groups(t))
		w.run(t, w.operator(f), f, gc, settled)
		w.run(t, w.operator(whole()), whole(), gc, settled)

		groups := w.groups(t)
		if len(groups) != before+1 {
			t.Fatalf("%d groups were made, want one", len(groups)-before)
		}
		group, err := w.chat(t).Group(t.Context(), gc.Status.GroupID)
		if err != nil || group.State != chat.Valid || gc.Status.State != v1alpha1.GroupValid {
			t.Errorf("status says %s of a group that is %s, %v; want both Valid", gc.Status.State, group.State, err)
		}
	})
	// The finalizer, the group, its state, the status.
	if writes != 4 {
		t.Errorf("a creation takes %d writes, want 4", writes)
	}
}

// TestKilledWhileDissolving: wherever the operator dies, neither group nor
// resource is left in the end.
func TestKilledWhileDissolving(t *testing.T) {
	w := newWorld(t)
	w.readyProvider(t)
	never := func() bool { return false } // until it is gone
	writes := atEveryWrite(t, func(t *testing.T, f *fuse) {
		gc := w.group(t)
		w.run(t, w.operator(whole()), whole(), gc, func() bool { return gc.Status.GroupID != "" })
		must(t, w.Delete(t.Context(), gc))
		w.run(t, w.operator(f), f, gc, never)
		w.run(t, w.operator(whole()), whole(), gc, never)
		if groups := w.groups(t); len(groups) != 0 {
			t.Errorf("groups left behind: %+v", groups)
		}
	})
	// The group, the finalizer.
	if writes != 2 {
		t.Errorf("dissolving takes %d writes, want 2", writes)
	}
}

// TestDeletedBeforeItWasWrittenDown: a group whose ID never reached the status is
// found and dissolved all the same.
func TestDeletedBeforeItWasWrittenDown(t *testing.T) {
	w := newWorld(t)
	w.readyProvider(t)
	gc := w.group(t)
	f := &fuse{writes: 2} // the finalizer and the group, not the status
	w.run(t, w.operator(f), f, gc, func() bool { return false })
	if groups := w.groups(t); len(groups) != 1 || gc.Status.GroupID != "" {
		t.Fatalf("want a group that the status does not know, have %d and %q", len(groups), gc.Status.GroupID)
	}
	must(t, w.Delete(t.Context(), gc))
	w.run(t, w.operator(whole()), whole(), gc, func() bool { return false })
	if groups := w.groups(t); len(groups) != 0 {
		t.Errorf("groups left behind: %+v", groups)
	}
}
