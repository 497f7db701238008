package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// pod is one media pod. It does with its room what package media does, without media.
type pod struct {
	pods            *pods
	name, uid, pool string
	addr            netip.Addr
	gone            chan struct{}

	mu       sync.Mutex
	conns    map[net.Conn]struct{} // nil: it is gone
	room     *room.Room            // nil until it is given one
	lease    time.Time
	durable  uint64
	tick     *time.Timer
	watchers map[*watcher]struct{}
	guests   int // that came by themselves
}

// watcher is one stream of the room. Its frames are guarded by the pod's lock.
type watcher struct {
	ready  chan struct{} // of capacity 1
	frames [][]byte
}

func newPod(f *pods, uid, pool string, addr netip.Addr) *pod {
	return &pod{pods: f, uid: uid, pool: pool, addr: addr, gone: make(chan struct{}), conns: map[net.Conn]struct{}{}, watchers: map[*watcher]struct{}{}}
}

// stop ends the pod as a kill of its process does.
func (p *pod) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.gone)
	if p.tick != nil {
		p.tick.Stop()
	}
	for conn := range p.conns {
		reset(conn)
	}
	p.conns = nil
}

// hold takes a connection. It is false if the pod is gone.
func (p *pod) hold(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns != nil {
		p.conns[conn] = struct{}{}
	}
	return p.conns != nil
}

func (p *pod) release(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}

// put gives the pod its room, or the room a newer spec.
func (p *pod) put(r mediaapi.PutRequest) (*room.State, error) {
	if r.ID.UID == "" || r.Epoch == 0 {
		return nil, &room.Error{Code: mediaapi.BadRequest, Detail: "a room needs a UID and an epoch"}
	}
	switch {
	case p.room == nil, p.room.View().ID.UID == r.ID.UID && r.Epoch > p.room.View().Epoch && p.room.View().Phase == room.Prepared:
		p.room = room.New(r.ID, r.Epoch, r.Spec, r.Seed, p.pods.now())
		p.show(nil, true)
	case p.room.View().ID.UID != r.ID.UID:
		return nil, &room.Error{Code: mediaapi.OtherRoom, Detail: "this pod is bound to another room"}
	}
	if err := p.at(r.Epoch); err != nil {
		return nil, err
	}
	if err := p.do(room.SetSpec{Spec: r.Spec}); err != nil {
		return nil, err
	}
	return p.room.State(), nil
}

// at checks the epoch that a request is meant for.
func (p *pod) at(epoch uint64) error {
	if p.room == nil {
		return &room.Error{Code: mediaapi.NoRoom, Detail: "this pod has no room yet"}
	}
	switch here := p.room.View().Epoch; {
	case epoch != 0 && epoch < here:
		return &room.Error{Code: room.StaleEpoch, Detail: fmt.Sprintf("epoch %d is over; the room is at %d", epoch, here)}
	case epoch > here:
		if err := p.do(room.Seal{}); err != nil {
			return err
		}
		return &room.Error{Code: room.Moving, Detail: "the room has moved to another media pod; ask again"}
	}
	return nil
}

// do gives the room a command of the control plane, and shows what it did.
func (p *pod) do(c room.Command) error {
	events, err := p.room.Do(p.pods.now(), room.Control, c)
	p.show(events, false)
	p.wait()
	return err
}

// wait has the room told when time alone changes it.
func (p *pod) wait() {
	next := p.room.Next()
	switch {
	case next.IsZero() && p.tick != nil:
		p.tick.Stop()
	case next.IsZero():
	case p.tick == nil:
		p.tick = time.AfterFunc(next.Sub(p.pods.now()), func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.conns != nil {
				_ = p.do(room.Tick{}) // refused only once the room is closed
			}
		})
	default:
		p.tick.Reset(next.Sub(p.pods.now()))
	}
}

// renew is the operator's or a gateway's word that strangers may come in.
func (p *pod) renew(r mediaapi.LeaseRequest) error {
	if err := p.at(r.Epoch); err != nil {
		return err
	}
	p.lease = p.pods.now().Add(mediaapi.Lease)
	p.durable = max(p.durable, min(r.Seq, p.room.View().Seq))
	if err := p.do(room.Renew{Until: p.lease, Durable: p.durable}); err != nil {
		return err
	}
	if s := p.room.View(); s.Phase == room.Prepared && len(s.Members) == 0 && p.pods.ownersCome.Load() {
		return p.come(s.Settings.Owner, "owner")
	}
	return nil
}

