package weak

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"voiceroom.dev/voiceroom/hack/lossy"
)

// Options are what all rooms of a run share.
type Options struct {
	Warmup   time.Duration // from when networks are weak until it is measured; 0: 15 s
	Duration time.Duration // of the measurement; 0: 10 s
	Seed     uint64        // of what is lost
	// Tap sees what a pod sends to a listener, before it is lost or not; nil: nobody does. It is called by several
	// goroutines, and may not keep the bytes.
	Tap func(room, listener int, packet []byte)
}

const (
	defaultWarmup   = 15 * time.Second // browsers report losses every 5 s, and reports are lost too
	defaultDuration = 10 * time.Second
	setupTime       = 60 * time.Second // for browsers to start and clients to connect
)

// Run opens the rooms, lets browsers talk and listen there, and returns what each listener of each room heard.
func Run(ctx context.Context, rooms []Room, o Options) (results [][]Result, err error) {
	if o.Warmup == 0 {
		o.Warmup = defaultWarmup
	}
	if o.Duration == 0 {
		o.Duration = defaultDuration
	}
	ctx, cancel := context.WithTimeout(ctx, setupTime+o.Warmup+o.Duration)
	defer cancel()
	scratch, err := os.MkdirTemp("", "voiceroom-weak-")
	if err != nil {
		return nil, fmt.Errorf("making a place for keys and profiles: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	s := newStage(o)
	defer func() { err = errors.Join(err, s.close()) }()
	for i, r := range rooms {
		if err := s.open(ctx, filepath.Join(scratch, fmt.Sprint("room-", i)), r); err != nil {
			return nil, fmt.Errorf("opening room %d: %w", i, err)
		}
	}
	return s.perform(ctx, scratch)
}

// hall is a room that is open.
type hall struct {
	Room
	pod     *pod
	seats   []*seat       // the talker's, then the listeners'
	talking chan struct{} // closed when the talker has entered
}

// seat is a client's place, with a network of its own.
type seat struct {
	subject string
	relay   *lossy.Relay
	network lossy.Network // once it is weak
}

// open opens a room; dir is for its keys.
func (s *stage) open(ctx context.Context, dir string, r Room) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	p, err := startPod(ctx, dir, r.Tick)
	if err != nil {
		return err
	}
	number := len(s.halls)
	h := &hall{Room: r, pod: p, talking: make(chan struct{})}
	s.halls = append(s.halls, h) // from here on close closes it
	if err := h.sit(owner, r.Talker.Network, s.seed(), nil); err != nil {
		return err
	}
	for i, l := range r.Listeners {
		var tap func(int, bool, []byte)
		if s.options.Tap != nil {
			tap = func(_ int, down bool, packet []byte) {
				if down {
					s.options.Tap(number, i, packet)
				}
			}
		}
		if err := h.sit(fmt.Sprint("listener-", i), l.Network, s.seed(), tap); err != nil {
			return err
		}
	}
	return nil
}

// sit makes a seat.
func (h *hall) sit(subject string, network lossy.Network, seed uint64, tap func(int, bool, []byte)) error {
	at := h.pod.server.MediaAddr()
	relay, err := lossy.Listen(lossy.Config{Listen: netip.AddrPortFrom(at.Addr(), 0), To: at, Seed: seed, Tap: tap})
	if err != nil {
		return err
	}
	h.seats = append(h.seats, &seat{subject: subject, relay: relay, network: network})
	return nil
}

// weaken gives every client the network that it is to have.
func (h *hall) weaken() error {
	for _, s := range h.seats {
		if err := s.relay.Set(s.network, s.network); err != nil {
			return fmt.Errorf("weakening the network of %s: %w", s.subject, err)
		}
	}
	return nil
}

func (h *hall) close() error {
	for _, s := range h.seats {
		s.relay.Close()
	}
	return h.pod.close()
}
