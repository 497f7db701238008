//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"voiceroom.dev/voiceroom/test/bench/media/client"
)

const (
	// settle is how long everybody has talked when a round begins.
	settle = 700 * time.Millisecond
	// joinTime is how long a client may take to come in, on a machine that does much else.
	joinTime = 30 * time.Second
	// joiners is how many come in at once.
	joiners = 8

	// mostLost is the share of packets that a round may lose, and least the share of what was to be sent that
	// must have been: a round that missed either measured something else.
	mostLost, least = 0.001, 0.95
)

// server is what is measured, in a process of its own.
type server interface {
	// join lets a client in, as a talker by its number, or as a listener (-1). Then it hears everybody.
	join(ctx context.Context, c *client.Client, talker int) error
	cpu() (time.Duration, error)
	stop()
}

// player makes the talkers of a server talk.
type player interface {
	play(ctx context.Context) (stop func() error, err error)
}

// stage is a server with its clients.
type stage struct {
	server
	player
	mode      *mode
	count     int // of talkers
	talkers   []*client.Client
	listeners []*client.Client
}

// slots is how many talkers a listener can hear at a time.
func (s *stage) slots(others int) int {
	if s.mode.slots > 0 {
		return min(s.mode.slots, others)
	}
	return others
}

// newClient makes a client that is closed with the stage.
func (s *stage) newClient(o client.Options) (*client.Client, error) {
	o.NoGRO = !s.mode.gro
	return client.New(o)
}

// enter brings the talkers in.
func (s *stage) enter(ctx context.Context) error {
	for t := range s.count {
		c, err := s.newClient(client.Options{Uplink: true, Slots: s.slots(s.count - 1), Data: true})
		if err != nil {
			return err
		}
		s.talkers = append(s.talkers, c)
		if err := s.admit(ctx, c, t); err != nil {
			return err
		}
	}
	return nil
}

// fill brings listeners in until there are so many.
func (s *stage) fill(ctx context.Context, listeners int) error {
	var joining errgroup.Group
	joining.SetLimit(joiners)
	awake := len(s.listeners)
	for len(s.listeners) < listeners {
		c, err := s.newClient(client.Options{Uplink: true, Slots: s.slots(s.count), Data: true})
		if err != nil {
			return errors.Join(err, joining.Wait())
		}
		s.listeners = append(s.listeners, c)
		joining.Go(func() error { return s.admit(ctx, c, -1) })
	}
	if err := joining.Wait(); err != nil {
		return err
	}
	for _, c := range s.listeners[awake:] {
		if err := c.Doze(client.FrameTime); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) admit(ctx context.Context, c *client.Client, talker int) error {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	if err := s.join(ctx, c, talker); err != nil {
		return fmt.Errorf("%s: a client comes in: %w", s.mode.name, err)
	}
	return nil
}

// close ends server and clients.
func (s *stage) close() {
	s.stop() // before the clients, which would say goodbye one by one
	var closing errgroup.Group
	closing.SetLimit(joiners)
	for _, c := range slices.Concat(s.talkers, s.listeners) {
		closing.Go(func() error { c.Close(); return nil })
	}
	_ = closing.Wait()
}

// reading is what there was at one moment.
type reading struct {
	at                   time.Time
	server, own, machine time.Duration // CPU
	counts               client.Counts
}

func (s *stage) look() (r reading, err error) {
	r.at, r.own = time.Now(), ownCPU()
	if r.server, err = s.cpu(); err != nil {
		return r, err
	}
	if r.machine, err = machineCPU(); err != nil {
		return r, err
	}
	for _, c := range slices.Concat(s.talkers, s.listeners) {
		r.counts.Add(c.Counts())
	}
	return r, nil
}

// round is what was measured of a stage while everybody talked.
type round struct {
	counts client.Counts
	cpu    time.Duration // of the server
	took   time.Duration
	others float64 // cores that neither the server nor the load used
	short  float64 // share of the packets that should have been there
	// Latencies are those of who holds a microphone, and of the audience. The audience of a mix hears no frame
	// that says when it left: there it is from when somebody began to speak until the first packet.
	onMic, audience []time.Duration
}

// void says why a round counts for nothing; empty: it counts.
func (r *round) void() string {
	switch {
	case r.counts.Lost() > mostLost:
		return fmt.Sprintf("%.2f %% of packets were lost", 100*r.counts.Lost())
	case r.short < least:
		return fmt.Sprintf("only %.1f %% of packets were sent", 100*r.short)
	}
	return ""
}

// cost is the server's CPU time per packet, in microseconds.
func (r *round) cost() float64 {
	return float64(r.cpu.Nanoseconds()) / 1000 / float64(r.counts.Packets)
}

// measure measures one round: of a length or, if it is not nil, as long as during takes.
func (s *stage) measure(ctx context.Context, d time.Duration, during func() error) (_ *round, err error) {
	first := make([]<-chan time.Time, len(s.listeners))
	for i, c := range s.listeners {
		first[i] = c.Next()
	}
	began := time.Now()
	stop, err := s.play(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	latencies(s.talkers)
	latencies(s.listeners)
	before, err := s.look()
	if err != nil {
		return nil, err
	}
	if during != nil {
		err = during()
	} else {
		err = pause(ctx, d)
	}
	if err != nil {
		return nil, err
	}
	after, err := s.look()
	if err != nil {
		return nil, err
	}
	r := &round{counts: after.counts.Since(before.counts), cpu: after.server - before.server, took: after.at.Sub(before.at),
		onMic: latencies(s.talkers), audience: latencies(s.listeners)}
	r.others = max(0, (after.machine-before.machine-(after.own-before.own)-r.cpu).Seconds()/r.took.Seconds()) // the machine is read in steps of 10 ms
	if s.mode.mixed {
		r.audience = onsets(first, began)
	}
	r.short = float64(r.counts.Expected) / (s.due() * r.took.Seconds())
	return r, nil
}

// due is how many packets a second are to reach the clients.
func (s *stage) due() float64 {
	perListener := s.slots(s.count)
	if s.mode.mixed {
		perListener = 1
	}
	streams := len(s.listeners)*perListener + len(s.talkers)*s.slots(s.count-1)
	return float64(streams) * float64(time.Second/client.FrameTime)
}

// onsets are how long it took until somebody was heard who began to speak.
func onsets(first []<-chan time.Time, began time.Time) []time.Duration {
	var all []time.Duration
	for _, f := range first {
		select {
		case at := <-f:
			all = append(all, at.Sub(began))
		default:
		}
	}
	return all
}

func latencies(clients []*client.Client) []time.Duration {
	var all []time.Duration
	for _, c := range clients {
		all = append(all, c.Latencies()...)
	}
	return all
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
