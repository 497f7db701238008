package system

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/election"
	"voiceroom.dev/voiceroom/hack/bot"
)

// standby starts a second operator while the first one leads. In the end that is alone
// again.
func standby(t *testing.T) {
	t.Helper()
	until(t, "the operator leads", func() (bool, error) { return leader(t) != "", nil })
	name, err := system.Replicate(t.Context(), "operator")
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		system.KillProcess("operator")
		must(t, system.HealProcess("operator"))
		must(t, system.StartProcess("operator"))
		must(t, system.WaitProcess(ctx, "operator"))
		system.StopProcess(name)
	})
}

// leader names whoever holds the lease.
func leader(t *testing.T) string {
	t.Helper()
	var lease coordinationv1.Lease
	must(t, system.Client.Get(t.Context(), client.ObjectKey{Namespace: election.Namespace, Name: election.Name}, &lease))
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// unanswered waits until a process answers no probes.
func unanswered(t *testing.T, name string) {
	t.Helper()
	until(t, name+" has ended", func() (bool, error) {
		res, err := http.Get(system.HealthURL(name) + "/healthz")
		if err != nil {
			return true, nil
		}
		return false, res.Body.Close()
	})
}

// failsOver kills a room's pod and waits until another one holds it.
func failsOver(t *testing.T, r *v1alpha1.VoiceRoom) {
	t.Helper()
	must(t, system.Client.Get(t.Context(), client.ObjectKeyFromObject(r), r))
	claim := *r.Status.Media
	must(t, system.KillPod(t.Context(), claim.Pod))
	must(t, system.Wait(t.Context(), r, patience, func() bool {
		return r.Status.Media != nil && r.Status.Media.Epoch > claim.Epoch && r.Status.Phase == v1alpha1.RoomOpen
	}))
}

// TestOperatorsTakeOver: whatever becomes of the operator that acts, calls go on, and the
// other one does what it left.
func TestOperatorsTakeOver(t *testing.T) {
	for name, strike := range map[string]func(){
		"killed":  func() { system.KillProcess("operator") },
		"stopped": func() { system.StopProcess("operator") },
		"cut-off": func() { system.CutProcess("operator") },
	} {
		t.Run(name, func(t *testing.T) {
			standby(t)
			r := newRoom(t, "operator-"+name)
			ann := open(t, r)
			bob := join(t, bot.Config{Room: r.Namespace + "/" + r.Name, Credential: guest(t, "Bob"), Name: "Bob"})
			before := leader(t)
			strike()
			hears(t, ann, bob)
			late := newRoom(t, "after-"+name)
			ready(t, late)
			if now := leader(t); now == before || now == "" {
				t.Errorf("%q led, and %q does", before, now)
			}
			unanswered(t, "operator")
			select {
			case <-bob.Down():
				t.Error("Bob's call ended")
			default:
			}
			failsOver(t, r)
		})
	}
}

// TestFrozenLeader: an operator that wakes after another took over changes nothing, and ends.
func TestFrozenLeader(t *testing.T) {
	standby(t)
	r := newRoom(t, "frozen-leader")
	name := r.Namespace + "/" + r.Name
	open(t, r)
	bob := bot.Config{Room: name, Credential: guest(t, "Bob"), Name: "Bob"}
	join(t, bob)
	before := leader(t)
	must(t, system.SignalProcess("operator", syscall.SIGSTOP))
	until(t, "the other operator leads", func() (bool, error) { now := leader(t); return now != before && now != "", nil })
	failsOver(t, r)
	claim := *r.Status.Media
	must(t, system.SignalProcess("operator", syscall.SIGCONT))
	unanswered(t, "operator")
	again := join(t, bob)
	if got := roomState(t, r); got.Epoch != uint64(claim.Epoch) || again.Grant.Epoch != got.Epoch {
		t.Errorf("the room is in epoch %d, Bob in %d; it was claimed in %d", got.Epoch, again.Grant.Epoch, claim.Epoch)
	}
	must(t, system.Client.Get(t.Context(), client.ObjectKeyFromObject(r), r))
	if r.Status.Media.PodUID != claim.PodUID {
		t.Errorf("the claim went from %+v to %+v", claim, *r.Status.Media)
	}
}

// TestAnotherInstallation: an operator of another namespace ends, and says why.
func TestAnotherInstallation(t *testing.T) {
	_, err := system.Replicate(t.Context(), "operator", "--namespace", "elsewhere", "--media-namespace", "elsewhere-media")
	if err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("it should have ended with 1: %v", err)
	}
	log, err := os.ReadFile(filepath.Join(system.Dir, "log"))
	must(t, err)
	if !strings.Contains(string(log), (&election.TakenError{Installation: "voiceroom-system"}).Error()) {
		t.Error("it does not say whose the cluster is")
	}
}

