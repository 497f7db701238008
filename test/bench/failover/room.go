package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/hack/stack"
	"voiceroom.dev/voiceroom/mediaapi"
)

// patience is how long anything may take before the run is given up.
const patience = 60 * time.Second

// people come in in this order: three get microphones, of whom two talk.
var people = []string{"Ann", "Bob", "Cyd", "Dan", "Eve"}

const mics, talkers = 3, 2

// bench is a running system with what the rooms share.
type bench struct {
	system *stack.Stack
	watch  client.WithWatch
	dialer *mediaapi.Dialer
	speech [][]byte
	opts   options
	report report
}

func newBench(ctx context.Context, system *stack.Stack, o options) (*bench, error) {
	b := &bench{system: system, opts: o, report: report{of: o.faults}}
	var err error
	if b.watch, err = client.NewWithWatch(system.Config, client.Options{Scheme: stack.Scheme()}); err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	if b.speech, err = bot.Speech(); err != nil {
		return nil, err
	}
	b.dialer, err = system.Dialer(ctx)
	return b, err
}

// room is a room with everybody in it.
type room struct {
	bench   *bench
	object  *v1alpha1.VoiceRoom
	members []*bot.Member
	ears    []*ear
	stop    context.CancelFunc
	running sync.WaitGroup
}

func (b *bench) rooms(ctx context.Context) ([]*room, error) {
	var rooms []*room
	for i := range b.opts.rooms {
		r := &room{bench: b, object: &v1alpha1.VoiceRoom{Spec: v1alpha1.VoiceRoomSpec{Owner: "key:bench:ann", MaxMembers: 10, MaxMics: mics}}}
		r.object.Namespace, r.object.Name = "default", fmt.Sprintf("bench-%d", i+1)
		rooms = append(rooms, r)
		if err := r.fill(ctx); err != nil {
			return rooms, fmt.Errorf("filling room %s: %w", r.object.Name, err)
		}
	}
	return rooms, nil
}

// fill opens the room and seats everybody.
func (r *room) fill(ctx context.Context) error {
	s := r.bench.system
	setup, done := context.WithTimeout(ctx, patience)
	defer done()
	ctx, r.stop = context.WithCancel(ctx)
	if err := s.Client.Create(setup, r.object); err != nil {
		return fmt.Errorf("creating it: %w", err)
	}
	err := s.Wait(setup, r.object, patience, func() bool {
		return meta.IsStatusConditionTrue(r.object.Status.Conditions, v1alpha1.ConditionMediaReady) && r.object.Status.HostTicketSecret != ""
	})
	if err != nil {
		return err
	}
	var ticket corev1.Secret
	if err := s.Client.Get(setup, client.ObjectKey{Namespace: r.object.Namespace, Name: r.object.Status.HostTicketSecret}, &ticket); err != nil {
		return fmt.Errorf("reading the host's ticket: %w", err)
	}
	for i, name := range people {
		credential := string(ticket.Data[v1alpha1.TicketKey])
		if i > 0 {
			if credential, err = bot.Guest(setup, s.GatewayURL, name); err != nil {
				return err
			}
		}
		m, err := bot.Stay(setup, bot.Config{Gateway: s.GatewayURL, Room: r.object.Namespace + "/" + r.object.Name, Credential: credential, Name: name})
		if err != nil {
			return fmt.Errorf("%s comes in: %w", name, err)
		}
		e := &ear{of: m, changed: make(chan struct{}, 1)}
		r.members, r.ears = append(r.members, m), append(r.ears, e)
		r.running.Go(func() { e.listen(ctx) })
		if i < talkers {
			r.running.Go(func() {
				for ctx.Err() == nil {
					_ = m.Play(ctx, r.bench.speech)
				}
			})
		}
	}
	return r.seat(setup)
}

// seat makes everybody's seat another one.
func (r *room) seat(ctx context.Context) error {
	host, cyd, dan, eve := r.members[0], r.members[2], r.members[3], r.members[4]
	return errors.Join(
		host.Do(ctx, "mute-member", map[string]any{"member": cyd.Entered.Member, "muted": true}),
		dan.Do(ctx, "hand", map[string]any{"raised": true}),
		host.Do(ctx, "chat-mute", map[string]any{"member": eve.Entered.Member, "muted": true}),
		host.Do(ctx, "set-role", map[string]any{"member": eve.Entered.Member, "role": "audience"}),
	)
}

