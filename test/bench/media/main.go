//go:build linux

// Command media measures what a room costs the media server: CPU per packet that reaches a listener, listeners per
// core, memory, joins, latency. It measures in the same run, in turns, the floor (package floor) and a room
// on PeerConnections (package reference), each server in a process of its own and the load in this
// one. docs/scale.md has its figures.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"voiceroom.dev/voiceroom/hack/bot"
)

// options are the command's flags.
type options struct {
	root      string
	binary    string
	plot      string
	talkers   numbers
	listeners numbers
	rounds    int
	round     time.Duration
	gro       bool
	skip      set
	only      string
	joins     int
	quick     bool
}

func main() {
	role, args := "", os.Args[1:]
	if len(args) > 0 {
		role = args[0]
	}
	switch role {
	case "floor", "reference": // this very binary, started by itself
		exit(serve(role, args[1:]))
	case "profiled":
		exit(serveProfiled(args[1:]))
	default:
		exit(measure())
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-media:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// measure reads the flags and runs everything.
func measure() error {
	o := options{talkers: numbers{1, 3, 10}, listeners: numbers{10, 100, 500}, skip: set{}}
	flag.StringVar(&o.root, "root", ".", "the repository")
	flag.StringVar(&o.binary, "media", "", "a media binary to measure in place of the one that is built")
	flag.StringVar(&o.plot, "plot", "", "PNG file to draw the cost into; empty: none")
	flag.Var(&o.talkers, "talkers", "numbers of talkers")
	flag.Var(&o.listeners, "listeners", "numbers of listeners, growing")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each mode at each size")
	flag.DurationVar(&o.round, "round", 3*time.Second, "how long a round is")
	flag.BoolVar(&o.gro, "gro", false, "let listeners take whole runs: then nobody pays for cutting them apart")
	flag.Var(&o.skip, "skip", "modes to leave out")
	flag.StringVar(&o.only, "only", "", "measure only \"sizes\", what forwarding costs, or only \"costs\", all else")
	flag.IntVar(&o.joins, "joins", 50, "joins of a round")
	flag.BoolVar(&o.quick, "quick", false, "measure little, in two minutes, whatever the other flags say")
	flag.Parse()
	if o.quick {
		o.talkers, o.listeners, o.rounds, o.round, o.joins = numbers{10}, numbers{10, 100}, 1, 2*time.Second, 20
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return run(ctx, o)
}

// bench is a run.
type bench struct {
	options
	dir    string // for what is built and written, gone in the end
	self   string
	media  string // the server; empty: that of this binary
	mixer  string // one that mixes
	frames [][]byte

	began    time.Time
	progress io.Writer

	points     []*point
	unmeasured []string // of which no round counts
	costs      costs
	others     float64 // cores that something else used, at most
}

func run(ctx context.Context, o options) error {
	b := &bench{options: o, began: time.Now(), progress: os.Stderr}
	var err error
	if b.dir, err = os.MkdirTemp("", "voiceroom-media-"); err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(b.dir) }()
	if b.frames, err = bot.Speech(); err != nil {
		return err
	}
	if b.self, err = os.Executable(); err != nil {
		return fmt.Errorf("finding the own binary: %w", err)
	}
	if err := b.build(ctx); err != nil {
		return err
	}
	if b.only != "costs" {
		if err := b.measureSizes(ctx); err != nil {
			return err
		}
	}
	if b.only != "sizes" {
		if err := b.measureCosts(ctx); err != nil {
			return err
		}
	}
	if err := b.report(ctx); err != nil {
		return err
	}
	if len(b.unmeasured) > 0 {
		return fmt.Errorf("no round counts of %s", strings.Join(b.unmeasured, "; "))
	}
	return nil
}

// build builds the media server, and another one that mixes if libopus is here.
func (b *bench) build(ctx context.Context) error {
	if b.media, b.mixer = b.binary, b.binary; b.media != "" {
		return nil
	}
	b.say("building the media server")
	b.media = filepath.Join(b.dir, "media")
	if err := b.goBuild(ctx, b.media, "CGO_ENABLED=0"); err != nil {
		return err
	}
	if b.skip[mixMode] {
		return nil
	}
	if err := exec.CommandContext(ctx, "pkg-config", "--exists", "opus").Run(); err != nil {
		b.say("mix is left out: libopus is not here (Debian: libopus-dev, pkg-config, gcc)")
		b.skip[mixMode] = true
		return nil
	}
	b.mixer = filepath.Join(b.dir, "media-mix")
	return b.goBuild(ctx, b.mixer, "CGO_ENABLED=1", "-tags", "libopus,nolibopusfile")
}

func (b *bench) goBuild(ctx context.Context, to, env string, args ...string) error {
	args = append(append([]string{"build", "-trimpath", "-o", to}, args...), "./cmd/media")
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = b.root, append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the media server: %w: %s", err, out)
	}
	return nil
}

// say tells what goes on, and since when.
func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.progress, "%6.0f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

func (b *bench) mostTalkers() int   { return slices.Max(b.talkers) }
func (b *bench) mostListeners() int { return slices.Max(b.listeners) }

// numbers is a flag of numbers, with commas between.
type numbers []int

// String implements flag.Value.
func (n *numbers) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(*n), " ", ","), "[]")
}

// Set implements flag.Value.
func (n *numbers) Set(s string) error {
	*n = nil
	for f := range strings.SplitSeq(s, ",") {
		i, err := strconv.Atoi(f)
		if err != nil || i < 1 {
			return fmt.Errorf("%q is not a number from 1 on", f)
		}
		*n = append(*n, i)
	}
	return nil
}

// set is a flag of names, with commas between.
type set map[string]bool

// String implements flag.Value.
func (s set) String() string {
	var names []string
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// Set implements flag.Value.
func (s set) Set(names string) error {
	for name := range strings.SplitSeq(names, ",") {
		s[name] = true
	}
	return nil
}
