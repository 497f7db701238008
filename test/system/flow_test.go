package system

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/hack/bot"
)

// TestFlow walks through claim 1: create, then join by the group's ID.
func TestFlow(t *testing.T) {
	r := newRoom(t, "flow")
	ticket := ready(t, r)
	g, err := provider(t).Group(t.Context(), r.Status.GroupID)
	must(t, err)
	if g.State != chat.Invalid || g.Owner != owner || g.MaxMembers != 10 || g.MaxMics != 2 || g.Members != 0 {
		t.Fatalf("the group before its owner came in: %+v", g)
	}
	room := r.Namespace + "/" + r.Name
	early := bot.New(bot.Config{Gateway: system.GatewayURL, Room: room, Credential: guest(t, "Eve"), Name: "Eve"})
	if err := early.Ask(t.Context()); code(err) != "not-open-yet" {
		t.Fatalf("a guest before the owner: %v", err)
	}
	ann := join(t, bot.Config{Room: room, Credential: ticket, Name: "Ann"})
	if ann.Entered.Mic == nil || ann.Entered.Mic.Index != 0 || ann.Entered.GroupID != r.Status.GroupID {
		t.Fatalf("the owner entered with %+v", ann.Entered)
	}
	if g, err = provider(t).Group(t.Context(), r.Status.GroupID); err != nil || g.State != chat.Valid || g.Members != 1 {
		t.Fatalf("the group after the owner came in: %+v, %v", g, err)
	}
	bob := join(t, bot.Config{Group: ann.Entered.GroupID, Credential: guest(t, "Bob"), Name: "Bob"})
	cyd := join(t, bot.Config{Group: ann.Entered.GroupID, Credential: guest(t, "Cyd"), Name: "Cyd"})
	if bob.Entered.Mic == nil || cyd.Entered.Mic != nil {
		t.Fatalf("two microphones: the second client has %v, the third %v", bob.Entered.Mic, cyd.Entered.Mic)
	}
	hears(t, ann, bob)
	hears(t, bob, cyd)
	if err := cyd.Do(t.Context(), "take-mic", map[string]int{"index": -1}); code(err) != "mic-unavailable" {
		t.Fatalf("a third microphone: %v", err)
	}
	must(t, bob.Leave(t.Context()))
	must(t, cyd.Do(t.Context(), "take-mic", map[string]int{"index": -1}))
	must(t, system.Wait(t.Context(), r, patience, func() bool { return r.Status.Members == 2 && len(r.Status.Mics) == 2 && r.Status.StartedAt != nil }))
	gc := &v1alpha1.GroupChat{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Status.GroupChat}}
	must(t, system.Wait(t.Context(), gc, patience, func() bool { return gc.Status.State == v1alpha1.GroupValid && gc.Status.Members == 2 }))
}

