package system

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/groupchat"
	"voiceroom.dev/voiceroom/controllers/voiceroom"
	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/hack/stack"
	"voiceroom.dev/voiceroom/test/auditlog"
)

// auditLog is where the API server tells who wrote what; see run.
var auditLog string

// written returns what the operator has written since the log was read last, but for leases
// and Events.
func written(t *testing.T, log *auditlog.Log) []auditlog.Write {
	t.Helper()
	all, err := log.Next()
	must(t, err)
	return slices.DeleteFunc(all, func(w auditlog.Write) bool {
		return w.User != "system:serviceaccount:"+stack.SystemNamespace+":voiceroom-operator" || w.Resource == "leases" || w.Resource == "events"
	})
}

// logFromNow skips what was written before.
func logFromNow(t *testing.T) *auditlog.Log {
	t.Helper()
	log := &auditlog.Log{Path: auditLog}
	written(t, log)
	return log
}

// ofRoom says whether a write is about a room, its group, its Secret or its pod.
func ofRoom(r *v1alpha1.VoiceRoom, w auditlog.Write) bool {
	return w.Namespace == r.Namespace && (w.Name == r.Name || strings.HasPrefix(w.Name, r.Name+"-")) ||
		w.Resource == "pods" && w.Verb == "patch" && r.Status.Media != nil && w.Name == r.Status.Media.Pod
}

// TestWriteBudget names every write of the operator that a room costs, from its creation
// until its owner has opened it.
func TestWriteBudget(t *testing.T) {
	pool := &v1alpha1.MediaPool{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	must(t, system.Wait(t.Context(), pool, patience, func() bool {
		return meta.IsStatusConditionTrue(pool.Status.Conditions, v1alpha1.ConditionReady)
	}))
	log := logFromNow(t)
	r := newRoom(t, "budget")
	open(t, r)
	group := &v1alpha1.GroupChat{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Name}}
	must(t, system.Wait(t.Context(), group, patience, func() bool { return group.Status.State == v1alpha1.GroupValid }))
	must(t, system.Wait(t.Context(), r, patience, func() bool { return r.Status.Phase == v1alpha1.RoomOpen }))

	var got []string
	until(t, "the log has the group's last write", func() (bool, error) {
		for _, w := range written(t, log) {
			if ofRoom(r, w) {
				got = append(got, w.String())
			}
		}
		return len(got) > 0 && got[len(got)-1] == "patch groupchats/status" && len(got) > 2, nil
	})
	want := []string{
		"create groupchats",       // step 2 of the flow, with the finalizer
		"patch groupchats/status", // its ID
		"patch secrets",           // the owner's ticket
		"patch voicerooms/status", // the claim of a pod
		"patch pods",              // the claim, on the pod
		"patch voicerooms/status", // the pod has the room: Ready
		"patch voicerooms/status", // step 5: Activated
		"patch groupchats/status", // Valid
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

// TestJoinsWriteNothing but summaries, which are spaced, however many come in.
func TestJoinsWriteNothing(t *testing.T) {
	const people = 50
	r := newRoom(t, "crowd", func(s *v1alpha1.VoiceRoomSpec) { s.MaxMembers = people + 1 })
	open(t, r)
	must(t, system.Wait(t.Context(), r, patience, func() bool { return r.Status.Members == 1 && r.Status.Phase == v1alpha1.RoomOpen }))
	log, began := logFromNow(t), time.Now()
	for i := range people {
		join(t, bot.Config{Room: r.Namespace + "/" + r.Name, Credential: guest(t, "Guest"), Name: fmt.Sprint("Guest ", i), Slots: 1})
	}
	must(t, system.Wait(t.Context(), r, patience, func() bool { return r.Status.Members == people+1 }))
	took, got := time.Since(began), map[string]int{}
	for _, w := range written(t, log) {
		if ofRoom(r, w) {
			got[w.String()]++
		}
	}
	// Each may also have been due when the first one came.
	most := map[string]int{"patch voicerooms/status": 2 + int(took/voiceroom.SummaryEvery), "patch groupchats/status": 2 + int(took/groupchat.CountEvery)}
	for what, n := range got {
		if n > most[what] {
			t.Errorf("%d times %q while %d joined in %v, want at most %d", n, what, people, took, most[what])
		}
	}
	if got["patch voicerooms/status"] == 0 {
		t.Error("the log has no summary, of which there was one: it is not the right log")
	}
}

// TestNothingIsWrittenAtRest, although people are in rooms.
func TestNothingIsWrittenAtRest(t *testing.T) {
	for _, name := range []string{"rest-1", "rest-2", "rest-3"} {
		r := newRoom(t, name)
		ann := open(t, r)
		join(t, bot.Config{Group: ann.Entered.GroupID, Credential: guest(t, "Bob"), Name: "Bob"})
	}
	const rest = 10 * time.Second // make bench-rooms watches for a minute
	log, quiet := logFromNow(t), time.Now()
	until(t, fmt.Sprintf("the operator has written nothing for %v", rest), func() (bool, error) {
		if w := written(t, log); len(w) > 0 {
			t.Logf("%v after the last: %v", time.Since(quiet).Round(time.Millisecond), w)
			quiet = time.Now()
		}
		return time.Since(quiet) >= rest, nil
	})
}