// balancer sends each request to the next gateway that is ready, as a Service does.
type balancer struct {
	*httptest.Server
	turn  atomic.Int64
	ready atomic.Pointer[[]*url.URL]
}

func balance(t *testing.T, gateways ...string) *balancer {
	t.Helper()
	b := &balancer{}
	b.look(gateways)
	b.Server = httptest.NewServer(&httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		ready := *b.ready.Load()
		r.SetURL(ready[int(b.turn.Add(1))%len(ready)])
		r.Out.Host = r.In.Host
	}})
	ctx, cancel := context.WithCancel(context.Background())
	var looking sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				b.look(gateways)
			}
		}
	})
	t.Cleanup(func() { cancel(); looking.Wait(); b.CloseClientConnections(); b.Close() })
	return b
}

func (b *balancer) look(gateways []string) {
	var ready []*url.URL
	for _, name := range gateways {
		res, err := http.Get(system.HealthURL(name) + "/readyz")
		if err != nil {
			continue
		}
		_ = res.Body.Close()
		if at, err := url.Parse(system.URL(name)); err == nil && res.StatusCode == http.StatusOK {
			ready = append(ready, at)
		}
	}
	if len(ready) > 0 {
		b.ready.Store(&ready)
	}
}

// membersHear is hears for members.
func membersHear(t *testing.T, from, to *bot.Member) {
	t.Helper()
	frames, err := bot.Speech()
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var talking sync.WaitGroup
	talk, hush := context.WithCancel(ctx)
	talking.Go(func() { _ = from.Play(talk, frames) })
	defer func() { hush(); talking.Wait() }()
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

// TestAnyGateway: every request of the flow may come to another gateway, which need not
// know of the others; and one of them stops without a request that fails.
func TestAnyGateway(t *testing.T) {
	second, err := system.Replicate(t.Context(), "gateway", "--linger", "2s")
	must(t, err)
	t.Cleanup(func() { system.StopProcess(second) })
	door := balance(t, "gateway", second)
	r := newRoom(t, "two-doors")
	name := r.Namespace + "/" + r.Name
	come := func(who, credential string) *bot.Member {
		t.Helper()
		var m *bot.Member
		until(t, who+" comes in", func() (bool, error) {
			var err error
			m, err = bot.Stay(t.Context(), bot.Config{Gateway: door.URL, Room: name, Credential: credential, Name: who})
			return err == nil, err
		})
		t.Cleanup(func() { _ = m.Close() })
		return m
	}
	refused := func(cfg bot.Config) string {
		cfg.Gateway, cfg.Room = door.URL, name
		return code(bot.New(cfg).Ask(t.Context()))
	}
	ann := come("Ann", ready(t, r))
	bob := come("Bob", guest(t, "Bob"))
	membersHear(t, ann, bob)

	once := link(t, r, map[string]any{"uses": 1})
	if got := refused(bot.Config{Credential: guest(t, "Fay"), Invite: once, Name: "Fay"}); got != "" {
		t.Errorf("the first use of a link: %q", got)
	}
	evil := guest(t, "Eve")
	eve := come("Eve", evil)
	must(t, ann.Do(t.Context(), "kick", map[string]any{"member": eve.Entered.Member, "ban": true}))
	<-eve.Ended()
	for range 4 {
		if got := refused(bot.Config{Credential: guest(t, "Gus"), Invite: once, Name: "Gus"}); got != "invite-used" {
			t.Errorf("the second use of a link: %q", got)
		}
		if got := refused(bot.Config{Credential: evil, Name: "Eve"}); got != "banned" {
			t.Errorf("Eve was told %q", got)
		}
	}

	stopping, stopped := context.WithCancel(t.Context())
	go func() { defer stopped(); system.StopProcess(second) }()
	pace := time.NewTicker(10 * time.Millisecond) // guests are slowed down above what the gateway takes
	defer pace.Stop()
	for asked := 0; stopping.Err() == nil; asked++ {
		<-pace.C
		if _, err := bot.Guest(t.Context(), door.URL, "Hal"); err != nil {
			t.Fatalf("request %d while a gateway stops: %v", asked, err)
		}
	}
	if got := len(ann.Moves()) + len(bob.Moves()); got != 0 {
		t.Errorf("%d members left their connections because a gateway stopped", got)
	}
	failsOver(t, r)
	until(t, "Bob is with the new pod", func() (bool, error) {
		moves := bob.Moves()
		return len(moves) > 0 && moves[len(moves)-1].To > 1, errors.Join(bob.Err())
	})
	membersHear(t, ann, bob)
}
