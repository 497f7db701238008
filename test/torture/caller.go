package main

import (
	"context"
	"math/rand/v2"
	"time"

	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/torture/history"
)

// breath is how long a caller waits after an answer that asks for patience.
const breath = 30 * time.Millisecond

// caller is one of the many who call at once.
type caller struct {
	number int
	world  *world
	room   *voiceRoom
	rng    *rand.Rand
}

// deed is something that a caller does, and how often among others.
type deed struct {
	weight int
	do     func(*caller, context.Context) bool // false: it could not
}

// deeds are what callers do. Much of it goes through the gateway.
var deeds = []deed{
	{16, (*caller).join}, {4, (*caller).resume}, {5, (*caller).replay}, {5, (*caller).connect}, {1, (*caller).confirm},
	{5, (*caller).fail}, {2, (*caller).leave}, {9, (*caller).speakByHTTP}, {6, (*caller).moderateByHTTP},

	{10, (*caller).reserve}, {9, (*caller).speakByPod}, {7, (*caller).moderateByPod},

	{14, (*caller).speakByChannel}, {1, (*caller).moderateByChannel}, {1, (*caller).hangUp},
}

// run calls until ctx ends; what was begun then is finished, unless whole ends too.
func (c *caller) run(ctx, whole context.Context) {
	total := 0
	for _, d := range deeds {
		total += d.weight
	}
	for ctx.Err() == nil {
		n := c.rng.IntN(total)
		for _, d := range deeds {
			if n -= d.weight; n < 0 {
				if !d.do(c, whole) {
					pause(ctx, breath/10)
				}
				break
			}
		}
	}
}

// pause keeps a caller from asking again and again what cannot be answered now.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// ask carries out an operation. It is false if nobody answered, or asked for patience.
func (c *caller) ask(ctx context.Context, o history.Operation, f func(*history.Operation) outcome) (history.Operation, bool) {
	o.Caller = c.number
	o, out := c.room.call(ctx, o, f)
	if out != answered || history.Retry(o.Code) || o.Code == room.Frozen {
		pause(ctx, breath)
		return o, false
	}
	return o, true
}

func (c *caller) someone() string { return c.room.subjects[c.rng.IntN(len(c.room.subjects))] }

// join asks for a place for somebody; if the subject has one, its token is refreshed.
func (c *caller) join(ctx context.Context) bool {
	return c.joinAs(ctx, history.Operation{Kind: history.Join, Subject: c.someone()}, "")
}

// resume comes back with a token of before.
func (c *caller) resume(ctx context.Context) bool {
	g, ok := c.room.someGrant(c.rng)
	return ok && c.joinAs(ctx, history.Operation{Kind: history.Resume, Subject: g.subject, Of: g.Member}, g.Token)
}

func (c *caller) joinAs(ctx context.Context, ask history.Operation, token string) bool {
	var got grant
	ask.Via = "gateway"
	_, ok := c.ask(ctx, ask, func(o *history.Operation) (out outcome) {
		got, o.Code, out = c.world.gateway.join(ctx, c.room, o.Subject, token)
		o.Session, o.Member, o.Epoch = got.Session, got.Member, got.Epoch
		return out
	})
	if got.Token != "" {
		c.room.granted(got)
	}
	return ok
}

// open offers with a token, once or again.
func (c *caller) open(ctx context.Context, g grant, sdp string) (answer string, ok bool) {
	o, ok := c.ask(ctx, history.Operation{Via: "gateway", Kind: history.Open, Subject: g.subject, Session: g.Session, Expires: g.ExpiresAt, Epoch: g.Epoch},
		func(o *history.Operation) (out outcome) {
			answer, o.Code, out = c.world.gateway.offer(ctx, c.room, g.Token, sdp)
			return out
		})
	return answer, ok && o.Code == ""
}

// replay spends a token, or one that is spent, without a client behind it.
func (c *caller) replay(ctx context.Context) bool {
	g, ok := c.room.someGrant(c.rng)
	if ok {
		c.open(ctx, g, c.world.someOffer)
	}
	return ok
}

// connect comes in with a real client.
func (c *caller) connect(ctx context.Context) bool {
	g, ok := c.room.someGrant(c.rng)
	if !ok {
		return false
	}
	p, offer, err := newPeer(c.world.webrtc)
	if err != nil {
		c.world.report.trouble(err)
		return false
	}
	p.grant = g
	answer, ok := c.open(ctx, g, offer)
	if !ok {
		p.close()
		return true
	}
	if p.stand(ctx, answer) != nil {
		p.close()
		return true
	}
	c.room.connected(p)
	c.world.clients.Go(func() {
		select {
		case <-p.down:
		case <-ctx.Done():
		}
		p.close()
	})
	if c.rng.IntN(8) > 0 { // else the operator confirms
		c.feedback(ctx, g, history.Confirm, "connected")
	}
	return true
}

func (c *caller) feedback(ctx context.Context, g grant, kind history.Kind, how string) {
	c.ask(ctx, ofGrant(g, kind), func(o *history.Operation) (out outcome) {
		o.Code, out = c.world.gateway.feedback(ctx, c.room, g.Token, g.Session, how)
		return out
	})
}

func ofGrant(g grant, kind history.Kind) history.Operation {
	return history.Operation{Via: "gateway", Kind: kind, Subject: g.subject, Session: g.Session, Epoch: g.Epoch}
}

func (c *caller) confirm(ctx context.Context) bool {
	g, ok := c.room.someGrant(c.rng)
	if ok {
		c.feedback(ctx, g, history.Confirm, "connected")
	}
	return ok
}

func (c *caller) fail(ctx context.Context) bool {
	g, ok := c.room.someGrant(c.rng)
	if ok {
		c.feedback(ctx, g, history.Fail, "failed")
	}
	return ok
}

func (c *caller) leave(ctx context.Context) bool {
	g, ok := c.room.someGrant(c.rng)
	if ok {
		c.ask(ctx, ofGrant(g, history.Leave), func(o *history.Operation) (out outcome) {
			o.Code, out = c.world.gateway.leave(ctx, c.room, g.Token, g.Session)
			return out
		})
	}
	return ok
}

// hangUp drops a connection without a word.
func (c *caller) hangUp(ctx context.Context) bool {
	p := c.room.someClient(c.rng)
	if p == nil || c.rng.IntN(3) > 0 {
		return false
	}
	p.close()
	return true
}
