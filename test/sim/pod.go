package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// pod is a media pod: the real room, and around it what media's keeper does with it, less
// the media. Keep it like media/keeper.go, follow.go and signal.go.
type pod struct {
	*world
	name     string
	host     *host
	verifier *token.Verifier

	room     *room.Room // nil until the pod is given one
	lease    time.Time
	conns    map[string]*conn // by session
	members  map[uint32]*conn // those that are associated, by member
	watchers []*watcher
	history  []room.Event // of this epoch
	durable  uint64       // the operator holds the events up to it
	holder   string       // the operator that said so
	awaiting []await
	due      time.Time // when a tick is scheduled
	unfit    bool      // its kubelet does not answer
}

// conn is a client's media connection.
type conn struct {
	client  *client
	pod     *pod
	session string
	down    *stream // from the pod
	up      *stream // from the client
	// The pod's.
	member  uint32 // 0 until associated
	entered bool
	// The client's.
	welcome bool
	bye     room.Code
	hungUp  bool // it is gone; the pod will notice
}

type watcher struct {
	*stream
	deliver func(mediaapi.Frame)
}

// await is an answer that waits for events to be durable.
type await struct {
	seq  uint64
	tell func(durable bool)
}

func (p *pod) clock() time.Time { return p.now.Add(p.host.skew) }

// do gives the room one command and makes everything follow.
func (p *pod) do(by room.Actor, c room.Command) error {
	events, err := p.room.Do(p.clock(), by, c)
	if _, tick := c.(room.Tick); !tick || len(events) > 0 {
		p.note(p.name, "%s%s: %d events, %s", command(c), p.sessionOf(by), len(events), codeOf(err))
	}
	if err == nil || len(events) > 0 {
		p.follow(events)
	}
	p.check.stepped(p, c, events)
	p.pounce(p, events)
	p.plan()
	return err
}

func (p *pod) sessionOf(by room.Actor) string {
	if by == room.Control {
		return ""
	}
	m, _ := p.room.View().Session(by.Session)
	return " by " + m.Subject
}

// plan schedules the next tick.
func (p *pod) plan() {
	next := p.room.Next()
	if next.IsZero() || next.Equal(p.due) {
		return
	}
	p.due = next
	r := p.room
	p.after(next.Sub(p.clock()), func() {
		p.host.do(func() {
			if p.room == r && p.due.Equal(next) {
				p.due = time.Time{}
				_ = p.do(room.Control, room.Tick{}) // a closed room does nothing
			}
		})
	})
}

// follow makes connections, watchers and whoever waits follow the room.
func (p *pod) follow(events []room.Event) {
	for _, e := range events {
		switch e.Type {
		case room.EventMember:
			p.followMember(e)
		case room.EventLeft:
			c := p.members[e.Member.ID]
			if c == nil {
				c = p.conns[e.Member.Session]
			}
			p.end(c, e.Reason)
		}
	}
	for _, session := range slices.Sorted(maps.Keys(p.conns)) {
		if c := p.conns[session]; c.member == 0 && !p.room.Knows(session) {
			p.end(c, room.Replaced)
		}
	}
	p.history = append(p.history, events...)
	for i := range events {
		p.push(mediaapi.Frame{Event: &events[i]})
	}
	p.followPhase()
}

func (p *pod) followMember(e room.Event) {
	m := *e.Member
	c := p.conns[m.Session]
	if old := p.members[m.ID]; old != nil && old != c {
		p.end(old, room.Replaced)
	}
	if c == nil || !c.stands() {
		return
	}
	c.member, p.members[m.ID] = m.ID, c
	c.entered = c.entered || m.Status == room.Entered
}

// followPhase stops a pod whose room is closed, or sealed and empty.
func (p *pod) followPhase() {
	switch p.room.View().Phase {
	case room.Closed:
		for _, session := range slices.Sorted(maps.Keys(p.conns)) {
			p.end(p.conns[session], room.RoomClosed)
		}
	case room.Sealed:
		if len(p.conns) > 0 {
			return
		}
	default:
		return
	}
	p.after(0, func() { p.stop("it has nothing left to do") })
}

