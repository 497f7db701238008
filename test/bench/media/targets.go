//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// target is what a figure is to reach: at most, or at least.
type target struct {
	what      string
	got, want float64
	atLeast   bool
	unit      string
	profile   func(context.Context) error // shows where the CPU time goes; nil: it would say nothing
}

func (t *target) missed() bool {
	return t.got != 0 && (t.atLeast && t.got < t.want || !t.atLeast && t.got > t.want)
}

// targets are those of the design, as far as they were measured.
func (b *bench) targets() []target {
	talkers, listeners := b.mostTalkers(), b.mostListeners()
	at := func(mode string, listeners int) (string, *point) {
		return fmt.Sprintf("%s, %d talkers, %d listeners", mode, talkers, listeners), b.at(mode, talkers, listeners)
	}
	talk := func(slots, listeners int) func(context.Context) error {
		return func(ctx context.Context) error { return b.profileTalk(ctx, slots, listeners) }
	}
	const middle = 100
	var all []target
	for _, l := range slices.Compact([]int{min(middle, listeners), listeners}) {
		what, p := at(forwardMode, l)
		all = append(all, target{what: what, got: p.cost(), want: 2, unit: "us a packet", profile: talk(0, l)})
	}
	if listeners > middle { // where talkers and audience are as many, a core's listeners say little
		what, p := at(forwardMode, listeners)
		all = append(all, target{what: what, got: p.perCore(), want: 1000, atLeast: true, unit: "listeners a core"})
		what, p = at(loudestMode, listeners)
		all = append(all, target{what: what, got: p.perCore(), want: 2500, atLeast: true, unit: "listeners a core", profile: talk(3, listeners)})
	}
	c := &b.costs
	return append(all,
		target{what: "a listener's heap and stack", got: c.memory, want: 160, unit: "KiB"},
		target{what: "a join", got: median(c.join), want: 3.5, unit: "ms of CPU", profile: b.profileJoins},
		target{what: "a listener at rest", got: c.idle, want: 0.15, unit: "ms of CPU a second"},
		target{what: "a pod without a room", got: float64(c.rss) / kib / kib, want: 15, unit: "MiB of RSS"},
		target{what: "offer to first packet, p50", got: float64(quantile(c.firstAudio, 0.5)) / float64(time.Millisecond), want: 60, unit: "ms"},
		target{what: "loss by joins", got: 100 * max(c.joinLoss-c.calmLoss, 0), want: 0, unit: "%"})
}

// fallsShort says what missed its target, and shows where the CPU time goes there.
func (b *bench) fallsShort(ctx context.Context) error {
	for _, t := range b.targets() {
		if !t.missed() {
			continue
		}
		than := "at most"
		if t.atLeast {
			than = "at least"
		}
		fmt.Printf("falls short: %s: %.4g %s, to be %s %.4g\n", t.what, t.got, t.unit, than, t.want)
		if t.profile == nil {
			continue
		}
		if err := t.profile(ctx); err != nil {
			return err
		}
	}
	return nil
}

// summary is the figures of the last line.
func (b *bench) summary() []string {
	var line []string
	talkers, listeners := b.mostTalkers(), b.mostListeners()
	for _, name := range []string{floorMode, forwardMode, loudestMode, mixMode, referenceMode} {
		p := b.at(name, talkers, listeners)
		if p == nil {
			continue
		}
		if len(p.rounds) == 0 {
			line = append(line, fmt.Sprintf("%s void", name))
			continue
		}
		line = append(line, fmt.Sprintf("%s %.2f us/packet (%s x floor, %s), %.0f listeners/core", name, p.cost(),
			ratio(p.cost(), b.floorOf(p).cost()), b.toReference(p), p.perCore()))
	}
	if len(line) > 0 {
		line[0] = fmt.Sprintf("%d talkers x %d listeners: %s", talkers, listeners, line[0])
	}
	if c := &b.costs; c.rss != 0 {
		line = append(line, fmt.Sprintf("%.0f KiB a listener, %.2f ms a join, %.3f ms/s at rest, %.1f MiB a pod, first audio after %s",
			c.memory, median(c.join), c.idle, float64(c.rss)/kib/kib, millis(c.firstAudio, 0.5)))
	}
	missed := 0
	for _, t := range b.targets() {
		if t.missed() {
			missed++
		}
	}
	return append(line, fmt.Sprintf("%d targets missed", missed))
}

// toReference compares a point with the reference, of as many listeners or as many as the machine can stand.
func (b *bench) toReference(p *point) string {
	for _, listeners := range slices.Backward(b.listeners) {
		if cost := b.at(referenceMode, p.talkers, listeners).cost(); cost > 0 {
			text := ratio(p.cost(), cost) + " x reference"
			if listeners != p.listeners {
				text += fmt.Sprintf(" at %d listeners", listeners)
			}
			return text
		}
	}
	return "no reference"
}