// come brings a subject as far as a client comes without feedback: its media connection
// stands, and it waits to enter.
func (p *pod) come(subject, session string) error {
	for _, c := range []room.Command{room.Reserve{Subject: subject, Session: session, Name: subject}, room.Open{Session: session}, room.Associate{Session: session}} {
		if err := p.do(c); err != nil {
			return fmt.Errorf("bringing %s in: %w", subject, err)
		}
	}
	return nil
}

// comeMore brings in members that were not here before.
func (p *pod) comeMore(n int) error {
	for range n {
		p.guests++
		name := fmt.Sprintf("key:fake:member-%d", p.guests)
		if err := p.come(name, name); err != nil {
			return err
		}
	}
	return nil
}

// command gives a command for the control plane or one of the members.
func (p *pod) command(r mediaapi.CommandRequest) (*mediaapi.CommandResult, error) {
	if err := p.at(r.Epoch); err != nil {
		return nil, err
	}
	c, err := room.Decode(r.Type, r.Body)
	if err != nil {
		return nil, err
	}
	var named struct {
		Session string `json:"session"`
		Member  uint32 `json:"member"`
	}
	_ = json.Unmarshal(r.Body, &named) // room.Decode has read it; a command without these names nobody
	if r.As != "" {
		named.Session = r.As
	}
	m, known := p.room.Session(named.Session)
	if !known {
		m, known = p.room.View().Member(named.Member)
	}
	events, err := p.room.Do(p.pods.now(), room.Actor{Session: r.As}, c)
	p.show(events, false)
	p.wait()
	if err != nil {
		return nil, err
	}
	s := p.room.View()
	result := &mediaapi.CommandResult{Epoch: s.Epoch, Seq: s.Seq, Durable: s.Seq <= p.durable, ActivatedAt: s.ActivatedAt}
	if known {
		if now, ok := s.Member(m.ID); ok {
			m = now
		}
		result.Member, result.Mic = &m, micOf(s, m.ID)
	}
	return result, nil
}

func micOf(s *room.State, member uint32) *room.Mic {
	if m, ok := s.Mic(member); ok {
		return &m
	}
	return nil
}

// info is the member that find finds.
func (p *pod) info(epoch uint64, find func() (room.Member, bool), otherwise room.Code) (*mediaapi.SessionInfo, error) {
	if err := p.at(epoch); err != nil {
		return nil, err
	}
	m, ok := find()
	if !ok {
		return nil, &room.Error{Code: otherwise, Detail: "there is no such member"}
	}
	s := p.room.View()
	return &mediaapi.SessionInfo{Epoch: s.Epoch, Seq: s.Seq, Member: m, Mic: micOf(s, m.ID), ActivatedAt: s.ActivatedAt}, nil
}

// reserve takes a place.
func (p *pod) reserve(r mediaapi.ReserveRequest) (*mediaapi.Reservation, error) {
	if err := p.at(r.Epoch); err != nil {
		return nil, err
	}
	if err := p.do(r.Reserve); err != nil {
		return nil, err
	}
	m, ok := p.room.Subject(r.Subject)
	if !ok {
		return nil, errors.New("a place was taken but is not there")
	}
	s := p.room.View()
	return &mediaapi.Reservation{Epoch: s.Epoch, Member: m, ExpiresAt: p.pods.now().Add(room.ReservationTTL), Members: len(s.Members)}, nil
}

// show gives events to the watchers, or the whole room.
func (p *pod) show(events []room.Event, whole bool) {
	for w := range p.watchers {
		if whole {
			w.frames = append(w.frames, line(mediaapi.Frame{Snapshot: p.room.View()}))
		}
		for i := range events {
			w.frames = append(w.frames, line(mediaapi.Frame{Event: &events[i]}))
		}
		select {
		case w.ready <- struct{}{}:
		default:
		}
	}
}

func line(f mediaapi.Frame) []byte {
	b, err := json.Marshal(f)
	if err != nil {
		panic(err) // its types are strings, numbers and times
	}
	return append(b, '\n')
}

// watch begins a stream: with the whole room, unless the watcher has all of it.
func (p *pod) watch(epoch, after uint64) (*watcher, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.at(epoch); err != nil {
		return nil, err
	}
	s, first := p.room.View(), mediaapi.Frame{}
	if epoch == 0 || after != s.Seq || after == 0 {
		first.Snapshot = s
	}
	w := &watcher{ready: make(chan struct{}, 1), frames: [][]byte{line(first)}}
	p.watchers[w] = struct{}{}
	return w, nil
}

func (p *pod) unwatch(w *watcher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.watchers, w)
}

// take empties a watcher.
func (p *pod) take(w *watcher) [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	frames := w.frames
	w.frames = nil
	return frames
}
