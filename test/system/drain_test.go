package system

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/hack/devnode"
	"voiceroom.dev/voiceroom/hack/stack"
	"voiceroom.dev/voiceroom/room"
)

// call is a room in which two people talk, for as long as the test runs.
type call struct {
	room     *v1alpha1.VoiceRoom
	ann, bob *bot.Member
}

// talk opens a room and has its owner and a guest talk. Both keep their places by
// themselves.
func talk(t *testing.T, name string, change ...func(*v1alpha1.VoiceRoomSpec)) *call {
	t.Helper()
	r := newRoom(t, name, change...)
	c := &call{room: r}
	c.ann = stay(t, bot.Config{Room: r.Namespace + "/" + r.Name, Credential: ready(t, r), Name: "Ann"})
	c.bob = stay(t, bot.Config{Room: r.Namespace + "/" + r.Name, Credential: guest(t, "Bob"), Name: "Bob"})
	frames, err := bot.Speech()
	must(t, err)
	ctx, hush := context.WithCancel(context.Background())
	var talking sync.WaitGroup
	for _, m := range []*bot.Member{c.ann, c.bob} {
		talking.Go(func() {
			for ctx.Err() == nil {
				_ = m.Play(ctx, frames)
			}
		})
	}
	t.Cleanup(func() { hush(); talking.Wait() })
	c.hear(t)
	must(t, system.Wait(t.Context(), r, patience, func() bool { return r.Status.Members == 2 }))
	return c
}

func stay(t *testing.T, cfg bot.Config) *bot.Member {
	t.Helper()
	cfg.Gateway = system.GatewayURL
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := bot.Stay(ctx, cfg)
	if err != nil {
		t.Fatalf("%s: %v", cfg.Name, err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// hear waits until both hear each other, from now on.
func (c *call) hear(t *testing.T) {
	t.Helper()
	now := time.Now()
	for _, pair := range [][2]*bot.Member{{c.ann, c.bob}, {c.bob, c.ann}} {
		deadline := time.After(patience)
		for heard := false; !heard; {
			select {
			case f := <-pair[1].Frames():
				heard = f.Member == pair[0].Entered.Member && f.At.After(now)
			case <-deadline:
				t.Fatalf("member %d was not heard in %v", pair[0].Entered.Member, patience)
			}
		}
	}
}

// moved waits until the room and both its people are at another pod, and returns the room
// as it is there. Who was where before is as it was.
func (c *call) moved(t *testing.T, before *room.State) *room.State {
	t.Helper()
	old := before.Epoch
	must(t, system.Wait(t.Context(), c.room, patience, func() bool {
		m := c.room.Status.Media
		return m != nil && uint64(m.Epoch) > old && c.room.Status.Members == 2 && meta.FindStatusCondition(c.room.Status.Conditions, v1alpha1.ConditionDraining) == nil
	}))
	until(t, "both are there", func() (bool, error) {
		e := uint64(c.room.Status.Media.Epoch)
		return c.ann.Now().Grant.Epoch == e && c.bob.Now().Grant.Epoch == e, nil
	})
	c.hear(t)
	after := roomState(t, c.room)
	if diff := cmp.Diff(placesOf(before), placesOf(after)); diff != "" {
		t.Errorf("members and seats (-before +after):\n%s", diff)
	}
	return after
}

// place is what of a member must not change.
type place struct {
	Member  uint32
	Subject string
	Role    room.Role
	Mic     int // -1: none
	Muted   bool
}

func placesOf(s *room.State) []place {
	places := make([]place, 0, len(s.Members))
	for _, m := range s.Members {
		p := place{Member: m.ID, Subject: m.Subject, Role: m.Role, Mic: -1}
		if mic, ok := s.Mic(m.ID); ok {
			p.Mic, p.Muted = mic.Index, mic.Muted || mic.ModMuted
		}
		places = append(places, p)
	}
	return places
}

// madeBeforeBroken checks that each change of connection was a move, and tells how long
// nothing was heard.
func (c *call) madeBeforeBroken(t *testing.T) {
	t.Helper()
	for name, m := range map[string]*bot.Member{"Ann": c.ann, "Bob": c.bob} {
		for _, move := range m.Moves() {
			if move.Why != "moved" && move.Why != "told" {
				t.Errorf("%s came from epoch %d to %d because of %q", name, move.From, move.To, move.Why)
			}
			if gap, ok := move.Gap(); ok {
				t.Logf("%s heard nothing for %v", name, gap)
			}
		}
	}
}

// gone waits until a pod is not there any more.
func gone(t *testing.T, pod string) {
	t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: stack.MediaNamespace, Name: pod}}
	must(t, system.WaitGone(t.Context(), p, patience))
}

// TestPodDeleted: as by kubectl delete, or an eviction. The call goes on while it moves.
func TestPodDeleted(t *testing.T) {
	c := talk(t, "evicted")
	before, claim := roomState(t, c.room), *c.room.Status.Media
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: stack.MediaNamespace, Name: claim.Pod}}
	must(t, system.Client.Delete(t.Context(), pod))
	after := c.moved(t, before)
	c.madeBeforeBroken(t)
	gone(t, claim.Pod)
	if after.Epoch != uint64(claim.Epoch)+1 {
		t.Errorf("the room went from epoch %d to %d", claim.Epoch, after.Epoch)
	}
	told(t, c.room, v1alpha1.ReasonMigrating, "being deleted", claim.Pod, c.room.Status.Media.Pod)
	// Nothing is held any more: somebody new comes in.
	until(t, "a third one gets in", func() (bool, error) {
		return asks(t, bot.Config{Room: "default/evicted", Credential: guest(t, "Cyd"), Name: "Cyd"}) == "", nil
	})
}

