package system

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/bot"
)

// TestChatDownWhileCreating: the room says so, and goes on by itself with one group.
func TestChatDownWhileCreating(t *testing.T) {
	system.KillProcess("chat")
	r := newRoom(t, "chatless")
	c := waitCondition(t, r, v1alpha1.ConditionChatReady, metav1.ConditionFalse)
	if c.Message == "" || c.Reason == v1alpha1.ReasonProviderNotFound {
		t.Errorf("ChatReady while chat is down: %+v", c)
	}
	must(t, system.StartProcess("chat"))
	open(t, r)
	if groups := groupsOf(t, r); len(groups) != 1 {
		t.Fatalf("%d groups, want one: %+v", len(groups), groups)
	}
}

// TestOperatorKilledWhileCreating kills the operator again and again, at ever later
// moments of a room's creation.
func TestOperatorKilledWhileCreating(t *testing.T) {
	for i := range 8 {
		r := newRoom(t, "killed-"+string(rune('a'+i)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*25*time.Millisecond)
		<-ctx.Done() // the moment is the test's parameter
		cancel()
		system.KillProcess("operator")
		must(t, system.StartProcess("operator"))
		ready(t, r)
		if groups := groupsOf(t, r); len(groups) != 1 {
			t.Fatalf("killed after %d ms: %d groups", i*25, len(groups))
		}
		deleteRoom(t, r)
	}
}

// TestPoolExhausted: the room says so with the numbers, waits, and goes on when a pod
// is free.
func TestPoolExhausted(t *testing.T) {
	pool := &v1alpha1.MediaPool{ObjectMeta: metav1.ObjectMeta{Name: "tiny"}, Spec: v1alpha1.MediaPoolSpec{Warm: 1, MaxPods: 1,
		Network: v1alpha1.PoolNetwork{PortRange: v1alpha1.PortRange{Min: 21000, Max: 21010}}}}
	must(t, system.Client.Create(t.Context(), pool))
	t.Cleanup(func() { must(t, client.IgnoreNotFound(system.Client.Delete(context.Background(), pool))) })
	tiny := func(s *v1alpha1.VoiceRoomSpec) { s.Media.Pool = "tiny" }
	first := newRoom(t, "fits", tiny)
	ready(t, first)
	second := newRoom(t, "waits", tiny)
	var c metav1.Condition
	until(t, "the second room says that the pool is exhausted", func() (bool, error) {
		c = waitCondition(t, second, v1alpha1.ConditionMediaReady, metav1.ConditionFalse)
		return c.Reason == v1alpha1.ReasonPoolExhausted, nil
	})
	if !strings.Contains(c.Message, "1") || !strings.Contains(c.Message, "tiny") {
		t.Errorf("MediaReady without the numbers: %+v", c)
	}
	deleteRoom(t, first)
	ready(t, second)
}

// TestCallOutlivesEverything: with operator, gateway and chat killed, people go on
// talking; afterwards everything catches up.
func TestCallOutlivesEverything(t *testing.T) {
	r := newRoom(t, "outlives")
	ann := open(t, r)
	bob := join(t, bot.Config{Room: r.Namespace + "/" + r.Name, Credential: guest(t, "Bob"), Name: "Bob"})
	for _, p := range []string{"operator", "gateway", "chat"} {
		system.KillProcess(p)
	}
	hears(t, ann, bob)
	must(t, bob.Do(t.Context(), "mute", map[string]bool{"muted": true}))
	must(t, ann.Do(t.Context(), "pull-mic", map[string]uint32{"member": bob.Entered.Member}))
	hears(t, ann, bob)
	for _, p := range []string{"chat", "operator", "gateway"} {
		must(t, system.StartProcess(p))
	}
	must(t, system.Wait(t.Context(), r, patience, func() bool { return len(r.Status.Mics) == 1 }))
	var cyd *bot.Bot
	until(t, "somebody new joins", func() (bool, error) {
		ticket, err := bot.Guest(t.Context(), system.GatewayURL, "Cyd")
		if err != nil {
			return false, err
		}
		cyd, err = bot.Join(t.Context(), bot.Config{Gateway: system.GatewayURL, Room: r.Namespace + "/" + r.Name, Credential: ticket, Name: "Cyd"})
		return err == nil, err
	})
	t.Cleanup(func() { _ = cyd.Close() })
	hears(t, ann, cyd)
}

// TestMediaKilled: the room moves to a warm pod with the next epoch, and its members
// come back to their places.
func TestMediaKilled(t *testing.T) {
	r := newRoom(t, "moves")
	ann := open(t, r)
	ticket := guest(t, "Bob")
	bob := join(t, bot.Config{Room: r.Namespace + "/" + r.Name, Credential: ticket, Name: "Bob"})
	must(t, system.Wait(t.Context(), r, patience, func() bool { return r.Status.Members == 2 }))
	before := *r.Status.Media
	must(t, system.KillPod(t.Context(), before.Pod))
	must(t, system.Wait(t.Context(), r, patience, func() bool {
		return r.Status.Media != nil && r.Status.Media.Epoch > before.Epoch && r.Status.Media.PodUID != before.PodUID
	}))
	back := func(name, ticket string) *bot.Bot {
		var b *bot.Bot
		until(t, name+" is back", func() (bool, error) {
			var err error
			b, err = bot.Join(t.Context(), bot.Config{Gateway: system.GatewayURL, Room: r.Namespace + "/" + r.Name, Credential: ticket, Name: name})
			return err == nil, err
		})
		t.Cleanup(func() { _ = b.Close() })
		return b
	}
	ann2, bob2 := back("Ann", ready(t, r)), back("Bob", ticket)
	if ann2.Entered.Member != ann.Entered.Member || bob2.Entered.Member != bob.Entered.Member || bob2.Entered.Mic == nil {
		t.Fatalf("came back as %+v and %+v, were %+v and %+v", ann2.Entered, bob2.Entered, ann.Entered, bob.Entered)
	}
	hears(t, bob2, ann2)
}
