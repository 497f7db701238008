package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// put gives the pod its room, or the room a newer spec.
func (p *pod) put(r mediaapi.PutRequest) (*room.State, error) {
	if err := p.bind(r); err != nil {
		return nil, err
	}
	if err := p.do(room.Control, room.SetSpec{Spec: r.Spec}); err != nil {
		return nil, err
	}
	return p.room.State(), nil
}

// bind makes the room of a request the one that is here.
func (p *pod) bind(r mediaapi.PutRequest) error {
	if p.room == nil {
		p.open(r)
		return nil
	}
	if here := p.room.View(); r.Epoch > here.Epoch && here.Phase == room.Prepared && len(p.conns) == 0 {
		p.open(r)
		return nil
	}
	return p.at(r.Epoch)
}

func (p *pod) open(r mediaapi.PutRequest) {
	now, seed := p.clock(), r.Seed
	if seed != nil {
		seed = p.mutation.seed(seed)
	}
	since := now
	if p.mutation == outwaited {
		since = now.Add(mediaapi.Lease - room.Outlived)
	}
	p.room, p.lease, p.due = room.New(r.ID, r.Epoch, r.Spec, seed, since), now, time.Time{}
	p.history, p.durable, p.awaiting = nil, 0, nil
	p.note(p.name, "has the room: epoch %d, seeded with %s", r.Epoch, seedOf(r.Seed))
	p.check.opened(p, r)
	p.push(p.snapshot())
	p.plan()
	if p.mutation == seedless && r.Seed == nil {
		_ = p.do(room.Control, room.ReleaseHeld{})
	}
}

func seedOf(s *room.State) string {
	if s == nil {
		return "nothing"
	}
	return fmt.Sprintf("%d.%d: %d members, %d records", s.Epoch, s.Seq, len(s.Members), len(s.Records))
}

func (p *pod) get(epoch uint64) (*room.State, error) {
	if err := p.at(epoch); err != nil {
		return nil, err
	}
	return p.room.State(), nil
}

func (p *pod) info(epoch uint64, otherwise room.Code, find func(*room.State) (room.Member, bool)) (*mediaapi.SessionInfo, error) {
	if err := p.at(epoch); err != nil {
		return nil, err
	}
	s := p.room.View()
	m, ok := find(s)
	if !ok {
		return nil, &room.Error{Code: otherwise, Detail: "there is none"}
	}
	return &mediaapi.SessionInfo{Epoch: s.Epoch, Seq: s.Seq, Member: m, Mic: micOf(s, m.ID), ActivatedAt: s.ActivatedAt}, nil
}

func micOf(s *room.State, member uint32) *room.Mic {
	if m, ok := s.Mic(member); ok {
		return &m
	}
	return nil
}

func (p *pod) reserve(r mediaapi.ReserveRequest) (*mediaapi.Reservation, error) {
	if err := p.at(r.Epoch); err != nil {
		return nil, err
	}
	switch p.mutation {
	case ownLease:
		_ = p.do(room.Control, room.Renew{Until: p.clock().Add(mediaapi.Lease)})
	case freely:
		_ = p.do(room.Control, room.Renew{Durable: p.room.View().Seq})
	}
	if err := p.do(room.Control, r.Reserve); err != nil {
		return nil, err
	}
	state := p.room.View()
	m, _ := state.Subject(r.Subject)
	return &mediaapi.Reservation{Epoch: state.Epoch, Member: m, ExpiresAt: p.clock().Add(room.ReservationTTL), Members: len(state.Members)}, nil
}

// command gives a command, and answers when its events are durable if that is asked for.
func (p *pod) command(epoch uint64, as string, c room.Command, wait bool, answer answer[*mediaapi.CommandResult]) {
	if err := p.at(epoch); err != nil {
		answer(nil, err)
		return
	}
	state := p.room.View()
	m, known := p.concerned(state, as, c)
	if err := p.do(room.Actor{Session: as}, c); err != nil {
		answer(nil, err)
		return
	}
	result := &mediaapi.CommandResult{Epoch: state.Epoch, Seq: state.Seq, Durable: p.durable >= state.Seq || p.mutation == boastful, ActivatedAt: state.ActivatedAt}
	if known {
		if now, ok := state.Member(m.ID); ok {
			m = now
		}
		result.Member, result.Mic = &m, micOf(state, m.ID)
	}
	tell := func(durable bool) {
		if result.Durable = durable; durable {
			p.check.durable(p, c, result)
			p.kicked(p, c)
		}
		answer(result, nil)
	}
	if !wait || result.Durable {
		tell(result.Durable)
		return
	}
	p.await(result.Seq, tell)
}

// await tells whether events became durable before the caller has waited for too long.
func (p *pod) await(seq uint64, tell func(bool)) {
	told := false
	once := func(durable bool) {
		if !told {
			told = true
			tell(durable)
		}
	}
	p.awaiting = append(p.awaiting, await{seq, once})
	p.after(mediaapi.AwaitTime, func() { p.host.do(func() { once(false) }) })
}

func (p *pod) concerned(s *room.State, as string, c room.Command) (room.Member, bool) {
	switch c := c.(type) {
	case room.Enter:
		return s.Session(c.Session)
	case room.Fail:
		return s.Session(c.Session)
	case room.Leave:
		if as == "" {
			return s.Session(c.Session)
		}
	case room.Kick:
		if as == "" {
			return s.Member(c.Member)
		}
	}
	return s.Session(as)
}

