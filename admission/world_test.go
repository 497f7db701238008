package admission_test

import (
	"context"
	"crypto/rand"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/nats"
	"voiceroom.dev/voiceroom/chat/nats/natsserver"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// natsURL is the chat server of this package's tests.
var natsURL string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "admission")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		server, err := natsserver.Start(context.Background(), natsserver.Config{StoreDir: dir})
		if err != nil {
			panic(err)
		}
		natsURL = server.URL()
		code := m.Run()
		server.Shutdown()
		if err := goleak.Find(); err != nil && code == 0 {
			_, _ = os.Stderr.WriteString(err.Error())
			return 1
		}
		return code
	}())
}

const (
	owner = "key:shop:ann"
	epoch = 3
)

// pod is a media pod without media: the real room, one command at a time.
type pod struct {
	mu   sync.Mutex
	room *room.Room
	now  func() time.Time

	// before is called before each call, without the lock; it may fail it.
	before func(call string) error
}

func (p *pod) call(name string) error {
	if p.before != nil {
		return p.before(name)
	}
	return nil
}

func (p *pod) do(by room.Actor, c room.Command) (*room.State, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.room.Do(p.now(), by, c); err != nil {
		return nil, err
	}
	return p.room.State(), nil
}

func (p *pod) Get(_ context.Context, at uint64) (*room.State, error) {
	if err := p.call("get"); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if at != epoch {
		return nil, &room.Error{Code: room.StaleEpoch}
	}
	return p.room.State(), nil
}

func (p *pod) Reserve(_ context.Context, r mediaapi.ReserveRequest) (*mediaapi.Reservation, error) {
	if err := p.call("reserve"); err != nil {
		return nil, err
	}
	state, err := p.do(room.Control, r.Reserve)
	if err != nil {
		return nil, err
	}
	m, _ := state.Subject(r.Subject)
	res := &mediaapi.Reservation{Epoch: epoch, Member: m, Members: len(state.Members)}
	if m.Deadline != nil {
		res.ExpiresAt = *m.Deadline
	}
	return res, nil
}

func (p *pod) Session(_ context.Context, _ uint64, session string) (*mediaapi.SessionInfo, error) {
	return p.info("session", room.UnknownSession, func(s *room.State) (room.Member, bool) { return s.Session(session) })
}

func (p *pod) Subject(_ context.Context, _ uint64, subject string) (*mediaapi.SessionInfo, error) {
	return p.info("subject", room.UnknownMember, func(s *room.State) (room.Member, bool) { return s.Subject(subject) })
}

func (p *pod) info(call string, otherwise room.Code, find func(*room.State) (room.Member, bool)) (*mediaapi.SessionInfo, error) {
	if err := p.call(call); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.room.View()
	m, ok := find(s)
	if !ok {
		return nil, &room.Error{Code: otherwise}
	}
	info := &mediaapi.SessionInfo{Epoch: s.Epoch, Seq: s.Seq, Member: m, ActivatedAt: s.ActivatedAt}
	if mic, on := s.Mic(m.ID); on {
		info.Mic = &mic
	}
	return info, nil
}

func (p *pod) Command(_ context.Context, _ uint64, as string, c room.Command) (*mediaapi.CommandResult, error) {
	if err := p.call("command"); err != nil {
		return nil, err
	}
	session := as
	switch c := c.(type) {
	case room.Enter:
		session = c.Session
	case room.Fail:
		session = c.Session
	case room.Leave:
		session = c.Session
	}
	p.mu.Lock()
	m, known := p.room.View().Session(session)
	p.mu.Unlock()
	state, err := p.do(room.Actor{Session: as}, c)
	if err != nil {
		return nil, err
	}
	result := &mediaapi.CommandResult{Epoch: epoch, Seq: state.Seq, ActivatedAt: state.ActivatedAt}
	if known {
		if now, ok := state.Member(m.ID); ok {
			m = now
		}
		result.Member = &m
		if mic, on := state.Mic(m.ID); on {
			result.Mic = &mic
		}
	}
	return result, nil
}

// world is a room with its group at a real chat server.
type world struct {
	t    *testing.T
	pod  *pod
	chat *nats.Provider
	desk *admission.Desk
	room admission.Room
	keys *token.PublicSet
}

