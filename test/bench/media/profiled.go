//go:build linux

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"voiceroom.dev/voiceroom/media"
)

// serveProfiled runs the media server in this binary, with pprof beside it, which the command does not offer.
func serveProfiled(args []string) error {
	cfg := media.Config{Logger: slog.New(slog.NewJSONHandler(os.Stderr, nil))}
	flags := flag.NewFlagSet("profiled", flag.ContinueOnError)
	flags.StringVar(&cfg.PodUID, "pod-uid", "", "")
	flags.StringVar(&cfg.Control, "control", "", "")
	flags.StringVar(&cfg.Health, "health", "", "")
	flags.StringVar(&cfg.KeysDir, "keys", "", "")
	flags.StringVar(&cfg.TLSDir, "tls", "", "")
	flags.DurationVar(&cfg.AudienceTick, "audience-tick", 0, "")
	at := flags.String("media", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if cfg.Media, err = netip.ParseAddrPort(*at); err != nil {
		return fmt.Errorf("-media: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening for pprof: %w", err)
	}
	if err := json.NewEncoder(os.Stderr).Encode(addresses{Pprof: l.Addr().String()}); err != nil {
		return err
	}
	go func() { exit(http.Serve(l, http.HandlerFunc(pprof.Profile))) }()
	server, err := media.New(cfg)
	if err != nil {
		return err
	}
	return server.Run(context.Background())
}

// profileTime is how long a profile is taken: at 100 samples a second of CPU time, enough to see the parts of a
// server that uses a tenth of a core.
const profileTime = 12 * time.Second

// profile prints where the server's CPU time goes meanwhile: by function, then with all that functions call.
func (b *bench) profile(ctx context.Context, what string, p *process) error {
	profile, err := call(ctx, http.MethodGet, fmt.Sprintf("http://%s/?seconds=%.0f", p.up.Pprof, profileTime.Seconds()), nil)
	if err != nil {
		return fmt.Errorf("taking a profile: %w", err)
	}
	file := filepath.Join(b.dir, "profile")
	if err := os.WriteFile(file, profile, 0o600); err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	fmt.Printf("\nWhere the CPU time goes: %s. Samples are 10 ms apart: what runs for less at a time, as each packet of a talker does,\n"+
		"and Go's scheduler for it, counts for less than it takes.\n", what)
	for _, order := range [][]string{{"-nodecount=15"}, {"-cum", "-nodecount=30"}} {
		args := append([]string{"tool", "pprof", "-top"}, order...)
		top, err := exec.CommandContext(ctx, "go", append(args, b.self, file)...).Output()
		if err != nil {
			return fmt.Errorf("reading a profile: %w", err)
		}
		_, rows, _ := strings.Cut(string(top), "Showing nodes")
		fmt.Printf("nodes%s\n", rows)
	}
	return nil
}
