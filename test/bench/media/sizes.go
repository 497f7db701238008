//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// point is what came of all rounds of a mode at a size.
type point struct {
	mode               *mode
	talkers, listeners int
	rounds             []*round // that count
	voided             []string // why others do not
}

// measureSizes measures every mode at every size, in turns.
func (b *bench) measureSizes(ctx context.Context) error {
	for _, talkers := range b.talkers {
		if err := b.measureTalkers(ctx, talkers); err != nil {
			return err
		}
	}
	return nil
}

// measureTalkers lets the audience of rooms grow.
func (b *bench) measureTalkers(ctx context.Context, talkers int) error {
	var stages []*stage
	defer func() {
		for _, s := range stages {
			s.close()
		}
	}()
	for _, listeners := range b.listeners {
		var here []*stage
		for _, m := range b.modes() {
			if !m.only(talkers, listeners) {
				continue
			}
			i := slices.IndexFunc(stages, func(s *stage) bool { return s.mode.name == m.name })
			if i < 0 {
				s, err := b.openStage(ctx, m, talkers)
				if err != nil {
					return err
				}
				i, stages = len(stages), append(stages, s)
			}
			if err := stages[i].fill(ctx, listeners); err != nil {
				return err
			}
			here = append(here, stages[i])
		}
		b.say("%d talkers and %d listeners are in, in %d rooms", talkers, listeners, len(here))
		if err := b.takeTurns(ctx, here, listeners); err != nil {
			return err
		}
	}
	return nil
}

// takeTurns measures stages round by round, one after the other.
func (b *bench) takeTurns(ctx context.Context, stages []*stage, listeners int) error {
	points := make([]*point, len(stages))
	for i, s := range stages {
		points[i] = &point{mode: s.mode, talkers: s.count, listeners: listeners}
	}
	for n := range 2 * b.rounds { // a round that is void is tried again
		for i, s := range stages {
			p := points[i]
			if len(p.rounds) == b.rounds || n >= b.rounds && s.mode.name == referenceMode { // which may be too slow for the machine
				continue
			}
			if err := b.takeTurn(ctx, s, p, n+1); err != nil {
				return fmt.Errorf("%s, %d talkers, %d listeners: %w", s.mode.name, s.count, listeners, err)
			}
		}
	}
	for _, p := range points {
		if len(p.rounds) == 0 && p.mode.name != referenceMode {
			b.unmeasured = append(b.unmeasured, fmt.Sprintf("%s, %d talkers, %d listeners", p.mode.name, p.talkers, p.listeners))
		}
	}
	b.points = append(b.points, points...)
	return nil
}

// takeTurn measures one round of a stage.
func (b *bench) takeTurn(ctx context.Context, s *stage, p *point, n int) error {
	r, err := s.measure(ctx, b.round, nil)
	if err != nil {
		return err
	}
	b.others = max(b.others, r.others)
	if why := r.void(); why != "" {
		p.voided = append(p.voided, why)
		b.say("round %d, %s: void, %s", n, s.mode.name, why)
		return nil
	}
	p.rounds = append(p.rounds, r)
	b.say("round %d, %s: %.2f us a packet, %.0f packets/s (others used %.2f cores)", n, s.mode.name, r.cost(), float64(r.counts.Packets)/r.took.Seconds(), r.others)
	return nil
}

// of returns a figure of the rounds that count, sorted.
func (p *point) of(figure func(*round) float64) []float64 {
	var all []float64
	for _, r := range p.rounds {
		all = append(all, figure(r))
	}
	slices.Sort(all)
	return all
}

// median is NaN-free: it is 0 of nothing.
func median(sorted []float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// cost is the median of what a packet costs, in microseconds; 0: it was not measured.
func (p *point) cost() float64 {
	if p == nil {
		return 0
	}
	return median(p.of((*round).cost))
}

// perCore is how many listeners one core serves, with all that goes with them.
func (p *point) perCore() float64 {
	if p == nil {
		return 0
	}
	return median(p.of(func(r *round) float64 { return float64(p.listeners) * r.took.Seconds() / r.cpu.Seconds() }))
}

// rate is how many packets a second reached clients.
func (p *point) rate() float64 {
	return median(p.of(func(r *round) float64 { return float64(r.counts.Packets) / r.took.Seconds() }))
}

// lost is the share of packets that was lost in the rounds that count.
func (p *point) lost() float64 {
	return median(p.of(func(r *round) float64 { return r.counts.Lost() }))
}

// latencies are those of all rounds that count.
func (p *point) latencies(of func(*round) []time.Duration) []time.Duration {
	var all []time.Duration
	for _, r := range p.rounds {
		all = append(all, of(r)...)
	}
	return all
}

// quantile is the nearest rank; 0 of nothing.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)]
}
