package system

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/hack/stack"
	"voiceroom.dev/voiceroom/room"
)

// TestLetInAgain: who was thrown out comes back by an invitation that names it, by a
// JoinRequest or by an unban, each made later, and by nothing else.
func TestLetInAgain(t *testing.T) {
	r := newRoom(t, "pardons")
	ann := open(t, r)
	const eve = "key:e2e:eve"
	me := bot.Config{Room: r.Namespace + "/" + r.Name, Credential: request(t, r, "pardons-first", eve), Name: "Eve"}
	out := func() {
		t.Helper()
		in := join(t, me)
		must(t, ann.Do(t.Context(), "kick", map[string]uint32{"member": in.Entered.Member}))
		if got := asks(t, me); got != "kicked" {
			t.Fatalf("what let Eve in before the kick: %q", got)
		}
	}
	out()
	anybody := me
	if anybody.Invite = link(t, r, map[string]any{}); asks(t, anybody) != "kicked" {
		t.Error("a new link for anybody let Eve in again")
	}
	me.Invite = link(t, r, map[string]any{"subject": eve})
	out()
	me.Invite, me.Credential = "", request(t, r, "pardons-again", eve)
	out()
	must(t, ann.Do(t.Context(), "unban", map[string]string{"subject": eve}))
	out()

	must(t, ann.Do(t.Context(), "unban", map[string]string{"subject": eve}))
	in := join(t, me)
	must(t, ann.Do(t.Context(), "kick", map[string]any{"member": in.Entered.Member, "ban": true}))
	must(t, system.Wait(t.Context(), r, patience, func() bool { return slices.Contains(r.Status.Banned, eve) }))
	denied := &v1alpha1.JoinRequest{Spec: v1alpha1.JoinRequestSpec{Room: v1alpha1.LocalReference{Name: r.Name}, User: eve}}
	denied.Namespace, denied.Name = r.Namespace, "pardons-not"
	must(t, system.Client.Create(t.Context(), denied))
	must(t, system.Wait(t.Context(), denied, patience, func() bool { return denied.Status.Phase == v1alpha1.JoinDenied && denied.Status.Reason == "banned" }))
	must(t, system.Client.Delete(t.Context(), denied))
}

// TestFailOverForgetsNothing kills the pod after moderators have done all that they can:
// the next one starts from there.
func TestFailOverForgetsNothing(t *testing.T) {
	r := newRoom(t, "remembers", func(s *v1alpha1.VoiceRoomSpec) { s.MaxMics = 4 })
	name := r.Namespace + "/" + r.Name
	ann := open(t, r)
	bob := join(t, bot.Config{Room: name, Credential: guest(t, "Bob"), Name: "Bob"})
	cyd := join(t, bot.Config{Room: name, Credential: guest(t, "Cyd"), Name: "Cyd"})
	moderate(t, r, room.LockMic{Index: 3, Locked: true})
	once := link(t, r, map[string]any{"uses": 1})
	dan := join(t, bot.Config{Room: name, Credential: guest(t, "Dan"), Invite: once, Name: "Dan"})
	must(t, dan.Do(t.Context(), "hand", map[string]bool{"raised": true}))
	ticket := guest(t, "Eve")
	eve := join(t, bot.Config{Room: name, Credential: ticket, Name: "Eve"})
	moderate(t, r, room.MuteMember{Member: bob.Entered.Member, Muted: true}, room.ChatMute{Member: dan.Entered.Member, Muted: true},
		room.TransferHost{Member: cyd.Entered.Member}, room.Kick{Member: eve.Entered.Member})
	before := roomState(t, r)
	claim := *r.Status.Media
	must(t, system.KillPod(t.Context(), claim.Pod))
	must(t, system.Wait(t.Context(), r, patience, func() bool {
		return r.Status.Media != nil && r.Status.Media.Epoch > claim.Epoch && r.Status.Phase == v1alpha1.RoomOpen
	}))

	after := roomState(t, r)
	if got := asks(t, bot.Config{Room: name, Credential: ticket, Name: "Eve"}); got != "kicked" && got != "frozen" {
		t.Errorf("Eve was told %q", got)
	}
	until(t, "Eve is told that she was removed", func() (bool, error) {
		return asks(t, bot.Config{Room: name, Credential: ticket, Name: "Eve"}) == "kicked", nil
	})
	until(t, "the link is told to be used up", func() (bool, error) {
		return asks(t, bot.Config{Room: name, Credential: guest(t, "Fay"), Invite: once, Name: "Fay"}) == "invite-used", nil
	})
	for _, m := range before.Members {
		now, ok := after.Member(m.ID)
		if !ok || now.Subject != m.Subject || now.Role != m.Role || now.ChatMuted != m.ChatMuted || (now.Hand == nil) != (m.Hand == nil) {
			t.Errorf("member %d was %+v, is %+v", m.ID, m, now)
		}
	}
	b, a := before.Settings, after.Settings
	if a.Host != b.Host || a.Host == owner || !slices.Equal(a.LockedMics, []int{3}) || !slices.Equal(a.Moderators, b.Moderators) {
		t.Errorf("settings were %+v, are %+v", b, a)
	}
	if mic, on := after.Mic(bob.Entered.Member); !on || !mic.ModMuted {
		t.Errorf("Bob's microphone is %+v", mic)
	}
	if r.Status.Host != a.Host {
		t.Errorf("the status names %s as the host, who is %s", r.Status.Host, a.Host)
	}
	_ = ann.Close()
}

