// Demo runs a whole Voiceroom on this machine, applies config/samples, and proves a
// room with two real WebRTC clients before it prints the link to it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"voiceroom.dev/voiceroom/hack/stack"
)

func main() {
	check := flag.Bool("check", false, "exit after the proof: 0, or 1 and what failed")
	run := flag.String("run", "", "run this shell command against the system instead of the proof, and exit with its code")
	listen := flag.String("listen", "127.0.0.1:8080", "the gateway's address; a free port is taken if it is in use")
	flag.Parse()
	ctrllog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := demo(ctx, *listen, *check, *run)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\nfailed:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, listen string, check bool, run string) (err error) {
	begin := time.Now()
	s, err := stack.Start(ctx, stack.Options{Root: ".", Listen: available(listen), Advertise: stack.OwnAddresses(),
		Progress: func(what string) { fmt.Printf("%7.1f s  %s\n", time.Since(begin).Seconds(), what) }})
	if err != nil {
		return err
	}
	defer func() {
		fmt.Println("\nstopping")
		err = errors.Join(err, s.Stop())
	}()
	room, err := applySamples(ctx, s)
	if err != nil {
		return err
	}
	if run != "" {
		return runAgainst(ctx, s, room, run)
	}
	if err := prove(ctx, s, room); err != nil {
		return err
	}
	if check {
		fmt.Println("\nok")
		return nil
	}
	link := s.GatewayURL + "/r/" + room.name
	fmt.Printf("\nOpen this link in a browser, in two windows, to talk:\n\n    %s\n\nand this one to come in as the host, who moderates:\n\n    %s#ticket=%s\n\n"+
		"To look around: KUBECONFIG=%s %s get voice -A\nCtrl-C ends everything.\n", link, link, room.hostTicket, s.Kubeconfig, s.Kubectl)
	<-ctx.Done()
	return nil
}

// available is address, or a free port of its host if it is taken.
func available(address string) string {
	l, err := net.Listen("tcp", address)
	if err != nil {
		host, _, _ := net.SplitHostPort(address)
		if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			return address // starting the gateway will say what is wrong with it
		}
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// runAgainst runs a command with the system's addresses in its environment.
func runAgainst(ctx context.Context, s *stack.Stack, r sample, command string) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "VOICEROOM_URL="+s.GatewayURL, "VOICEROOM_ROOM="+r.name, "VOICEROOM_HOST_TICKET="+r.hostTicket, "KUBECONFIG="+s.Kubeconfig)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}