func newWorld(t *testing.T, maxMembers int) *world {
	t.Helper()
	provider, err := nats.New(nats.Config{URL: natsURL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = provider.Close() })
	group, err := provider.CreateGroup(t.Context(), rand.Text(), chat.GroupSpec{Name: "Room", Owner: owner, Limits: chat.Limits{MaxMembers: maxMembers, MaxMics: min(2, maxMembers)}})
	if err != nil {
		t.Fatal(err)
	}
	ring, _, err := (*token.Ring)(nil).Rotate(time.Now(), token.DefaultRotation, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := room.ID{UID: "uid-" + t.Name(), Namespace: "default", Name: "room", GroupID: group.ID}
	spec := room.Spec{Generation: 1, Owner: owner, MaxMembers: maxMembers, MaxMics: min(2, maxMembers), Access: room.Public, MicPolicy: room.Auto}
	p := &pod{room: room.New(id, epoch, spec, nil, time.Now()), now: time.Now}
	w := &world{t: t, pod: p, chat: provider, keys: ring.Public(),
		desk: admission.New(token.NewMinter(func() *token.Ring { return ring }, time.Now, rand.Reader)),
		room: admission.Room{ID: id, Epoch: epoch, Pod: p, Chat: provider, MaxMembers: maxMembers}}
	w.do(room.Renew{Until: time.Now().Add(time.Hour)})
	w.do(room.ReleaseHeld{}) // there was no pod before it
	return w
}

// do gives the pod a command that must succeed.
func (w *world) do(c room.Command) {
	w.t.Helper()
	if _, err := w.pod.do(room.Control, c); err != nil {
		w.t.Fatalf("%T: %v", c, err)
	}
}

func (w *world) join(subject string) admission.Grant {
	w.t.Helper()
	grant, err := w.desk.Join(w.t.Context(), w.room, admission.Request{Subject: subject, Name: "N"})
	if err != nil {
		w.t.Fatalf("%s joins: %v", subject, err)
	}
	return grant
}

// associate joins, and lets the media connection stand.
func (w *world) associate(subject string) (session string) {
	w.t.Helper()
	session = w.join(subject).Session
	w.do(room.Open{Session: session})
	w.do(room.Associate{Session: session})
	return session
}

func (w *world) enter(subject string) admission.Entered {
	w.t.Helper()
	entered, err := w.desk.Confirm(w.t.Context(), w.room, w.associate(subject))
	if err != nil {
		w.t.Fatalf("%s enters: %v", subject, err)
	}
	return entered
}

func (w *world) group() chat.Group {
	w.t.Helper()
	group, err := w.chat.Group(w.t.Context(), w.room.ID.GroupID)
	if err != nil {
		w.t.Fatal(err)
	}
	return group
}

// listed are the subjects that the group has.
func (w *world) listed() map[string]bool {
	w.t.Helper()
	members, err := w.chat.Members(w.t.Context(), w.room.ID.GroupID)
	if err != nil {
		w.t.Fatal(err)
	}
	subjects := map[string]bool{}
	for _, m := range members {
		subjects[m.Subject] = true
	}
	return subjects
}

// list adds subjects to the group behind everybody's back.
func (w *world) list(subjects ...string) {
	w.t.Helper()
	for _, s := range subjects {
		if err := w.chat.AddMember(w.t.Context(), w.room.ID.GroupID, chat.Member{Subject: s}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// meddled is the real chat, with something that happens around its calls.
type meddled struct {
	chat.Provider
	before func(call string) error
}

func (m meddled) Members(ctx context.Context, id string) ([]chat.Member, error) {
	if err := m.before("members"); err != nil {
		return nil, err
	}
	return m.Provider.Members(ctx, id)
}

func (m meddled) AddMember(ctx context.Context, id string, member chat.Member) error {
	if err := m.before("add"); err != nil {
		return err
	}
	return m.Provider.AddMember(ctx, id, member)
}

func (m meddled) SetValid(ctx context.Context, id string) error {
	if err := m.before("valid"); err != nil {
		return err
	}
	return m.Provider.SetValid(ctx, id)
}

func (m meddled) RemoveMember(ctx context.Context, id, subject string) error {
	if err := m.before("remove"); err != nil {
		return err
	}
	return m.Provider.RemoveMember(ctx, id, subject)
}