// TestPoolUpdated: a pool whose pods are to look different moves its rooms at its deadline.
func TestPoolUpdated(t *testing.T) {
	pool := &v1alpha1.MediaPool{ObjectMeta: metav1.ObjectMeta{Name: "updated"}, Spec: v1alpha1.MediaPoolSpec{Warm: 1, MaxPods: 4,
		Network: v1alpha1.PoolNetwork{Advertise: []string{"127.0.0.1"}, PortRange: v1alpha1.PortRange{Min: 21100, Max: 21110}},
		Update:  v1alpha1.PoolUpdate{Deadline: &metav1.Duration{}}}}
	must(t, system.Client.Create(t.Context(), pool))
	t.Cleanup(func() { must(t, client.IgnoreNotFound(system.Client.Delete(context.Background(), pool))) })
	c := talk(t, "on-an-update", func(s *v1alpha1.VoiceRoomSpec) { s.Media.Pool = "updated" })
	before := roomState(t, c.room)
	change := []byte(`{"spec":{"template":{"nodeSelector":{"kubernetes.io/os":"linux"}}}}`)
	must(t, system.Client.Patch(t.Context(), pool, client.RawPatch("application/merge-patch+json", change)))
	c.moved(t, before)
	c.madeBeforeBroken(t)
	told(t, c.room, v1alpha1.ReasonMigrating, "pool updated")
}

// TestSilencedWhileItMoves: whoever is thrown out where the room is now is not heard where
// it was, by those who have not moved yet.
func TestSilencedWhileItMoves(t *testing.T) {
	r := newRoom(t, "silenced", func(s *v1alpha1.VoiceRoomSpec) { s.MaxMics = 4 })
	name := r.Namespace + "/" + r.Name
	ann := stay(t, bot.Config{Room: name, Credential: ready(t, r), Name: "Ann"})
	// These do not know what moving is: they stay until they are sent away.
	eve := join(t, bot.Config{Room: name, Credential: guest(t, "Eve"), Name: "Eve"})
	bob := join(t, bot.Config{Room: name, Credential: guest(t, "Bob"), Name: "Bob"})
	frames, err := bot.Speech()
	must(t, err)
	ctx, hush := context.WithCancel(t.Context())
	var talking sync.WaitGroup
	for _, play := range []func(context.Context, [][]byte) error{ann.Play, eve.Play} {
		talking.Go(func() {
			for ctx.Err() == nil {
				_ = play(ctx, frames)
			}
		})
	}
	defer func() { hush(); talking.Wait() }()
	hearing(t, bob, ann.Entered.Member, eve.Entered.Member)
	must(t, system.Wait(t.Context(), r, patience, func() bool { return r.Status.Members == 3 }))
	claim := *r.Status.Media
	must(t, system.Client.Delete(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: stack.MediaNamespace, Name: claim.Pod}}))
	until(t, "Ann has moved", func() (bool, error) { return ann.Now().Grant.Epoch > uint64(claim.Epoch), nil })
	must(t, ann.Do(t.Context(), "kick", map[string]uint32{"member": eve.Entered.Member}))
	// Where Bob still is, Ann is heard, and Eve is not any more.
	fromAnn := 0
	for deadline := time.After(patience); fromAnn < 20; {
		select {
		case f := <-bob.Frames():
			switch f.Member {
			case ann.Entered.Member:
				fromAnn++
			case eve.Entered.Member:
				fromAnn = 0
			}
		case <-bob.Down():
			t.Fatal("Bob was sent away, and had heard Eve all the time")
		case <-deadline:
			t.Fatalf("nobody was heard for %v", patience)
		}
	}
}

// hearing waits until a bot has heard these members.
func hearing(t *testing.T, b *bot.Bot, members ...uint32) {
	t.Helper()
	missing := map[uint32]bool{}
	for _, m := range members {
		missing[m] = true
	}
	for deadline := time.After(patience); len(missing) > 0; {
		select {
		case f := <-b.Frames():
			delete(missing, f.Member)
		case <-deadline:
			t.Fatalf("members %v were not heard in %v", missing, patience)
		}
	}
}

// told waits for an Event about the room that has all these words.
func told(t *testing.T, r *v1alpha1.VoiceRoom, reason string, words ...string) {
	t.Helper()
	until(t, "an Event "+reason+" about "+r.Name, func() (bool, error) {
		var list corev1.EventList
		if err := system.Client.List(t.Context(), &list, client.InNamespace(r.Namespace)); err != nil {
			return false, err
		}
		return slices.ContainsFunc(list.Items, func(e corev1.Event) bool {
			return e.InvolvedObject.UID == r.UID && e.Reason == reason && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(e.Message, w) })
		}), nil
	})
}

