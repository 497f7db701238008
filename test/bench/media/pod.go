//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/bench/media/client"
	"voiceroom.dev/voiceroom/test/credentials"
	"voiceroom.dev/voiceroom/token"
)

const (
	podUID  = "pod"
	roomUID = "room"
	epoch   = 1
	places  = 4000
)

// podOptions are how a pod differs from what the operator runs by default.
type podOptions struct {
	talkers  int
	tick     time.Duration
	audience room.AudienceMode
	env      []string
	profiled bool // by the command in this binary that serves pprof too
}

// pod is our media server: the command as the operator runs it, with a room.
type pod struct {
	*process
	dir     string
	dialer  *mediaapi.Dialer
	control *mediaapi.Client
	minter  *token.Minter
	members atomic.Int64
	stopped context.CancelFunc
	renewal sync.WaitGroup
}

// startPod runs a media server without a room.
func (b *bench) startPod(o podOptions) (_ *pod, err error) {
	p := &pod{stopped: func() {}}
	if p.dir, err = os.MkdirTemp(b.dir, "pod-"); err != nil {
		return nil, fmt.Errorf("making a pod's directory: %w", err)
	}
	keys, err := credentials.Write(p.dir)
	if err != nil {
		return nil, err
	}
	command, args := b.media, []string(nil)
	switch {
	case o.profiled || b.media == "":
		command, args = b.self, []string{"profiled"}
	case o.audience == room.Mix:
		command = b.mixer
	}
	args = append(args, "--pod-uid="+podUID, "--control=127.0.0.1:0", "--health=127.0.0.1:0", "--media=127.0.0.1:0",
		"--keys="+p.dir, "--tls="+p.dir, "--audience-tick="+o.tick.String())
	if p.process, err = start(o.env, command, args...); err != nil {
		return nil, err
	}
	p.minter, p.dialer = keys.Minter, keys.Dialer()
	p.control = p.dialer.Pod(p.up.Control, podUID)
	return p, nil
}

// startRoom runs a media server with a room.
func (b *bench) startRoom(ctx context.Context, o podOptions) (*pod, error) {
	p, err := b.startPod(o)
	if err != nil {
		return nil, err
	}
	spec := room.Spec{Generation: 1, Owner: subject(1), MaxMembers: places, MaxMics: o.talkers, Access: room.Public, MicPolicy: room.Auto, Audience: o.audience}
	if _, err := p.control.Put(ctx, mediaapi.PutRequest{ID: room.ID{UID: roomUID}, Epoch: epoch, Spec: spec}); err != nil {
		p.stop()
		return nil, fmt.Errorf("handing a room to a pod: %w", err)
	}
	if err := p.control.Renew(ctx, epoch, 0); err != nil {
		p.stop()
		return nil, fmt.Errorf("renewing a pod's lease: %w", err)
	}
	ctx, p.stopped = context.WithCancel(context.WithoutCancel(ctx))
	p.renewal.Go(func() { p.renew(ctx) })
	return p, nil
}

// renew keeps the lease, as the operator does.
func (p *pod) renew(ctx context.Context) {
	ticker := time.NewTicker(mediaapi.Lease / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = p.control.Renew(ctx, epoch, 0) // the next one follows
		}
	}
}

func (p *pod) stop() {
	p.stopped()
	p.renewal.Wait()
	p.dialer.Close()
	p.process.stop()
	_ = os.RemoveAll(p.dir)
}

func subject(member int64) string { return "key:bench:" + strconv.FormatInt(member, 10) }

// joining is what one client's way in has come to.
type joining struct {
	session, token string
	posted         time.Time // when its offer left
}

// join implements server. The first ones in get the microphones.
func (p *pod) join(ctx context.Context, c *client.Client, _ int) error {
	j, err := p.reserve(ctx)
	if err != nil {
		return err
	}
	return p.enter(ctx, c, j)
}

func (p *pod) reserve(ctx context.Context) (*joining, error) {
	who := subject(p.members.Add(1))
	j := &joining{session: "s-" + who}
	if _, err := p.control.Reserve(ctx, mediaapi.ReserveRequest{Epoch: epoch, Reserve: room.Reserve{Subject: who, Session: j.session}}); err != nil {
		return nil, fmt.Errorf("reserving a place: %w", err)
	}
	var err error
	if j.token, err = p.minter.Room(token.Room{RoomUID: roomUID, Epoch: epoch, Subject: who, Session: j.session}); err != nil {
		return nil, fmt.Errorf("minting a token: %w", err)
	}
	return j, nil
}

// enter posts the offer, connects, and confirms.
func (p *pod) enter(ctx context.Context, c *client.Client, j *joining) error {
	offer, err := c.Offer()
	if err != nil {
		return err
	}
	j.posted = time.Now()
	answer, err := p.control.Signal(ctx, mediaapi.SignalRequest{Epoch: epoch, Token: j.token, Offer: offer})
	if err != nil {
		return fmt.Errorf("posting an offer: %w", err)
	}
	if err := c.Connect(ctx, answer.Answer); err != nil {
		return err
	}
	if _, err := p.control.Command(ctx, epoch, "", room.Enter{Session: j.session}); err != nil {
		return fmt.Errorf("entering: %w", err)
	}
	return nil
}