// renew lets strangers in for another lease, and notes what is durable.
func (p *pod) renew(r mediaapi.LeaseRequest, from string) error {
	if err := p.at(r.Epoch); err != nil {
		return err
	}
	if seq := min(r.Seq, p.room.View().Seq); seq > p.durable {
		p.durable, p.holder = seq, from
	}
	p.awaiting = slices.DeleteFunc(p.awaiting, func(a await) bool {
		if a.seq > p.durable {
			return false
		}
		a.tell(true)
		return true
	})
	until := p.clock().Add(mediaapi.Lease)
	if err := p.do(room.Control, room.Renew{Until: until, Durable: min(r.Seq, p.room.View().Seq)}); err != nil {
		return err
	}
	p.lease = until
	p.check.renewed(p)
	return nil
}

// signal opens a session with a room token, and returns its connection, which does not
// stand yet.
func (p *pod) signal(c *client, epoch uint64, bearer string) (*conn, error) {
	if err := p.at(epoch); err != nil {
		return nil, err
	}
	t, err := p.verifier.Room(bearer, p.room.View().ID.UID, epoch)
	if err != nil {
		return nil, &room.Error{Code: mediaapi.TokenCode(err), Detail: err.Error()}
	}
	if err := p.do(room.Control, room.Open{Session: t.Session, Key: t.Key}); err != nil {
		return nil, err
	}
	p.check.spent(p, t)
	link := &conn{client: c, pod: p, session: t.Session, down: p.network.stream(p.host, c.host)}
	p.conns[t.Session] = link
	p.after(handshakeTimeout, func() {
		p.host.do(func() {
			if !link.stands() {
				p.disconnected(link)
			}
		})
	})
	return link, nil
}

const handshakeTimeout = 10 * time.Second

// watch sends a host what happens in the room, from after an event on if it is remembered.
func (p *pod) watch(epoch, after uint64, to *host, deliver func(mediaapi.Frame)) error {
	if err := p.at(epoch); err != nil {
		return err
	}
	w := &watcher{stream: p.network.stream(p.host, to), deliver: deliver}
	p.watchers = append(p.watchers, w)
	if after == 0 || after > uint64(len(p.history)) {
		f := p.snapshot()
		w.send(func() { w.deliver(f) })
		return nil
	}
	for i := range p.history[after:] {
		f := mediaapi.Frame{Event: &p.history[after:][i]}
		w.send(func() { w.deliver(f) })
	}
	return nil
}

// podClient calls a pod for one process. It is an admission.Pod.
type podClient struct {
	*world
	p  *process
	at *pod
}

const podTimeout = 5 * time.Second

var errNoPod = errors.New("no such host")

func (w *world) dial(p *process, name string) podClient { return podClient{w, p, w.pods[name]} }

func podCall[T any](c podClient, timeout time.Duration, serve func(answer[T])) (T, error) {
	if c.at == nil {
		var out T
		return out, errNoPod
	}
	return call(c.p, c.network, c.at.host, timeout, serve)
}

func (c podClient) Get(_ context.Context, epoch uint64) (*room.State, error) {
	return podCall(c, podTimeout, func(answer answer[*room.State]) { answer(c.at.get(epoch)) })
}

func (c podClient) Session(_ context.Context, epoch uint64, session string) (*mediaapi.SessionInfo, error) {
	return podCall(c, podTimeout, func(answer answer[*mediaapi.SessionInfo]) {
		answer(c.at.info(epoch, room.UnknownSession, func(s *room.State) (room.Member, bool) { return s.Session(session) }))
	})
}

func (c podClient) Subject(_ context.Context, epoch uint64, subject string) (*mediaapi.SessionInfo, error) {
	return podCall(c, podTimeout, func(answer answer[*mediaapi.SessionInfo]) {
		answer(c.at.info(epoch, room.UnknownMember, func(s *room.State) (room.Member, bool) { return s.Subject(subject) }))
	})
}

func (c podClient) Reserve(_ context.Context, r mediaapi.ReserveRequest) (*mediaapi.Reservation, error) {
	return podCall(c, podTimeout, func(answer answer[*mediaapi.Reservation]) { answer(c.at.reserve(r)) })
}

func (c podClient) Command(_ context.Context, epoch uint64, as string, cmd room.Command) (*mediaapi.CommandResult, error) {
	return c.command(epoch, as, cmd, false)
}

func (c podClient) command(epoch uint64, as string, cmd room.Command, wait bool) (*mediaapi.CommandResult, error) {
	return podCall(c, podTimeout, func(answer answer[*mediaapi.CommandResult]) { c.at.command(epoch, as, cmd, wait, answer) })
}

func (c podClient) renew(r mediaapi.LeaseRequest) error {
	_, err := podCall(c, 2*time.Second, func(answer answer[none]) { answer(none{}, c.at.renew(r, c.p.host.incarnation())) })
	return err
}

func (c podClient) put(r mediaapi.PutRequest) (*room.State, error) {
	return podCall(c, putTimeout, func(answer answer[*room.State]) { answer(c.at.put(r)) })
}

func (c podClient) signal(by *client, epoch uint64, bearer string) (*conn, error) {
	return podCall(c, podTimeout, func(answer answer[*conn]) { answer(c.at.signal(by, epoch, bearer)) })
}
