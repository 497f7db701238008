package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/hack/stack"
)

// sample is the room of config/samples that the demo talks in.
type sample struct {
	name       string // namespace/name
	groupID    string
	hostTicket string
}

// steps prints what happened and how long it took since the step before.
type steps struct{ last time.Time }

func (s *steps) done(format string, args ...any) {
	now := time.Now()
	fmt.Printf("%7.0f ms  %s\n", float64(now.Sub(s.last).Microseconds())/1000, fmt.Sprintf(format, args...))
	s.last = now
}

// applySamples applies config/samples and waits for the lobby.
func applySamples(ctx context.Context, s *stack.Stack) (sample, error) {
	fmt.Println("\nkubectl apply -k config/samples")
	watch := steps{last: time.Now()}
	if err := kubectl(ctx, s, "apply", "-k", "config/samples"); err != nil {
		return sample{}, err
	}
	watch.done("applied")
	room := &v1alpha1.VoiceRoom{}
	room.Namespace, room.Name = "default", "lobby"
	for _, step := range []struct{ condition, what string }{
		{v1alpha1.ConditionChatReady, "1-2  the IM group exists, tied to the owner, Invalid"},
		{v1alpha1.ConditionMediaReady, "     a media pod was claimed and holds the room"},
	} {
		err := s.Wait(ctx, room, time.Minute, func() bool { return meta.IsStatusConditionTrue(room.Status.Conditions, step.condition) })
		if err != nil {
			return sample{}, err
		}
		watch.done("%s", step.what)
	}
	if err := s.Wait(ctx, room, time.Minute, func() bool { return room.Status.HostTicketSecret != "" }); err != nil {
		return sample{}, err
	}
	secret := &corev1.Secret{}
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: room.Namespace, Name: room.Status.HostTicketSecret}, secret); err != nil {
		return sample{}, fmt.Errorf("reading the owner's ticket: %w", err)
	}
	watch.done("     the owner's ticket is in Secret %s", secret.Name)
	return sample{name: room.Namespace + "/" + room.Name, groupID: room.Status.GroupID, hostTicket: string(secret.Data[v1alpha1.TicketKey])}, nil
}

// prove walks through the flow with two clients.
func prove(ctx context.Context, s *stack.Stack, r sample) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	watch := &steps{last: time.Now()}
	fmt.Println("\nThe first client, the owner, creates the room through the RTC server:")
	ann := bot.New(bot.Config{Gateway: s.GatewayURL, Room: r.name, Credential: r.hostTicket, Name: "Ann"})
	defer func() { _ = ann.Close() }()
	if err := comeIn(ctx, watch, ann, "3    token minted, bound to the group", "4    the RTC server created the room and associated the client",
		"5    fed back: group Valid, first microphone, entered"); err != nil {
		return fmt.Errorf("the first client: %w", err)
	}
	if ann.Entered.Mic == nil {
		return fmt.Errorf("the first client has no microphone")
	}
	fmt.Println("\nThe second client, a guest, joins by the group's ID:")
	ticket, err := bot.Guest(ctx, s.GatewayURL, "Bob")
	if err != nil {
		return err
	}
	bob := bot.New(bot.Config{Gateway: s.GatewayURL, Group: ann.Entered.GroupID, Credential: ticket, Name: "Bob"})
	defer func() { _ = bob.Close() }()
	if err := comeIn(ctx, watch, bob, "6-7  members counted below maxMembers, token minted", "8    the RTC server associated the client",
		"9    fed back: associated with the group, entered, microphone generated"); err != nil {
		return fmt.Errorf("the second client: %w", err)
	}
	fmt.Println("\nThe first talks, the second listens:")
	if err := talk(ctx, watch, ann, bob); err != nil {
		return err
	}
	if err := tables(ctx, s, r); err != nil {
		return err
	}
	watch.last = time.Now()
	for _, b := range []*bot.Bot{bob, ann} {
		if err := b.Leave(ctx); err != nil {
			return fmt.Errorf("leaving: %w", err)
		}
	}
	watch.done("     both left")
	return nil
}

func comeIn(ctx context.Context, watch *steps, b *bot.Bot, asked, connected, confirmed string) error {
	watch.last = time.Now()
	for _, step := range []struct {
		do   func(context.Context) error
		what string
	}{{b.Ask, asked}, {b.Connect, connected}, {b.Confirm, confirmed}} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSpace(step.what), err)
		}
		watch.done("%s", step.what)
	}
	return nil
}

// talk plays the recording from one to the other and compares every bit.
func talk(ctx context.Context, watch *steps, from, to *bot.Bot) error {
	frames, err := bot.Speech()
	if err != nil {
		return err
	}
	played := make(chan error, 1)
	go func() { played <- from.Play(ctx, frames) }()
	for i := range frames {
		select {
		case f := <-to.Frames():
			if f.Member != from.Entered.Member {
				return fmt.Errorf("frame %d came from member %d, not %d", i, f.Member, from.Entered.Member)
			}
			if !bytes.Equal(f.Payload, frames[i]) {
				return fmt.Errorf("frame %d of %d differs: %d bytes sent, %d heard", i, len(frames), len(frames[i]), len(f.Payload))
			}
		case <-time.After(5 * time.Second):
			return fmt.Errorf("frame %d of %d was not heard within 5 s", i, len(frames))
		case <-ctx.Done():
			return ctx.Err()
		}
		if i == 0 {
			watch.done("     the first packet was heard")
		}
	}
	if err := <-played; err != nil {
		return err
	}
	watch.done("     %.1f s of speech, %d Opus frames, heard bit-exact", float64(len(frames))*bot.FrameDuration.Seconds(), len(frames))
	return nil
}

// tables shows what kubectl shows.
func tables(ctx context.Context, s *stack.Stack, r sample) error {
	namespace, name, _ := strings.Cut(r.name, "/")
	room := &v1alpha1.VoiceRoom{}
	room.Namespace, room.Name = namespace, name
	if err := s.Wait(ctx, room, 30*time.Second, func() bool { return room.Status.Members == 2 && len(room.Status.Mics) == 2 }); err != nil {
		return err
	}
	for _, args := range [][]string{{"get", "vr,gc,jr", "-n", namespace}, {"get", "mp,cp"}, {"get", "pods", "-n", stack.MediaNamespace, "-L", v1alpha1.LabelRoomName}} {
		fmt.Printf("\nkubectl %s\n", strings.Join(args, " "))
		if err := kubectl(ctx, s, args...); err != nil {
			return err
		}
	}
	fmt.Println()
	return nil
}

func kubectl(ctx context.Context, s *stack.Stack, args ...string) error {
	cmd := exec.CommandContext(ctx, s.Kubectl, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("kubectl %s: %w", strings.Join(args, " "), err)
	}
	return nil
}
