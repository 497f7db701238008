// Command cmd is a bad network before one UDP server:
//
//	go run ./hack/lossy/cmd --listen 127.0.0.1:5000 --to 127.0.0.1:40000 --loss 0.1 --burst 3 --delay 20ms --jitter 100ms
//
// Clients come to --listen; a media pod sends them there if that is what it advertises.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"voiceroom.dev/voiceroom/hack/lossy"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	cfg := lossy.Config{Listen: netip.MustParseAddrPort("127.0.0.1:0")}
	var network lossy.Network
	direction := "both"
	flag.TextVar(&cfg.Listen, "listen", cfg.Listen, "`ip:port` where clients come")
	flag.TextVar(&cfg.To, "to", cfg.To, "`ip:port` of the server")
	flag.Float64Var(&network.Loss, "loss", 0, "share of datagrams that is lost, 0 to 1")
	flag.Float64Var(&network.Burst, "burst", 0, "how many are lost in a row on average; 0: each is lost or not by itself")
	flag.DurationVar(&network.Delay, "delay", 0, "of every datagram, each way")
	flag.DurationVar(&network.Jitter, "jitter", 0, "and more, up to this")
	flag.BoolVar(&network.Reorder, "reorder", false, "let jitter change the order")
	flag.StringVar(&direction, "direction", direction, "which is bad: up, from the clients to the server; down; or both")
	flag.Uint64Var(&cfg.Seed, "seed", 1, "what is lost and delayed follows from it")
	flag.Parse()
	if !cfg.To.IsValid() {
		return fmt.Errorf("--to is required: the server's ip:port")
	}
	switch direction {
	case "up":
		cfg.Up = network
	case "down":
		cfg.Down = network
	case "both":
		cfg.Up, cfg.Down = network, network
	default:
		return fmt.Errorf("--direction %s: it is up, down or both", direction)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := lossy.Listen(cfg)
	if err != nil {
		return err
	}
	fmt.Printf("listening on %v, forwarding to %v\n", r.Addr(), cfg.To)
	<-ctx.Done()
	r.Close()
	toServer, toClients := r.Counts()
	fmt.Printf("to the server %d, lost %d; to clients %d, lost %d\n", toServer.Forwarded, toServer.Lost, toClients.Forwarded, toClients.Lost)
	return nil
}
