// Command weak measures what listeners hear on weak networks, and what helps: real browsers talk and listen through a media
// pod and a relay that loses (test/weak). It prints tables, in Markdown, and writes them to a file.
//
//	weak -loss 0,5,10,20,30 -jitter 100ms -seconds 30
//
// There are two parts: losses, on the way down to listeners, up from a talker, and around pauses; and ticks, what each tick of the
// audience does to jitter buffers.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"voiceroom.dev/voiceroom/test/weak"
)

type options struct {
	lost    []float64
	jitter  time.Duration
	burst   float64
	seconds int
	seed    uint64
	parts   []string
	out     string
}

// parts are what can be measured, in this order.
var parts = []struct {
	name    string
	measure func(*bench, context.Context) error
}{
	{"losses", (*bench).losses},
	{"ticks", (*bench).ticks},
}

func main() {
	var o options
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	loss := flag.String("loss", "0,20", "shares of packets that are lost, in percent")
	flag.DurationVar(&o.jitter, "jitter", 0, "measure each loss again with delays that vary as much")
	flag.Float64Var(&o.burst, "burst", 0, "measure each loss again with so many packets lost in a row on average")
	flag.IntVar(&o.seconds, "seconds", 10, "of each measurement")
	flag.Uint64Var(&o.seed, "seed", 1, "of what is lost")
	some := flag.String("parts", strings.Join(names, ","), "what to measure")
	flag.StringVar(&o.out, "out", "bin/bench-weak.md", "where the tables go too")
	flag.Parse()
	o.parts = strings.Split(*some, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := o.parse(*loss, names)
	if err == nil {
		err = run(ctx, o)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "weak:", err)
		os.Exit(1)
	}
}

func (o *options) parse(losses string, names []string) error {
	for s := range strings.SplitSeq(losses, ",") {
		percent, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
		if err != nil {
			return fmt.Errorf("-loss: %w", err)
		}
		o.lost = append(o.lost, percent/100)
	}
	for _, p := range o.parts {
		if !slices.Contains(names, p) {
			return fmt.Errorf("-parts: there is no part %q", p)
		}
	}
	return nil
}

// bench runs rooms and writes what came of it.
type bench struct {
	options
	w io.Writer
}

func run(ctx context.Context, o options) error {
	var text bytes.Buffer
	b := &bench{options: o, w: io.MultiWriter(os.Stdout, &text)}
	_, _ = fmt.Fprintf(b.w, "%s, %d cores, load average %s at the start; %d s a cell, seed %d, %v each way.\n",
		time.Now().Format(time.DateOnly), runtime.NumCPU(), load(), o.seconds, o.seed, wayLength)
	var err error
	for _, p := range parts {
		if slices.Contains(o.parts, p.name) && err == nil {
			err = p.measure(b, ctx)
		}
	}
	return errors.Join(err, os.MkdirAll(filepath.Dir(o.out), 0o755), os.WriteFile(o.out, text.Bytes(), 0o644))
}

const (
	// What a listener who loses nothing may show: of all samples made up, and in the jitter buffer. With more it was the machine that had no
	// time for browsers.
	maxFloor  = 0.003
	maxBuffer = 120 * time.Millisecond
	attempts  = 6
)

// hear runs rooms for as long as one measurement takes, beside one in which nothing is lost: the floor. It does so again when the machine was
// too busy. The results are those of the best attempt, the floor's first.
func (b *bench) hear(ctx context.Context, rooms []weak.Room) (best [][]weak.Result, err error) {
	here := network(0, 0)
	rooms = append([]weak.Room{{Talker: weak.Talker{FEC: true, Network: here}, Listeners: []weak.Listener{{Network: here}}}}, rooms...)
	o := weak.Options{Duration: time.Duration(b.seconds) * time.Second, Seed: b.seed}
	for range attempts {
		results, err := weak.Run(ctx, rooms, o)
		if err != nil {
			return nil, err
		}
		floor := results[0][0]
		if best == nil || floor.Concealed() < best[0][0].Concealed() {
			best = results
		}
		if floor.Concealed() <= maxFloor && floor.Delay() <= maxBuffer {
			return results, nil
		}
		b.say(fmt.Sprintf("the machine was busy: without losses %.1f %% was made up, %v lay in the buffer", 100*floor.Concealed(), floor.Delay().Round(time.Millisecond)))
	}
	return best, nil
}

// say tells whoever waits how far it is.
func (b *bench) say(what string) { _, _ = fmt.Fprintln(os.Stderr, what) }

// load is what else the machine does: its load average over a minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(text), " ")
	return one
}