// secondNode runs another node until the end of the test, and returns its name.
func secondNode(t *testing.T) string {
	t.Helper()
	node, err := devnode.New(devnode.Options{Config: system.Config, Name: "second", Namespaces: []string{stack.MediaNamespace},
		Binaries: map[string]string{"voiceroom-media:dev": system.Dir + "/bin/media"}})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	t.Cleanup(func() {
		cordon(t, "dev", false)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		// Whoever was there is gone for good, as when a machine is taken away.
		must(t, system.Client.Delete(context.Background(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "second"}}))
		var pods corev1.PodList
		must(t, system.Client.List(context.Background(), &pods, client.InNamespace(stack.MediaNamespace)))
		for i := range pods.Items {
			if pods.Items[i].Spec.NodeName == "second" {
				must(t, client.IgnoreNotFound(system.Client.Delete(context.Background(), &pods.Items[i], client.GracePeriodSeconds(0))))
			}
		}
	})
	until(t, "the second node is there", func() (bool, error) {
		err := system.Client.Get(t.Context(), client.ObjectKey{Name: "second"}, &corev1.Node{})
		return err == nil, client.IgnoreNotFound(err)
	})
	return "second"
}

// cordon does what kubectl cordon does.
func cordon(t *testing.T, node string, on bool) {
	t.Helper()
	patch := []byte(`{"spec":{"unschedulable":null}}`)
	if on {
		patch = []byte(`{"spec":{"unschedulable":true}}`)
	}
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	must(t, system.Client.Patch(context.Background(), n, client.RawPatch("application/merge-patch+json", patch)))
}

// TestNodeDrained: the rooms of a node that is cordoned leave it, each as its policy says.
func TestNodeDrained(t *testing.T) {
	moving := talk(t, "drain-moves")
	policy := func(p v1alpha1.DrainPolicy, deadline time.Duration) func(*v1alpha1.VoiceRoomSpec) {
		return func(s *v1alpha1.VoiceRoomSpec) {
			s.Media.Drain = v1alpha1.RoomDrain{Policy: p, Deadline: &metav1.Duration{Duration: deadline}}
		}
	}
	waiting := newRoom(t, "drain-waits", policy(v1alpha1.DrainWait, time.Hour))
	brief := newRoom(t, "drain-waits-briefly", policy(v1alpha1.DrainWait, time.Second))
	closing := newRoom(t, "drain-closes", policy(v1alpha1.DrainClose, 0))
	for _, r := range []*v1alpha1.VoiceRoom{waiting, brief, closing} {
		ready(t, r)
	}
	before := roomState(t, moving.room)

	cordon(t, "dev", true)
	defer cordon(t, "dev", false)
	// There is no other node: the call goes on, and says what it waits for.
	must(t, system.Wait(t.Context(), moving.room, patience, func() bool {
		c := meta.FindStatusCondition(moving.room.Status.Conditions, v1alpha1.ConditionDraining)
		return c != nil && (c.Reason == v1alpha1.ReasonWaitingForPod || c.Reason == v1alpha1.ReasonPoolExhausted) && strings.Contains(c.Message, "none to move the room to")
	}))
	if !meta.IsStatusConditionTrue(moving.room.Status.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("a room that waits to move is not ready: %+v", moving.room.Status.Conditions)
	}
	moving.hear(t)
	must(t, system.Wait(t.Context(), closing, patience, func() bool { return closing.Status.Phase == v1alpha1.RoomClosed }))
	if s := closing.Status; s.CloseReason != v1alpha1.CloseDrained || !strings.Contains(s.CloseMessage, "node dev") {
		t.Errorf("closed for %s: %q", s.CloseReason, s.CloseMessage)
	}
	must(t, system.Wait(t.Context(), waiting, patience, func() bool {
		c := meta.FindStatusCondition(waiting.Status.Conditions, v1alpha1.ConditionDraining)
		return c != nil && c.Reason == v1alpha1.ReasonWaitingForEnd && strings.Contains(c.Message, "node dev")
	}))

	second := secondNode(t)
	moving.moved(t, before)
	moving.madeBeforeBroken(t)
	if node := moving.room.Status.Media.Node; node != second {
		t.Errorf("the room is on node %s", node)
	}
	must(t, system.Wait(t.Context(), brief, patience, func() bool { m := brief.Status.Media; return m != nil && m.Node == second }))
	must(t, system.Client.Get(t.Context(), client.ObjectKeyFromObject(waiting), waiting))
	if m := waiting.Status.Media; m == nil || m.Epoch != 1 {
		t.Errorf("the room that waits is at %+v", m)
	}
	cordon(t, "dev", false)
	must(t, system.Wait(t.Context(), waiting, patience, func() bool {
		return meta.FindStatusCondition(waiting.Status.Conditions, v1alpha1.ConditionDraining) == nil
	}))
}