// TestPodAndOperatorDieTogether: what the status has kept is still true after it.
func TestPodAndOperatorDieTogether(t *testing.T) {
	r := newRoom(t, "status-only")
	name := r.Namespace + "/" + r.Name
	open(t, r)
	tickets := map[string]string{}
	members := map[string]uint32{}
	for _, who := range []string{"Bob", "Cyd", "Eve"} {
		tickets[who] = guest(t, who)
		members[who] = join(t, bot.Config{Room: name, Credential: tickets[who], Name: who}).Entered.Member
	}
	moderate(t, r, room.MuteMember{Member: members["Bob"], Muted: true}, room.TransferHost{Member: members["Cyd"]},
		room.Kick{Member: members["Eve"]}, room.ResetInvites{})
	host := roomState(t, r).Settings.Host
	must(t, system.Wait(t.Context(), r, patience, func() bool {
		return len(r.Status.Kicked) == 1 && len(r.Status.Muted) == 1 && r.Status.Host == host && r.Status.InvitesResetAt != nil
	}))
	system.KillProcess("operator")
	claim := *r.Status.Media
	must(t, system.KillPod(t.Context(), claim.Pod))
	must(t, system.StartProcess("operator"))
	must(t, system.Wait(t.Context(), r, patience, func() bool {
		return r.Status.Media != nil && r.Status.Media.Epoch > claim.Epoch && r.Status.Phase == v1alpha1.RoomOpen
	}))
	until(t, "Eve is told that she was removed", func() (bool, error) {
		return asks(t, bot.Config{Room: name, Credential: tickets["Eve"], Name: "Eve"}) == "kicked", nil
	})
	until(t, "Bob gets a place", func() (bool, error) {
		return asks(t, bot.Config{Room: name, Credential: tickets["Bob"], Name: "Bob"}) == "", nil
	})
	bob := join(t, bot.Config{Room: name, Credential: tickets["Bob"], Name: "Bob"})
	state := roomState(t, r)
	if mic, on := state.Mic(bob.Entered.Member); !on || !mic.ModMuted {
		t.Errorf("Bob's microphone is %+v", mic)
	}
	if state.Settings.Host != host || state.Settings.InvitesSince == nil {
		t.Errorf("the host is %s, was %s; links were reset at %v", state.Settings.Host, host, state.Settings.InvitesSince)
	}
}

// TestSleepForgetsNobody: a room that slept while its operator was replaced still refuses
// whom its moderators removed.
func TestSleepForgetsNobody(t *testing.T) {
	r := newRoom(t, "sleeps-on-it", func(s *v1alpha1.VoiceRoomSpec) {
		s.Lifecycle.WhenEmpty, s.Lifecycle.EmptyTimeout = v1alpha1.EmptySleep, &metav1.Duration{Duration: time.Second}
	})
	name := r.Namespace + "/" + r.Name
	ann := open(t, r)
	evil := bot.Config{Room: name, Credential: guest(t, "Eve"), Name: "Eve"}
	eve := join(t, evil)
	must(t, ann.Do(t.Context(), "kick", map[string]uint32{"member": eve.Entered.Member}))
	must(t, ann.Leave(t.Context()))
	must(t, system.Wait(t.Context(), r, patience, func() bool { return r.Status.Phase == v1alpha1.RoomAsleep }))
	system.KillProcess("operator")
	must(t, system.StartProcess("operator"))
	until(t, "the room is awake", func() (bool, error) {
		return asks(t, bot.Config{Room: name, Credential: guest(t, "Bob"), Name: "Bob"}) == "", nil
	})
	if got := asks(t, evil); got != "kicked" {
		t.Errorf("Eve was told %q", got)
	}
}

