package main

import (
	"context"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/torture/history"
)

// reserve takes a place at the pod itself, as a gateway does.
func (c *caller) reserve(ctx context.Context) bool {
	pod, e, _ := c.room.pod()
	if pod == nil {
		return false
	}
	return c.reserveAt(ctx, pod, e, c.someone(), "pod")
}

func (c *caller) reserveAt(ctx context.Context, pod *mediaapi.Client, e *epoch, subject, via string) bool {
	var got grant
	_, ok := c.ask(ctx, history.Operation{Via: via, Kind: history.Join, Subject: subject, Epoch: e.number}, func(o *history.Operation) (out outcome) {
		o.Session = c.world.session(c.rng)
		taken, err := pod.Reserve(ctx, mediaapi.ReserveRequest{Epoch: e.number, Reserve: room.Reserve{Subject: subject, Session: o.Session}})
		if o.Code, out = direct(err); err == nil {
			o.Member = taken.Member.ID
			got = grant{Session: o.Session, Member: o.Member, Epoch: e.number, ExpiresAt: taken.ExpiresAt, subject: subject}
		}
		return out
	})
	if got.Session != "" {
		if got.Token = c.world.token(c.room, got); got.Token != "" {
			c.room.granted(got)
		}
	}
	return ok
}

// wish is a microphone that somebody asks for: mostly any, sometimes a certain one.
func (c *caller) wish(s *room.State) int {
	if s == nil || c.rng.IntN(3) > 0 {
		return -1
	}
	return c.rng.IntN(s.Settings.MaxMics + 1)
}

// speech is what a session does for itself.
func (c *caller) speech(o history.Operation, s *room.State) (history.Operation, room.Command) {
	if c.rng.IntN(2) == 0 {
		o.Kind = history.LeaveMic
		return o, room.LeaveMic{}
	}
	o.Kind, o.Index = history.TakeMic, c.wish(s)
	return o, room.TakeMic{Index: o.Index}
}

// entered picks the grant of somebody who has entered, or just any.
func (c *caller) speaker() (grant, bool) {
	if p := c.room.someClient(c.rng); p != nil && c.rng.IntN(5) > 0 {
		return p.grant, true
	}
	return c.room.someGrant(c.rng)
}

func (c *caller) speakByHTTP(ctx context.Context) bool {
	g, ok := c.speaker()
	if !ok || !c.world.restCommands {
		return false
	}
	_, s := c.room.current()
	o, command := c.speech(ofGrant(g, ""), s)
	_, ok = c.ask(ctx, o, func(o *history.Operation) (out outcome) {
		_, o.Code, out = c.world.gateway.command(ctx, c.room, g.Token, o.Kind, command)
		return out
	})
	return ok
}

func (c *caller) speakByPod(ctx context.Context) bool {
	pod, e, s := c.room.pod()
	g, ok := c.speaker()
	if pod == nil || !ok || g.Epoch != e.number {
		return false
	}
	o, command := c.speech(history.Operation{Via: "pod", Subject: g.subject, Session: g.Session, Epoch: e.number}, s)
	_, ok = c.ask(ctx, o, func(o *history.Operation) (out outcome) {
		_, err := pod.Command(ctx, e.number, g.Session, command)
		o.Code, out = direct(err)
		return out
	})
	return ok
}

func (c *caller) speakByChannel(ctx context.Context) bool {
	p := c.room.someClient(c.rng)
	if p == nil || !p.idle(time.Now()) {
		return false
	}
	_, s := c.room.current()
	o, command := c.speech(ofGrant(p.grant, ""), s)
	o.Via = "channel"
	_, ok := c.ask(ctx, o, func(o *history.Operation) (out outcome) {
		o.Code, out = p.command(ctx, o.Kind, command)
		return out
	})
	return ok
}

// moderateByChannel has a client leave over its channel.
func (c *caller) moderateByChannel(ctx context.Context) bool {
	p := c.room.someClient(c.rng)
	if p == nil || c.rng.IntN(4) > 0 || !p.idle(time.Now()) {
		return false
	}
	o := ofGrant(p.grant, history.Leave)
	o.Via = "channel"
	c.ask(ctx, o, func(o *history.Operation) outcome {
		_, out := p.command(ctx, history.Leave, struct{}{})
		return out // it is answered by the bye
	})
	return true
}

// moderation is something that is done to a member, or to somebody who was thrown out.
func (c *caller) moderation(s *room.State) (history.Operation, room.Command, bool) {
	var o history.Operation
	if c.rng.IntN(4) == 0 {
		o.Kind, o.Subject = history.Unban, c.someone()
		if len(s.Records) > 0 && c.rng.IntN(4) > 0 {
			o.Subject = s.Records[c.rng.IntN(len(s.Records))].Subject
		}
		return o, room.Unban{Subject: o.Subject}, true
	}
	if len(s.Members) == 0 {
		return o, nil, false
	}
	m := s.Members[c.rng.IntN(len(s.Members))]
	o.Member = m.ID
	switch n := c.rng.IntN(10); {
	case n < 2 && m.Subject != c.room.subjects[0]:
		o.Kind = history.Kick
		return o, room.Kick{Member: m.ID}, true
	case n < 4:
		o.Kind = history.PullMic
		return o, room.PullMic{Member: m.ID}, true
	}
	o.Kind, o.Index = history.GiveMic, c.wish(s)
	return o, room.GiveMic{Member: m.ID, Index: o.Index}, true
}

func (c *caller) moderateByHTTP(ctx context.Context) bool {
	_, s := c.room.current()
	if s == nil || !c.world.restCommands {
		return false
	}
	return c.moderate(ctx, s, "gateway", func(o *history.Operation, command room.Command) (mediaapi.CommandResult, outcome) {
		done, code, out := c.world.gateway.command(ctx, c.room, "", o.Kind, command)
		o.Code, o.Epoch = code, done.Epoch
		return done, out
	})
}

func (c *caller) moderateByPod(ctx context.Context) bool {
	pod, e, s := c.room.pod()
	if pod == nil {
		return false
	}
	durably := c.rng.IntN(3) == 0
	return c.moderate(ctx, s, "pod", func(o *history.Operation, command room.Command) (mediaapi.CommandResult, outcome) {
		do := pod.Command
		if durably {
			do = pod.CommandDurably
		}
		done, err := do(ctx, e.number, "", command)
		code, out := direct(err)
		o.Code, o.Epoch = code, e.number
		if err != nil {
			return mediaapi.CommandResult{}, out
		}
		return *done, out
	})
}

// moderate carries out a moderation and notes who is thrown out durably.
func (c *caller) moderate(ctx context.Context, s *room.State, via string, f func(*history.Operation, room.Command) (mediaapi.CommandResult, outcome)) bool {
	o, command, ok := c.moderation(s)
	if !ok {
		return false
	}
	if o.Kind == history.Unban {
		c.room.unbanning(o.Subject, time.Now().Add(callPatience)) // it has an outcome before
	}
	o.Via = via
	var result mediaapi.CommandResult
	done, ok := c.ask(ctx, o, func(o *history.Operation) (out outcome) {
		result, out = f(o, command)
		if o.Kind == history.Unban && out == lost {
			c.room.unbanning(o.Subject, time.Now().Add(stale))
		}
		return out
	})
	if !ok || !result.Durable {
		return ok
	}
	c.room.durable(result.Epoch, result.Seq, done.Call)
	if m, there := s.Member(o.Member); there && o.Kind == history.Kick {
		c.room.keptOut(m.Subject, done)
	}
	return ok
}
