//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// busy is how much of a core others may use before that is said.
const busy = 0.2

// report prints everything. What falls short of a target is profiled.
func (b *bench) report(ctx context.Context) error {
	fmt.Printf("\n%d cores, %s; server and load share them. us/packet is the server's CPU time, user and system, by the packets that all\n"+
		"clients received: median of the rounds (least-most). Rounds that lost more than %.1f %% are void. Latency is from the talker's send until the kernel\n"+
		"has the packet for the listener; of the mix, from when somebody begins to speak until its first packet.\n", runtime.NumCPU(), kernel(), 100*mostLost)
	if b.others > busy {
		fmt.Printf("The machine did other work too: up to %.1f cores.\n", b.others)
	}
	b.table()
	b.costs.print()
	if err := b.draw(ctx); err != nil {
		return err
	}
	if err := b.fallsShort(ctx); err != nil {
		return err
	}
	fmt.Printf("\nbench-media: %s\n", strings.Join(b.summary(), "; "))
	return nil
}

func kernel() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown kernel"
	}
	return "Linux " + strings.TrimSpace(string(release))
}

// at finds a point; nil if there is none.
func (b *bench) at(mode string, talkers, listeners int) *point {
	i := slices.IndexFunc(b.points, func(p *point) bool {
		return p.mode.name == mode && p.talkers == talkers && p.listeners == listeners
	})
	if i < 0 {
		return nil
	}
	return b.points[i]
}

// floorOf is the floor of as many packets for each listener, sent in runs as long; nil: it was not measured.
func (b *bench) floorOf(p *point) *point {
	streams := p.talkers
	switch {
	case p.mode.mixed:
		streams = 1
	case p.mode.slots > 0:
		streams = min(streams, p.mode.slots)
	}
	return b.at(floorMode, streams, p.listeners)
}

func (b *bench) table() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "\ntalkers\tlisteners\tmode\tus/packet\t\tx floor\tx reference\tlisteners/core\tpackets/s\tlost\taudience p50\tp99\ton mic p50\tp99\tvoid\t")
	for _, p := range b.points {
		if len(p.rounds) == 0 {
			_, _ = fmt.Fprintf(w, "%d\t%d\t%s\tvoid\t\t\t\t\t\t\t\t\t\t\tall %d\t\n", p.talkers, p.listeners, p.mode.name, len(p.voided))
			continue
		}
		costs := p.of((*round).cost)
		audience := p.latencies(func(r *round) []time.Duration { return r.audience })
		onMic := p.latencies(func(r *round) []time.Duration { return r.onMic })
		_, _ = fmt.Fprintf(w, "%d\t%d\t%s\t%.2f\t(%.2f-%.2f)\t%s\t%s\t%.0f\t%.0f\t%.3f %%\t%s\t%s\t%s\t%s\t%s\t\n", p.talkers, p.listeners, p.mode.name,
			median(costs), costs[0], costs[len(costs)-1],
			ratio(p.cost(), b.floorOf(p).cost()), ratio(p.cost(), b.at(referenceMode, p.talkers, p.listeners).cost()),
			p.perCore(), p.rate(), 100*p.lost(), millis(audience, 0.5), millis(audience, 0.99), millis(onMic, 0.5), millis(onMic, 0.99), voided(p))
	}
	_ = w.Flush()
	for _, p := range b.points {
		if len(p.voided) > 0 {
			fmt.Printf("void: %s, %d talkers, %d listeners: %s\n", p.mode.name, p.talkers, p.listeners, strings.Join(p.voided, "; "))
		}
	}
}

func voided(p *point) string {
	if len(p.voided) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d", len(p.voided), len(p.voided)+len(p.rounds))
}

func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

func millis(all []time.Duration, q float64) string {
	if len(all) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f ms", float64(quantile(all, q))/float64(time.Millisecond))
}

func (c *costs) print() {
	if c.rss == 0 {
		return
	}
	fmt.Printf("\na pod without a room, TLS and metrics on: %.1f MiB RSS\n", float64(c.rss)/kib/kib)
	fmt.Printf("a join (%d slots, uplink, data channel): %.2f ms of CPU (%.2f-%.2f), %s x the reference's\n", joinSlots,
		median(c.join), c.join[0], c.join[len(c.join)-1], ratio(median(c.join), median(c.joinReference)))
	fmt.Printf("a listener at rest: %.3f ms of CPU a second\n", c.idle)
	fmt.Printf("a listener: %.0f KiB of heap and stack, %.0f KiB of RSS\n", c.memory, c.resident)
	fmt.Printf("offer to first packet: p50 %s, p99 %s\n", millis(c.firstAudio, 0.5), millis(c.firstAudio, 0.99))
	fmt.Printf("packets lost while %d listeners came in: %.4f %%; before: %.4f %%\n", c.joined, 100*c.joinLoss, 100*c.calmLoss)
}

// draw lets another module draw the cost at the most talkers: what draws is nothing that the product needs.
func (b *bench) draw(ctx context.Context) error {
	if b.plot == "" || len(b.points) == 0 {
		return nil
	}
	type dot struct {
		Mode       string
		Listeners  int
		Cost, Core float64 // us a packet; cores
	}
	var dots []dot
	for _, p := range b.points {
		if p.talkers == b.mostTalkers() && len(p.rounds) > 0 {
			dots = append(dots, dot{p.mode.name, p.listeners, p.cost(), float64(p.listeners) / p.perCore()})
		}
	}
	data, err := json.Marshal(map[string]any{"Talkers": b.mostTalkers(), "Dots": dots})
	if err != nil {
		return err
	}
	out, err := filepath.Abs(b.plot)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return fmt.Errorf("making the plot's directory: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "run", ".", out)
	cmd.Dir, cmd.Stdin = filepath.Join(b.root, "test/bench/media/plot"), strings.NewReader(string(data))
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("drawing: %w: %s", err, said)
	}
	fmt.Printf("\nthe plot is in %s\n", b.plot)
	return nil
}