// audible are the members whose audio the pod forwards, and hearing those that get it.
func (p *pod) audible() []room.Mic {
	return slices.DeleteFunc(slices.Clone(p.room.View().Mics), func(mic room.Mic) bool {
		c := p.members[mic.Member]
		return c == nil || !c.entered || !mic.Live()
	})
}

// end takes a connection out, and tells its client why.
func (p *pod) end(c *conn, why room.Code) {
	if c == nil || p.conns[c.session] != c {
		return
	}
	p.forget(c)
	c.down.send(func() { c.client.hear(c, func() { c.bye = why }) })
}

func (p *pod) forget(c *conn) {
	delete(p.conns, c.session)
	if p.members[c.member] == c {
		delete(p.members, c.member)
	}
	c.entered = false
}

// stands says whether the media connection was made.
func (c *conn) stands() bool { return c.up != nil }

// connected is called once a session's media connection stands.
func (p *pod) connected(c *conn) {
	if p.conns[c.session] != c {
		return
	}
	c.up = p.network.stream(c.client.host, p.host)
	if err := p.do(room.Control, room.Associate{Session: c.session}); err != nil {
		p.end(c, codeOf(err))
		_ = p.do(room.Control, room.Fail{Session: c.session}) // the room may have forgotten it
		return
	}
	c.down.send(func() { c.client.hear(c, func() { c.welcome = true }) })
}

// disconnected is called when a connection has ended.
func (p *pod) disconnected(c *conn) {
	if p.conns[c.session] != c {
		return
	}
	associated := c.member != 0
	p.forget(c)
	var cmd room.Command = room.Fail{Session: c.session}
	if associated {
		cmd = room.Lost{Session: c.session}
	}
	if p.do(room.Control, cmd) != nil {
		p.followPhase()
	}
}

// at checks that a request is meant for the room's epoch.
func (p *pod) at(epoch uint64) error {
	if p.room == nil {
		return &room.Error{Code: mediaapi.NoRoom, Detail: "this pod has no room yet"}
	}
	switch here := p.room.View().Epoch; {
	case epoch < here:
		return &room.Error{Code: room.StaleEpoch, Detail: fmt.Sprintf("epoch %d is over", epoch)}
	case epoch > here:
		if err := p.do(room.Control, room.Seal{}); err != nil {
			return err
		}
		return &room.Error{Code: room.Moving, Detail: "the room has moved"}
	}
	return nil
}

// start makes a warm pod.
func (p *pod) start() {
	p.host.start()
	p.beat()
}

// beat does what is periodic.
func (p *pod) beat() {
	p.after(mediaapi.Heartbeat, func() {
		if !p.host.up {
			return
		}
		p.host.do(func() {
			p.push(mediaapi.Frame{})
			if p.room != nil && p.clock().Sub(p.lease) >= room.StopAfter {
				p.after(0, func() { p.stop("nobody renewed its lease") })
			}
		})
		p.beat()
	})
}

// stop ends the process: at once, with all that it knows.
func (p *pod) stop(why string) {
	if !p.host.up {
		return
	}
	p.note(p.name, "stops: %s", why)
	p.host.crash()
	p.check.died(p)
	p.kubeletSees(p)
}

func (p *pod) push(f mediaapi.Frame) {
	p.watchers = slices.DeleteFunc(p.watchers, func(w *watcher) bool { return w.broken })
	for _, w := range p.watchers {
		w.send(func() { w.deliver(f) })
	}
}

func (p *pod) snapshot() mediaapi.Frame { return mediaapi.Frame{Snapshot: p.room.State()} }

func codeOf(err error) room.Code {
	if e, ok := errors.AsType[*room.Error](err); ok {
		return e.Code
	}
	if err != nil {
		return room.Code(err.Error())
	}
	return "ok"
}

// command is how a command is traced.
func command(c room.Command) string {
	body := ""
	switch c := c.(type) {
	case room.Reserve:
		body = fmt.Sprintf(" %s %.6s invited %t", c.Subject, c.Session, !c.InvitedAt.IsZero())
	case room.Renew:
		body = fmt.Sprintf(" %d is durable", c.Durable)
	case room.SetSpec:
		body = fmt.Sprintf(" generation %d", c.Spec.Generation)
	default:
		b, _ := json.Marshal(c) // a command of the room always can be
		body = " " + string(b)
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", c), "room.") + body
}