func (r *room) close() {
	if r.stop != nil {
		r.stop()
	}
	r.running.Wait()
	for _, m := range r.members {
		_ = m.Close() // the system ends next
	}
}

// strike strikes the room's pod and returns once everybody hears everybody again.
func (r *room) strike(ctx context.Context) (*sample, error) {
	b, fault := r.bench, faults[r.bench.opts.fault]
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := b.waitWarm(ctx); err != nil {
		return nil, err
	}
	if err := b.system.Client.Get(ctx, client.ObjectKeyFromObject(r.object), r.object); err != nil {
		return nil, fmt.Errorf("reading it: %w", err)
	}
	claim := *r.object.Status.Media
	before, err := r.seats(ctx, &claim)
	if err != nil {
		return nil, err
	}
	moves := make([]int, len(r.members))
	for i, m := range r.members {
		moves[i] = len(m.Moves())
	}
	s := &sample{}
	var watching sync.WaitGroup
	watching.Go(func() { r.watchClaim(ctx, claim.Epoch, s) })
	s.at = time.Now()
	if err := fault.strike(ctx, b.system, claim.Pod); err != nil {
		return nil, err
	}
	for i := range r.ears {
		s.listeners = append(s.listeners, r.recover(ctx, i, moves[i], uint64(claim.Epoch), s))
	}
	watching.Wait()
	if err := b.system.Client.Get(ctx, client.ObjectKeyFromObject(r.object), r.object); err != nil {
		return nil, fmt.Errorf("reading it: %w", err)
	}
	after, err := r.seats(ctx, r.object.Status.Media)
	if err != nil {
		return nil, err
	}
	s.before, s.after = before, after
	r.clear(ctx, claim.Pod)
	return s, nil
}

// clear ends what is left of a pod that was struck but not killed.
func (r *room) clear(ctx context.Context, pod string) {
	switch r.bench.opts.fault {
	case "wedge":
		_ = r.bench.system.SignalPod(ctx, pod, syscall.SIGKILL) // unless it is gone
	case "cut":
		r.bench.system.HealPod(pod)
	}
}

// recover waits until a listener hears every talker again, and says how it went.
func (r *room) recover(ctx context.Context, i, moves int, epoch uint64, s *sample) listener {
	m := r.members[i]
	var others []uint32
	for j := range talkers {
		if j != i {
			others = append(others, r.members[j].Entered.Member)
		}
	}
	heard, err := r.ears[i].await(ctx, epoch, others)
	if err != nil {
		return listener{lost: fmt.Errorf("%s: %w (%w)", people[i], err, errors.Join(m.Err()))}
	}
	l := listener{silent: heard.Sub(s.at)}
	made := m.Moves()[moves:]
	if len(made) == 0 {
		return l
	}
	last := made[len(made)-1]
	l.why, l.attempts = made[0].Why, last.Attempts
	l.noticed, l.entered = made[0].Noticed.Sub(s.at), last.Entered.Sub(s.at)
	l.gap, _ = last.Gap()
	return l
}

// waitWarm waits until there is a warm pod for every room.
func (b *bench) waitWarm(ctx context.Context) error {
	pool := &v1alpha1.MediaPool{}
	pool.Name = "default"
	return b.system.Wait(ctx, pool, patience, func() bool { return pool.Status.Ready >= int32(b.opts.rooms) })
}

// watchClaim notes when the next epoch is claimed, and when its pod has the room.
func (r *room) watchClaim(ctx context.Context, epoch int64, s *sample) {
	w, err := r.bench.watch.Watch(ctx, &v1alpha1.VoiceRoomList{}, client.InNamespace(r.object.Namespace), client.MatchingFields{"metadata.name": r.object.Name})
	if err != nil {
		return // it is a detail
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-w.ResultChan():
			if !ok {
				return
			}
			vr, isRoom := e.Object.(*v1alpha1.VoiceRoom)
			if !isRoom || vr.Status.Media == nil || vr.Status.Media.Epoch <= epoch || vr.Status.Media.PodUID == "" {
				continue
			}
			if s.claimed == 0 {
				s.claimed = time.Since(s.at)
			}
			if meta.IsStatusConditionTrue(vr.Status.Conditions, v1alpha1.ConditionMediaReady) {
				s.ready = time.Since(s.at)
				return
			}
		}
	}
}

func deletePod(ctx context.Context, s *stack.Stack, name string) error {
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name = stack.MediaNamespace, name
	return s.Client.Delete(ctx, pod)
}