// TestClosedWithAWord: what the host said at the end is there to be read.
func TestClosedWithAWord(t *testing.T) {
	r := newRoom(t, "goodnight")
	ann := open(t, r)
	_ = ann.Do(t.Context(), "close", map[string]string{"message": "Good night."}) // its answer may go with the connection
	must(t, system.Wait(t.Context(), r, patience, func() bool { return r.Status.Phase == v1alpha1.RoomClosed }))
	ready := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionReady)
	if r.Status.CloseReason != v1alpha1.CloseByModerator || r.Status.CloseMessage != "Good night." || !strings.Contains(ready.Message, "Good night.") {
		t.Errorf("closed for %s with %q; Ready: %+v", r.Status.CloseReason, r.Status.CloseMessage, ready)
	}
}

// TestRevokedKey: with the key that signed what let them in, everybody's connection ends;
// the owner comes back to its place with the ticket that is minted anew, and nothing that
// the old key signed opens anything.
func TestRevokedKey(t *testing.T) {
	r := newRoom(t, "stolen")
	name := r.Namespace + "/" + r.Name
	ann := open(t, r)
	evil := bot.Config{Room: name, Credential: guest(t, "Eve"), Name: "Eve"}
	eve := join(t, evil)
	old := bot.Config{Room: name, Credential: ready(t, r), Name: "Ann"}
	anybody := link(t, r, map[string]any{})
	key := r.Status.HostTicketKey
	must(t, system.Client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: stack.SystemNamespace, Name: v1alpha1.TokenKeysSecret}}))
	for who, b := range map[string]*bot.Bot{"Ann": ann, "Eve": eve} {
		select {
		case <-b.Down():
		case <-time.After(patience):
			t.Fatalf("%s is still connected", who)
		}
	}
	must(t, system.Wait(t.Context(), r, patience, func() bool { return r.Status.HostTicketKey != key }))
	again := join(t, bot.Config{Room: name, Credential: ready(t, r), Name: "Ann"})
	if again.Entered.Member != ann.Entered.Member || again.Entered.Mic == nil || again.Entered.Mic.Index != ann.Entered.Mic.Index {
		t.Errorf("Ann came back as %+v, was %+v", again.Entered, ann.Entered)
	}
	byLink := bot.Config{Room: name, Credential: guest(t, "Fay"), Invite: anybody, Name: "Fay"}
	resumed := evil
	resumed.Credential = eve.Grant.Token
	for what, cfg := range map[string]bot.Config{"a guest's ticket": evil, "a room token": resumed, "the owner's ticket": old, "a link": byLink} {
		if got := asks(t, cfg); got != "token-unknown-key" {
			t.Errorf("%s that the old key signed: %q", what, got)
		}
	}
	join(t, bot.Config{Room: name, Credential: guest(t, "Gus"), Name: "Gus"})
}

// TestCapsBelowWhatIsInUse: nobody is thrown out, and nobody comes in until there is room
// again; microphones likewise.
func TestCapsBelowWhatIsInUse(t *testing.T) {
	r := newRoom(t, "shrinks", func(s *v1alpha1.VoiceRoomSpec) { s.MaxMembers, s.MaxMics = 3, 3 })
	name := r.Namespace + "/" + r.Name
	open(t, r)
	bob := join(t, bot.Config{Room: name, Credential: guest(t, "Bob"), Name: "Bob"})
	cyd := join(t, bot.Config{Room: name, Credential: guest(t, "Cyd"), Name: "Cyd"})
	must(t, system.Client.Patch(t.Context(), r, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"maxMembers":2,"maxMics":1}}`))))
	must(t, system.Wait(t.Context(), r, patience, func() bool {
		return r.Status.EffectiveMaxMembers == 2 && r.Status.EffectiveMaxMics == 1 && r.Status.Members == 3 && len(r.Status.Mics) == 3
	}))
	dan := bot.Config{Room: name, Credential: guest(t, "Dan"), Name: "Dan"}
	if got := asks(t, dan); got != "room-full" {
		t.Errorf("with 3 of 2 in the room: %q", got)
	}
	must(t, cyd.Leave(t.Context()))
	must(t, system.Wait(t.Context(), r, patience, func() bool { return r.Status.Members == 2 }))
	if got := asks(t, dan); got != "room-full" {
		t.Errorf("with 2 of 2 in the room: %q", got)
	}
	if err := bob.Do(t.Context(), "leave-mic", map[string]any{}); err != nil {
		t.Error(err)
	}
	if err := bob.Do(t.Context(), "take-mic", map[string]int{"index": -1}); code(err) != "mic-unavailable" {
		t.Errorf("a second microphone of 1: %v", err)
	}
	must(t, bob.Leave(t.Context()))
	until(t, "Dan gets a place", func() (bool, error) { return asks(t, dan) == "", nil })
	if in := join(t, dan); in.Entered.Mic != nil {
		t.Errorf("Dan got microphone %d; Ann holds the only one", in.Entered.Mic.Index)
	}
}
