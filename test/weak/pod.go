package weak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"voiceroom.dev/voiceroom/hack/stack"
	"voiceroom.dev/voiceroom/media"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/credentials"
	"voiceroom.dev/voiceroom/token"
)

const (
	podUID     = "pod"
	epoch      = 1
	renewEvery = 3 * time.Second
	// owner is the member who opens the room, and gets its only microphone.
	owner = "talker"
)

const loopback = "127.0.0.1:0"

// reachable is an address of this machine that browsers reach each other and pods by. Firefox takes no loopback address, not
// even as the one that its own packets are said to come from.
func reachable() (netip.AddrPort, error) {
	addresses := stack.OwnAddresses()
	own, err := netip.ParseAddr(addresses[len(addresses)-1])
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("reading this machine's address: %w", err)
	}
	return netip.AddrPortFrom(own, 0), nil
}

// pod is a media server that holds a room, and what a control plane does with it.
type pod struct {
	server *media.Server
	minter *token.Minter
	dialer *mediaapi.Dialer
	client *mediaapi.Client
	id     room.ID

	signalling sync.Mutex // what is advertised is one client's at a time

	stop    context.CancelFunc
	running sync.WaitGroup
	err     error // of Run, once running is done
}

// startPod starts a pod with a room of its own; dir is for its keys.
func startPod(ctx context.Context, dir string, tick time.Duration) (*pod, error) {
	keys, err := credentials.Write(dir)
	if err != nil {
		return nil, err
	}
	at, err := reachable()
	if err != nil {
		return nil, err
	}
	server, err := media.New(media.Config{PodUID: podUID, Control: loopback, Health: loopback, Media: at,
		KeysDir: dir, TLSDir: dir, AudienceTick: tick, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		return nil, fmt.Errorf("starting a media pod: %w", err)
	}
	p := &pod{server: server, id: room.ID{UID: "room", Namespace: "test", Name: "weak", GroupID: "group"},
		minter: keys.Minter, dialer: keys.Dialer()}
	p.client = p.dialer.Pod(server.ControlAddr(), podUID)
	ctx, p.stop = context.WithCancel(ctx)
	p.running.Go(func() { p.err = server.Run(ctx) })
	if err := p.put(ctx, server.MediaAddr()); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if err := p.client.Renew(ctx, epoch, 0); err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.running.Go(func() { p.renew(ctx) })
	return p, nil
}

// put gives the pod its room, or, again, another address to advertise.
func (p *pod) put(ctx context.Context, advertise netip.AddrPort) error {
	_, err := p.client.Put(ctx, mediaapi.PutRequest{ID: p.id, Epoch: epoch, Advertise: []string{advertise.String()},
		Spec: room.Spec{Generation: 1, Owner: owner, MaxMembers: 100, MaxMics: 1, Access: room.Public, MicPolicy: room.Auto}})
	if err != nil {
		return fmt.Errorf("putting the room: %w", err)
	}
	return nil
}

// renew keeps the pod believing that it has an operator.
func (p *pod) renew(ctx context.Context) {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = p.client.Renew(ctx, epoch, 0) // one that fails is made up for by the next
		}
	}
}

// signal answers the offer of a subject, who is to reach the pod at an address. It enters with that name as its session.
func (p *pod) signal(ctx context.Context, subject, offer string, at netip.AddrPort) (string, error) {
	p.signalling.Lock()
	defer p.signalling.Unlock()
	if err := p.put(ctx, at); err != nil {
		return "", err
	}
	if _, err := p.client.Reserve(ctx, mediaapi.ReserveRequest{Epoch: epoch, Reserve: room.Reserve{Subject: subject, Session: subject, Name: subject}}); err != nil {
		return "", fmt.Errorf("reserving a place for %s: %w", subject, err)
	}
	bearer, err := p.minter.Room(token.Room{RoomUID: p.id.UID, Epoch: epoch, Subject: subject, Session: subject, Group: p.id.GroupID})
	if err != nil {
		return "", fmt.Errorf("signing a token for %s: %w", subject, err)
	}
	answer, err := p.client.Signal(ctx, mediaapi.SignalRequest{Epoch: epoch, Token: bearer, Offer: offer})
	if err != nil {
		return "", fmt.Errorf("signalling for %s: %w", subject, err)
	}
	return answer.Answer, nil
}

// enter lets a subject in whose media connection stands.
func (p *pod) enter(ctx context.Context, subject string) error {
	if _, err := p.client.Command(ctx, epoch, "", room.Enter{Session: subject}); err != nil {
		return fmt.Errorf("letting %s in: %w", subject, err)
	}
	return nil
}

// close stops the pod and waits for it.
func (p *pod) close() error {
	p.stop()
	p.running.Wait()
	p.dialer.Close()
	return p.err
}
