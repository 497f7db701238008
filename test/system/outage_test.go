package system

import (
	"flag"
	"slices"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/hack/bot"
)

var outage = flag.Duration("outage", 5*time.Second, "how long everything is down in TestEverythingIsDown; a pod that nobody has reached for 15 minutes stops")

// TestEverythingIsDown: without API server, operator, gateway and chat server the people in
// a room talk on and take and leave microphones; afterwards all of it is known everywhere.
func TestEverythingIsDown(t *testing.T) {
	r := newRoom(t, "alone")
	name := r.Namespace + "/" + r.Name
	ann := open(t, r)
	bob := join(t, bot.Config{Room: name, Credential: guest(t, "Bob"), Name: "Bob"})
	cyd := join(t, bot.Config{Room: name, Credential: guest(t, "Cyd"), Name: "Cyd"})
	must(t, system.Wait(t.Context(), r, patience, func() bool { return r.Status.Members == 3 }))
	members := func() []chat.Member {
		all, err := provider(t).Members(t.Context(), r.Status.GroupID)
		must(t, err)
		return all
	}
	if got := len(members()); got != 3 {
		t.Fatalf("the group has %d members", got)
	}

	for _, process := range []string{"operator", "gateway"} {
		system.CutProcess(process)
	}
	system.KillProcess("chat")
	hears(t, ann, bob)
	unanswered(t, "operator") // it leads nobody without the API server
	system.KillProcess("gateway")
	for over := time.After(*outage); ; {
		hears(t, ann, cyd)
		hears(t, bob, ann)
		must(t, bob.Do(t.Context(), "leave-mic", map[string]any{}))
		must(t, cyd.Do(t.Context(), "take-mic", map[string]int{"index": -1}))
		hears(t, cyd, bob)
		must(t, cyd.Do(t.Context(), "leave-mic", map[string]any{}))
		must(t, bob.Do(t.Context(), "take-mic", map[string]int{"index": -1}))
		select {
		case <-over:
		default:
			continue
		}
		break
	}
	_ = cyd.Do(t.Context(), "leave", map[string]any{"session": cyd.Grant.Session}) // the bye is the answer

	for _, process := range []string{"operator", "gateway"} {
		must(t, system.HealProcess(process))
	}
	for _, process := range []string{"operator", "gateway", "chat"} {
		must(t, system.StartProcess(process))
	}
	for _, process := range []string{"operator", "gateway", "chat"} {
		must(t, system.WaitProcess(t.Context(), process))
	}
	must(t, system.Wait(t.Context(), r, patience, func() bool {
		holds := func(m v1alpha1.MicStatus) bool { return m.Index == 1 }
		return r.Status.Phase == v1alpha1.RoomOpen && r.Status.Members == 2 && len(r.Status.Mics) == 2 && slices.ContainsFunc(r.Status.Mics, holds)
	}))
	until(t, "the group has lost who left", func() (bool, error) { return len(members()) == 2, nil })
	group, err := provider(t).Group(t.Context(), r.Status.GroupID)
	must(t, err)
	if group.State != chat.Valid {
		t.Errorf("the group is %v", group.State)
	}
	var dan *bot.Bot
	until(t, "somebody new joins", func() (bool, error) {
		ticket, err := bot.Guest(t.Context(), system.GatewayURL, "Dan")
		if err != nil {
			return false, err
		}
		dan, err = bot.Join(t.Context(), bot.Config{Gateway: system.GatewayURL, Room: name, Credential: ticket, Name: "Dan"})
		return err == nil, err
	})
	t.Cleanup(func() { _ = dan.Close() })
	hears(t, bob, dan)
	if got := roomState(t, r).Epoch; got != 1 {
		t.Errorf("the room is in epoch %d: it was taken from a pod that lived", got)
	}
}