// TestLastPlace races many for one place: exactly one gets it.
func TestLastPlace(t *testing.T) {
	r := newRoom(t, "last-place", func(s *v1alpha1.VoiceRoomSpec) { s.MaxMembers = 2 })
	open(t, r)
	var in, full atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		ticket := guest(t, "Racer")
		wg.Go(func() {
			b := bot.New(bot.Config{Gateway: system.GatewayURL, Room: r.Namespace + "/" + r.Name, Credential: ticket, Name: "Racer"})
			switch err := b.Ask(t.Context()); {
			case err == nil:
				in.Add(1)
			case code(err) == "room-full":
				full.Add(1)
			default:
				t.Errorf("an answer that is neither: %v", err)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 || full.Load() != 15 {
		t.Fatalf("%d got the last place, %d were told that the room is full", in.Load(), full.Load())
	}
}

// TestKick: a kicked guest is silent at once, and nothing that it holds opens the
// room again.
func TestKick(t *testing.T) {
	r := newRoom(t, "kick")
	ann := open(t, r)
	ticket := guest(t, "Eve")
	eve := join(t, bot.Config{Room: r.Namespace + "/" + r.Name, Credential: ticket, Name: "Eve"})
	hears(t, eve, ann)
	must(t, ann.Do(t.Context(), "kick", map[string]uint32{"member": eve.Entered.Member}))
	again := bot.New(bot.Config{Gateway: system.GatewayURL, Room: r.Namespace + "/" + r.Name, Credential: ticket, Name: "Eve"})
	if err := again.Ask(t.Context()); code(err) != "kicked" {
		t.Fatalf("asking again after a kick: %v", err)
	}
	again.Grant = eve.Grant
	if err := again.Connect(t.Context()); code(err) == "" {
		t.Fatalf("the old token after a kick: %v", err)
	}
	_ = again.Close()
	until(t, "the group has forgotten her", func() (bool, error) {
		g, err := provider(t).Group(t.Context(), r.Status.GroupID)
		return g.Members == 1, err
	})
}

// TestJoinRequest is the way in for those who speak only Kubernetes.
func TestJoinRequest(t *testing.T) {
	r := newRoom(t, "requested")
	open(t, r)
	jr := &v1alpha1.JoinRequest{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "recorder"},
		Spec: v1alpha1.JoinRequestSpec{Room: v1alpha1.LocalReference{Name: r.Name}, User: "key:e2e:recorder", Role: v1alpha1.JoinAudience}}
	must(t, system.Client.Create(t.Context(), jr))
	must(t, system.Wait(t.Context(), jr, patience, func() bool { return jr.Status.Phase == v1alpha1.JoinGranted }))
	var s corev1.Secret
	must(t, system.Client.Get(t.Context(), client.ObjectKey{Namespace: jr.Namespace, Name: jr.Status.TicketSecret}, &s))
	b := join(t, bot.Config{Room: r.Namespace + "/" + r.Name, Credential: string(s.Data[v1alpha1.TicketKey]), Name: "Recorder"})
	if b.Grant.Role != "audience" || b.Entered.Mic != nil {
		t.Fatalf("the recorder entered as %s with %v", b.Grant.Role, b.Entered.Mic)
	}
	must(t, system.Wait(t.Context(), jr, patience, func() bool { return jr.Status.Phase == v1alpha1.JoinJoined }))
	denied := &v1alpha1.JoinRequest{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "usurper"},
		Spec: v1alpha1.JoinRequestSpec{Room: v1alpha1.LocalReference{Name: r.Name}, User: "key:e2e:eve", Role: v1alpha1.JoinCoHost}}
	must(t, system.Client.Create(t.Context(), denied))
	must(t, system.Wait(t.Context(), denied, patience, func() bool { return denied.Status.Phase == v1alpha1.JoinDenied }))
	must(t, system.Client.Delete(t.Context(), jr))
	must(t, system.Client.Delete(t.Context(), denied))
}

// TestUnclaimed: a room whose owner never comes closes, and its group is dissolved.
func TestUnclaimed(t *testing.T) {
	r := newRoom(t, "unclaimed", func(s *v1alpha1.VoiceRoomSpec) {
		s.Lifecycle.UnclaimedTimeout = &metav1.Duration{Duration: 2 * time.Second}
	})
	must(t, system.Wait(t.Context(), r, patience, func() bool { return r.Status.CloseReason == v1alpha1.CloseUnclaimed }))
	until(t, "its group is dissolved", func() (bool, error) { return len(groupsOf(t, r)) == 0, nil })
	until(t, "its pod is gone", func() (bool, error) {
		var pods corev1.PodList
		err := system.Client.List(t.Context(), &pods, client.MatchingLabels{v1alpha1.LabelRoomUID: string(r.UID)})
		return len(pods.Items) == 0, err
	})
}

// TestSleep: an empty room gives its pod back and wakes at the next join.
func TestSleep(t *testing.T) {
	r := newRoom(t, "sleepy", func(s *v1alpha1.VoiceRoomSpec) {
		s.Lifecycle.WhenEmpty, s.Lifecycle.EmptyTimeout = v1alpha1.EmptySleep, &metav1.Duration{Duration: time.Second}
	})
	ann := open(t, r)
	must(t, ann.Leave(t.Context()))
	must(t, system.Wait(t.Context(), r, patience, func() bool { return r.Status.Phase == v1alpha1.RoomAsleep }))
	b := bot.New(bot.Config{Gateway: system.GatewayURL, Room: r.Namespace + "/" + r.Name, Credential: guest(t, "Bob"), Name: "Bob"})
	t.Cleanup(func() { _ = b.Close() })
	if err := b.Ask(t.Context()); code(err) != "room-waking" {
		t.Fatalf("the first to ask a room that sleeps: %v", err)
	}
	until(t, "the room is awake", func() (bool, error) { err := b.Ask(t.Context()); return err == nil, err })
	must(t, b.Connect(t.Context()))
	must(t, b.Confirm(t.Context()))
}

// TestReferencedGroup: a user's own group gets a room, and outlives it.
func TestReferencedGroup(t *testing.T) {
	gc := &v1alpha1.GroupChat{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "friends"}, Spec: v1alpha1.GroupChatSpec{Owner: owner, MaxMembers: 5, MaxMics: 2}}
	must(t, system.Client.Create(t.Context(), gc))
	refer := func(s *v1alpha1.VoiceRoomSpec) {
		s.MaxMembers, s.Chat.GroupChatRef = 5, &v1alpha1.LocalReference{Name: gc.Name}
	}
	r := newRoom(t, "friends-room", refer)
	open(t, r)
	second := newRoom(t, "second-room", refer)
	if c := waitCondition(t, second, v1alpha1.ConditionChatReady, metav1.ConditionFalse); c.Reason != v1alpha1.ReasonGroupConflict {
		t.Fatalf("a second room for the group: %+v", c)
	}
	must(t, system.Client.Delete(t.Context(), r))
	must(t, system.WaitGone(t.Context(), r, patience))
	must(t, system.Client.Get(t.Context(), client.ObjectKeyFromObject(gc), gc))
	if _, err := provider(t).Group(t.Context(), gc.Status.GroupID); err != nil {
		t.Fatalf("the referenced group went with the room: %v", err)
	}
	r.Status.GroupChat, r.Status.GroupID = "", "" // it stays, on purpose
	must(t, system.Client.Delete(t.Context(), second))
	must(t, system.WaitGone(t.Context(), second, patience))
	second.Status.GroupChat, second.Status.GroupID = "", ""
	must(t, system.Client.Delete(t.Context(), gc))
	must(t, system.WaitGone(t.Context(), gc, patience))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := provider(t).Group(ctx, gc.Status.GroupID); err == nil {
		t.Fatal("the group outlived its resource")
	}
}

// TestDeletedRoomIsGone: after the end no credential opens anything.
func TestDeletedRoomIsGone(t *testing.T) {
	r := newRoom(t, "ends")
	ann := open(t, r)
	must(t, system.Client.Delete(t.Context(), r))
	select {
	case <-ann.Down():
	case <-time.After(patience):
		t.Fatal("the call went on after its room was deleted")
	}
	must(t, system.WaitGone(t.Context(), r, patience))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, system.GatewayURL+"/v1/rooms/default/ends", nil)
	must(t, err)
	res, err := http.DefaultClient.Do(req)
	must(t, err)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		t.Fatalf("the deleted room answers HTTP %d", res.StatusCode)
	}
}
