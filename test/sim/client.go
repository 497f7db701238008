package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// client is a person, who may use several devices: each is a process.
type client struct {
	*world
	host    *host
	subject string
	// hostile ones ignore what they are told, and try every token again; moderators use their
	// role.
	hostile, moderator bool
	invited            time.Time // a link for it was made; zero: none

	tokens []string
	link   *conn // the newest
}

// hear is how the client is told something of a connection.
func (c *client) hear(link *conn, f func()) {
	if !link.hungUp {
		f()
	}
}

// live comes, talks and goes, again and again.
func (c *client) live(p *process) {
	p.sleep(c.between(0, 3*time.Second))
	for {
		link, err := c.join(p)
		if err != nil {
			p.sleep(c.between(200*time.Millisecond, c.patience(err)))
			continue
		}
		c.stay(p, link)
		if c.peace {
			continue
		}
		p.sleep(c.between(0, 8*time.Second))
	}
}

// patience is how long a client waits at most before it asks again.
func (c *client) patience(err error) time.Duration {
	if e, ok := errors.AsType[*admission.Error](err); ok && !e.Retryable {
		return 5 * time.Second
	}
	return 2 * time.Second
}

// join takes a place, makes the connection and feeds back.
func (c *client) join(p *process) (*conn, error) {
	req := admission.Request{Subject: c.subject, Name: "N", InvitedAt: c.invited}
	if link := c.link; link != nil && link.member != 0 && c.chance(0.5) {
		req.Resumes = link.session
	}
	grant, err := through(p, c.anyGateway(), func(w *process, g *gateway) (admission.Grant, error) { return g.join(w, req) })
	if err != nil {
		return nil, err
	}
	c.tokens = append(c.tokens, grant.Token)
	if !c.peace && c.chance(0.1) {
		p.sleep(c.between(time.Second, 70*time.Second)) // its token may not be good any more
	}
	link, err := through(p, c.anyGateway(), func(w *process, g *gateway) (*conn, error) { return g.offer(w, c, grant.Token) })
	if err != nil {
		if c.chance(0.5) {
			_, _ = through(p, c.anyGateway(), func(w *process, g *gateway) (none, error) { return g.feedback(w, grant.Token, true) })
		}
		return nil, err
	}
	if err := c.handshake(p, link); err != nil {
		return nil, err
	}
	c.link = link
	for range 3 {
		if c.chance(0.2) { // the operator confirms it
			return link, nil
		}
		_, err := through(p, c.anyGateway(), func(w *process, g *gateway) (none, error) { return g.feedback(w, grant.Token, false) })
		if err == nil {
			break
		}
	}
	return link, nil
}

var errNoConnection = errors.New("the media connection did not come to stand")

// handshake makes the media connection.
func (c *client) handshake(p *process, link *conn) error {
	for range 5 {
		c.network.send(c.host, link.pod.host, func() {
			if !link.stands() && !link.hungUp {
				link.pod.connected(link)
			}
		})
		p.sleep(200 * time.Millisecond)
		if link.welcome || link.bye != "" {
			break
		}
	}
	if !link.welcome {
		c.hangUp(link)
		return errNoConnection
	}
	return nil
}

// hangUp drops a connection; the pod notices, sooner or later.
func (c *client) hangUp(link *conn) {
	link.hungUp = true
	c.after(c.between(50*time.Millisecond, 5*time.Second), func() {
		link.pod.host.do(func() { link.pod.disconnected(link) })
	})
}

// stay is in the room until the client wants to leave, is told to, or loses the pod.
func (c *client) stay(p *process, link *conn) {
	silent := 0
	for link.bye == "" && silent < 3 {
		p.sleep(c.between(300*time.Millisecond, 2*time.Second))
		silent++
		if pod := link.pod.host; pod.up && !pod.frozen && c.network.joined(c.host, pod) {
			silent = 0 // a heartbeat came
		}
		if c.peace || !c.chance(c.restless) {
			continue
		}
		if c.act(p, link) {
			return
		}
	}
	if c.hostile && link.bye != "" {
		c.replay(p)
	}
	c.hangUp(link)
}

// act does something in the room, and says whether that was to go.
func (c *client) act(p *process, link *conn) bool {
	switch n := c.IntN(100); {
	case n < 4:
		_, _ = through(p, c.anyGateway(), func(w *process, g *gateway) (none, error) { return g.leave(w, c.tokens[len(c.tokens)-1]) })
		c.hangUp(link)
		return true
	case n < 8: // it is gone without a word
		c.hangUp(link)
		return true
	case n < 12: // another device of the same person
		c.spawn(c.host, func(p *process) {
			if other, err := c.join(p); err == nil {
				c.stay(p, other)
			}
		})
	case n < 18 && c.hostile:
		c.replay(p)
	case c.moderator && n < 60:
		c.moderate(p, link)
	case n < 80:
		c.say(link, c.ownCommand())
	case n < 85: // it may not
		c.moderate(p, link)
	}
	return false
}

// ownCommand is something that a client does for itself.
func (c *client) ownCommand() room.Command {
	return pick(c.engine, []room.Command{room.TakeMic{Index: -1}, room.TakeMic{Index: c.IntN(4)}, room.LeaveMic{}, room.Mute{Muted: c.chance(0.5)},
		room.RaiseHand{Raised: c.chance(0.7)}, room.Leave{}, room.Rename{Name: fmt.Sprint("N", c.IntN(9))}})
}

// say gives a command over the data channel.
func (c *client) say(link *conn, cmd room.Command) {
	if link.up == nil {
		return
	}
	link.up.send(func() {
		if pod := link.pod; pod.conns[link.session] == link && link.member != 0 {
			_ = pod.do(room.Actor{Session: link.session}, cmd)
		}
	})
}

// moderate gives a command over a gateway that takes a moderator, to somebody in the room.
func (c *client) moderate(p *process, link *conn) {
	if link.pod.room == nil {
		return
	}
	s := link.pod.room.View()
	if len(s.Members) == 0 {
		return
	}
	m := pick(c.engine, s.Members)
	cmd := pick(c.engine, []room.Command{room.Kick{Member: m.ID, Ban: c.chance(0.3)}, room.Kick{Member: m.ID}, room.PullMic{Member: m.ID},
		room.GiveMic{Member: m.ID, Index: -1}, room.MuteMember{Member: m.ID, Muted: c.chance(0.6)}, room.LockMic{Index: c.IntN(3), Locked: c.chance(0.4)}})
	if len(s.Records) > 0 && c.chance(0.3) {
		cmd = room.Unban{Subject: pick(c.engine, s.Records).Subject}
	}
	token, wait := c.tokens[len(c.tokens)-1], c.chance(0.7)
	_, _ = through(p, c.anyGateway(), func(w *process, g *gateway) (*mediaapi.CommandResult, error) { return g.command(w, token, cmd, wait) })
	if kick, ok := cmd.(room.Kick); ok && c.chance(0.5) {
		c.after(c.between(5*time.Second, 20*time.Second), func() { c.forgive(kick) })
	}
}

// forgive sends a named invitation to somebody who was kicked.
func (c *client) forgive(kick room.Kick) {
	for _, other := range c.clients {
		if link := other.link; link != nil && link.member == kick.Member {
			other.invited = c.now
		}
	}
}

// replay shows every token again that the client ever had.
func (c *client) replay(p *process) {
	for _, t := range slices.Clone(c.tokens) {
		link, err := through(p, c.anyGateway(), func(w *process, g *gateway) (*conn, error) { return g.offer(w, c, t) })
		if err == nil {
			_ = c.handshake(p, link)
		}
	}
}
