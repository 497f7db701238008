//go:build linux

package main

import (
	"context"
	"time"

	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/bench/media/client"
)

// mode is one way to bring a room's audio to its listeners.
type mode struct {
	name  string
	slots int  // of a listener, 0: one for each talker
	mixed bool // the audience hears one stream
	gro   bool // clients take whole runs
	only  func(talkers, listeners int) bool
	open  func(ctx context.Context, b *bench, talkers int) (server, error)
}

const defaultTick = 20 * time.Millisecond

// Names of modes that others refer to.
const (
	floorMode, forwardMode, loudestMode, mixMode, referenceMode = "floor", "forward", "loudest-3", "mix", "reference"
)

// modes are all of them, in the order of their turns.
func (b *bench) modes() []*mode {
	inRoom := func(tick time.Duration, audience room.AudienceMode) func(context.Context, *bench, int) (server, error) {
		return func(ctx context.Context, b *bench, talkers int) (server, error) {
			return b.startRoom(ctx, podOptions{talkers: talkers, tick: tick, audience: audience})
		}
	}
	once := func(talkers, listeners int) bool {
		return talkers == b.mostTalkers() && listeners == min(100, b.mostListeners())
	}
	all := []*mode{
		{name: floorMode, open: func(_ context.Context, b *bench, talkers int) (server, error) { return b.startFloor(talkers) }},
		{name: forwardMode, open: inRoom(defaultTick, room.Forward)},
		{name: loudestMode, slots: 3, open: inRoom(defaultTick, room.Forward), only: func(talkers, _ int) bool { return talkers > 3 }},
		{name: mixMode, mixed: true, open: inRoom(defaultTick, room.Mix)},
		{name: "forward, tick 10 ms", open: inRoom(10*time.Millisecond, room.Forward), only: once},
		{name: "forward, at once", open: inRoom(0, room.Forward), only: once},
		{name: referenceMode, open: func(_ context.Context, b *bench, talkers int) (server, error) { return b.startReference(talkers) }},
	}
	var chosen []*mode
	for _, m := range all {
		m.gro = b.gro
		if b.skip[m.name] {
			continue
		}
		if m.only == nil {
			m.only = func(int, int) bool { return true }
		}
		chosen = append(chosen, m)
	}
	return chosen
}

// openStage starts a mode's server with its talkers.
func (b *bench) openStage(ctx context.Context, m *mode, talkers int) (_ *stage, err error) {
	server, err := m.open(ctx, b, talkers)
	if err != nil {
		return nil, err
	}
	s := &stage{server: server, mode: m, count: talkers}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if f, ok := server.(*bare); ok {
		s.player = f
		return s, nil
	}
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	s.player = &choir{talkers: append([]*client.Client(nil), s.talkers...), frames: b.frames, stamp: !m.mixed}
	return s, nil
}
