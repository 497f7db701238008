//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"

	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/test/bench/media/client"
	"voiceroom.dev/voiceroom/test/bench/media/floor"
	"voiceroom.dev/voiceroom/test/bench/media/reference"
)

// serve runs, in a process of its own, what the media server is measured against: the floor or the reference.
func serve(role string, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s is started by the benchmark, with a number of talkers", role)
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("number of talkers: %w", err)
	}
	handler, err := handlerOf(role, n)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	if err := json.NewEncoder(os.Stderr).Encode(addresses{Control: l.Addr().String()}); err != nil {
		return err
	}
	return http.Serve(l, handler)
}

func handlerOf(role string, talkers int) (http.Handler, error) {
	if role == "reference" {
		return reference.New(talkers)
	}
	frames, err := bot.Speech()
	if err != nil {
		return nil, err
	}
	s, err := floor.New(talkers, frames)
	if err != nil {
		return nil, err
	}
	return floor.Handler(s, func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}), nil
}

// pions is the reference.
type pions struct{ *process }

func (b *bench) startReference(talkers int) (*pions, error) {
	p, err := start(nil, b.self, "reference", strconv.Itoa(talkers))
	return &pions{p}, err
}

// join implements server.
func (p *pions) join(ctx context.Context, c *client.Client, talker int) error {
	offer, err := c.Offer()
	if err != nil {
		return err
	}
	url := "http://" + p.up.Control + "/"
	if talker >= 0 {
		url += "?talker=" + strconv.Itoa(talker)
	}
	answer, err := call(ctx, http.MethodPost, url, []byte(offer))
	if err != nil {
		return err
	}
	return c.Connect(ctx, string(answer))
}

// bare is the floor.
type bare struct {
	*process
	ssrcs []uint32
}

func (b *bench) startFloor(talkers int) (*bare, error) {
	p, err := start(nil, b.self, "floor", strconv.Itoa(talkers))
	f := &bare{process: p}
	for t := range talkers {
		f.ssrcs = append(f.ssrcs, floor.SSRC(t))
	}
	return f, err
}

// join implements server. There are no talkers but in the sender itself.
func (f *bare) join(ctx context.Context, c *client.Client, _ int) error {
	c.Expect(f.ssrcs)
	body, err := json.Marshal([]netip.AddrPort{c.Addr()})
	if err != nil {
		return err
	}
	_, err = call(ctx, http.MethodPost, "http://"+f.up.Control+"/listeners", body)
	return err
}

// play makes the sender send until stop is called.
func (f *bare) play(ctx context.Context) (stop func() error, err error) {
	say := func(what string) error {
		_, err := call(ctx, http.MethodPost, "http://"+f.up.Control+what, nil)
		return err
	}
	return func() error { return say("/pause") }, say("/play")
}
