// Package system proves the whole system: real control plane, real chat server, real
// media processes, real WebRTC clients, and processes that are killed.
package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/nats"
	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/hack/stack"
)

// patience is how long anything may take before a test gives up; nothing asserts it.
const patience = 60 * time.Second

var system *stack.Stack

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctrllog.SetLogger(logr.Discard())
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	keys, err := os.MkdirTemp("", "voiceroom-keys-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(keys) }()
	if err := os.WriteFile(keys+"/e2e", []byte(apiKey), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	tell, stop, err := hooks.start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	collector, stop := traces.start()
	defer stop()
	if err := os.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector); err != nil { // the processes inherit it
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	auditLog = filepath.Join(keys, "audit.log")
	system, err = stack.Start(ctx, stack.Options{Root: "../..", AuditLog: auditLog, OperatorFlags: tell,
		GatewayFlags: []string{"--api-keys-dir", keys, "--guest-rate", "1000", "--guest-burst", "1000"},
		Progress:     func(what string) { fmt.Println(what) }})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := system.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping:", err)
		return 1
	}
	return code
}

const (
	apiKey = "a-key-for-the-end-to-end-tests-only"
	owner  = "key:e2e:ann"
)

// newRoom creates a room that the test deletes in the end.
func newRoom(t *testing.T, name string, change ...func(*v1alpha1.VoiceRoomSpec)) *v1alpha1.VoiceRoom {
	t.Helper()
	r := &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: v1alpha1.VoiceRoomSpec{Owner: owner, MaxMembers: 10, MaxMics: 2}}
	for _, c := range change {
		c(&r.Spec)
	}
	if err := system.Client.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deleteRoom(t, r) })
	return r
}

// deleteRoom deletes a room and checks that nothing of it stays.
func deleteRoom(t *testing.T, r *v1alpha1.VoiceRoom) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	group := &v1alpha1.GroupChat{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Status.GroupChat}}
	must(t, client.IgnoreNotFound(system.Client.Delete(ctx, r)))
	must(t, system.WaitGone(ctx, r, patience))
	if group.Name != "" {
		must(t, system.WaitGone(ctx, group, patience))
	}
	until(t, "the room's pods are gone", func() (bool, error) {
		var pods corev1.PodList
		err := system.Client.List(ctx, &pods, client.InNamespace(stack.MediaNamespace), client.MatchingLabels{v1alpha1.LabelRoomUID: string(r.UID)})
		return len(pods.Items) == 0, err
	})
	if r.Status.GroupID != "" {
		if _, err := provider(t).Group(ctx, r.Status.GroupID); !errors.Is(err, chat.ErrNotFound) {
			t.Errorf("the group of %s outlived it: %v", r.Name, err)
		}
	}
}

// until asks again and again; it fails the test after patience.
func until(t *testing.T, what string, done func() (bool, error)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s (%v)", patience, what, err)
		}
		<-tick.C
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// waitCondition waits until a condition of the room has a status.
func waitCondition(t *testing.T, r *v1alpha1.VoiceRoom, condition string, status metav1.ConditionStatus) metav1.Condition {
	t.Helper()
	var c *metav1.Condition
	must(t, system.Wait(t.Context(), r, patience, func() bool {
		c = meta.FindStatusCondition(r.Status.Conditions, condition)
		return c != nil && c.Status == status && c.Reason != v1alpha1.ReasonPending
	}))
	return *c
}

// ready waits until a room waits for its owner, and returns the owner's ticket.
func ready(t *testing.T, r *v1alpha1.VoiceRoom) string {
	t.Helper()
	must(t, system.Wait(t.Context(), r, patience, func() bool {
		return meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionMediaReady) && r.Status.HostTicketSecret != ""
	}))
	var s corev1.Secret
	must(t, system.Client.Get(t.Context(), client.ObjectKey{Namespace: r.Namespace, Name: r.Status.HostTicketSecret}, &s))
	return string(s.Data[v1alpha1.TicketKey])
}

// open lets the owner in.
func open(t *testing.T, r *v1alpha1.VoiceRoom) *bot.Bot {
	t.Helper()
	return join(t, bot.Config{Room: r.Namespace + "/" + r.Name, Credential: ready(t, r), Name: "Ann"})
}

func join(t *testing.T, cfg bot.Config) *bot.Bot {
	t.Helper()
	cfg.Gateway = system.GatewayURL
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var b *bot.Bot
	until(t, cfg.Name+" comes in", func() (bool, error) {
		var err error
		if b, err = bot.Join(ctx, cfg); err != nil && code(err) != "room-not-ready" { // the gateway may know a little later than we
			t.Fatalf("%s: %v", cfg.Name, err)
		}
		return err == nil, err
	})
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// guest makes a guest's ticket.
func guest(t *testing.T, name string) string {
	t.Helper()
	ticket, err := bot.Guest(t.Context(), system.GatewayURL, name)
	must(t, err)
	return ticket
}

// code is the code of a typed refusal.
func code(err error) string {
	var p *bot.ProblemError
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

// provider is a client of the chat server that goes around the gateway.
func provider(t *testing.T) chat.Provider {
	t.Helper()
	p, err := nats.New(nats.Config{URL: system.ChatURL})
	must(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func groupsOf(t *testing.T, r *v1alpha1.VoiceRoom) []chat.Group {
	t.Helper()
	all, err := provider(t).ListGroups(t.Context(), "")
	must(t, err)
	var mine []chat.Group
	for _, g := range all {
		if strings.Contains(g.Key, r.Namespace+"/"+r.Name+"/") {
			mine = append(mine, g)
		}
	}
	return mine
}

// hears waits until to hears from, which talks all the while.
func hears(t *testing.T, from, to *bot.Bot) {
	t.Helper()
	frames, err := bot.Speech()
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	talk, hush := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = from.Play(talk, frames) }()
	defer func() { hush(); <-done }()
	for {
		select {
		case f := <-to.Frames():
			if f.Member == from.Entered.Member {
				return
			}
		case <-ctx.Done():
			t.Fatalf("member %d was not heard in %v", from.Entered.Member, patience)
		}
	}
}
