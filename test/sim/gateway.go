package sim

import (
	"context"
	"errors"
	"time"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// handleTimeout is how long a caller waits for a gateway.
const handleTimeout = 8 * time.Second

var errNotReady = errors.New("the room is being prepared")

// gateway is one replica. It does one thing at a time: callers of one admission.Desk may
// wait for each other, which a coroutine must not; several replicas are at work at once.
// Keep it like gateway/join.go, place.go and rtc.go.
type gateway struct {
	*world
	host   *host
	cache  *cache
	desk   *admission.Desk
	proven map[proof]token.Room
	inbox  []job
	come   func() // wakes who waits for jobs
}

type job struct {
	came time.Time
	run  func(p *process)
}

func (g *gateway) start() {
	g.host.start()
	g.inbox, g.come, g.proven = nil, func() {}, map[proof]token.Room{}
	g.cache = g.cluster.follow(g.host, func() {})
	g.desk = g.newDesk()
	g.spawn(g.host, g.work)
}

func (g *gateway) stop() {
	g.note(g.host.name, "stops")
	g.cluster.unfollow(g.host)
	g.host.crash()
	g.after(restart, g.start)
}

func (g *gateway) work(p *process) {
	for {
		for len(g.inbox) == 0 {
			g.come = p.waker()
			p.wait()
		}
		next := g.inbox[0]
		g.inbox = g.inbox[1:]
		if g.now.Sub(next.came) < handleTimeout { // or nobody waits any more
			next.run(p)
		}
	}
}

// through asks a gateway for something.
func through[T any](p *process, g *gateway, f func(*process, *gateway) (T, error)) (T, error) {
	return call(p, g.network, g.host, handleTimeout, func(answer answer[T]) {
		g.inbox = append(g.inbox, job{g.now, func(worker *process) { answer(f(worker, g)) }})
		g.come()
	})
}

// locate says where the room is, as far as the gateway knows.
func (g *gateway) locate(p *process) (admission.Room, roomStatus, error) {
	vr := g.cache.room
	if vr.status.pod == "" {
		return admission.Room{}, vr.status, errNotReady
	}
	return g.admission(p, vr), vr.status, nil
}

// join takes a place, for a proven subject.
func (g *gateway) join(p *process, req admission.Request) (admission.Grant, error) {
	r, where, err := g.locate(p)
	if err != nil {
		return admission.Grant{}, err
	}
	grant, err := g.desk.Join(context.Background(), r, req)
	if errors.Is(err, &admission.Error{Code: room.Frozen}) {
		if err := g.thaw(p, where); err != nil {
			return admission.Grant{}, err
		}
		grant, err = g.desk.Join(context.Background(), r, req)
	}
	if err == nil {
		g.note(g.host.name, "grants %s the session %.6s of epoch %d", req.Subject, grant.Session, grant.Epoch)
		g.check.issued(grant, req)
	}
	return grant, err
}

// thaw renews a pod's admission lease, if the API server itself says that the room is
// still there.
func (g *gateway) thaw(p *process, where roomStatus) error {
	if g.mutation != cachedThaw {
		now, err := g.cluster.live(p)
		if err != nil {
			return err
		}
		if now.status.pod != where.pod || now.status.epoch != where.epoch {
			return &room.Error{Code: room.Moving, Detail: "ask again"}
		}
	}
	g.check.thawing(g, where)
	return g.dial(p, where.pod).renew(mediaapi.LeaseRequest{Epoch: where.epoch})
}

// proof is a room token that was verified for an epoch, whether it has expired or not. That
// stays so, and to do it again would take a tenth of a seed's time.
type proof struct {
	bearer string
	epoch  uint64
}

// inRoom is locate for who shows a room token, which may have expired.
func (g *gateway) inRoom(p *process, bearer string) (admission.Room, roomStatus, token.Room, error) {
	r, where, err := g.locate(p)
	if err != nil {
		return r, where, token.Room{}, err
	}
	t, known := g.proven[proof{bearer, r.Epoch}]
	if known {
		return r, where, t, nil
	}
	if t, err = g.verifier(g.host).RoomExpired(bearer, g.id.UID, r.Epoch); err != nil {
		return r, where, t, &room.Error{Code: mediaapi.TokenCode(err), Detail: err.Error()}
	}
	g.proven[proof{bearer, r.Epoch}] = t
	return r, where, t, nil
}

// offer passes a client's offer on to the pod.
func (g *gateway) offer(p *process, by *client, bearer string) (*conn, error) {
	r, where, err := g.locate(p)
	if err != nil {
		return nil, err
	}
	link, err := g.dial(p, where.pod).signal(by, r.Epoch, bearer)
	if err != nil {
		return nil, admission.FromPod("opening a session", err)
	}
	return link, nil
}

// feedback hears how an association came out.
func (g *gateway) feedback(p *process, bearer string, failed bool) (none, error) {
	r, _, t, err := g.inRoom(p, bearer)
	if err != nil {
		return none{}, err
	}
	if failed {
		return none{}, g.desk.Failed(context.Background(), r, t.Session)
	}
	_, err = g.desk.Confirm(context.Background(), r, t.Session)
	return none{}, err
}

// leave ends a session.
func (g *gateway) leave(p *process, bearer string) (none, error) {
	r, _, t, err := g.inRoom(p, bearer)
	if err != nil {
		return none{}, err
	}
	return none{}, g.desk.Leave(context.Background(), r, t.Session)
}

// command gives a command for a session, and may wait until it is durable.
func (g *gateway) command(p *process, bearer string, c room.Command, wait bool) (*mediaapi.CommandResult, error) {
	r, where, t, err := g.inRoom(p, bearer)
	if err != nil {
		return nil, err
	}
	return g.dial(p, where.pod).command(r.Epoch, t.Session, c, wait)
}
