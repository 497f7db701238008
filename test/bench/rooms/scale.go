package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"voiceroom.dev/voiceroom/controllers/groupchat"
)

// settle is how long a number of rooms is left alone before it is measured.
const settle = 10 * time.Second

// point is what the operator takes at a number of rooms.
type point struct {
	rooms int
	rss   int64   // bytes
	cpu   float64 // of one core
}

// scale fills the fleet, in steps, with rooms that their owners have opened.
func (b *bench) scale(ctx context.Context) error {
	if err := b.fleet(ctx, http.MethodPost, "/owners?come=true", nil); err != nil {
		return err
	}
	if _, _, err := b.written(); err != nil {
		return err
	}
	var points []point
	for _, rooms := range []int{100, 1000, 10000} {
		rooms = min(rooms, b.rooms)
		if rooms == b.live {
			break
		}
		if err := b.fill(ctx, rooms); err != nil {
			return err
		}
		p, err := b.measure(ctx)
		if err != nil {
			return err
		}
		points = append(points, p)
		b.say("%d rooms: the operator has %d MiB and takes %.1f %% of a core (load %s)", p.rooms, p.rss>>20, 100*p.cpu, load())
		b.figure("at %d rooms %d MiB and %.1f %% of a core", p.rooms, p.rss>>20, 100*p.cpu)
	}
	for i := 1; i < len(points); i++ {
		from, to := points[i-1], points[i]
		n := float64(to.rooms - from.rooms)
		b.say("from %d to %d rooms: %.1f KiB and %.3f ms of CPU a second for each more", from.rooms, to.rooms,
			float64(to.rss-from.rss)/1024/n, 1000*(to.cpu-from.cpu)/n)
	}
	if len(points) > 1 {
		first, last := points[0], points[len(points)-1]
		n := float64(last.rooms - first.rooms)
		b.figure("slope %.1f KiB and %.3f ms/s a room", float64(last.rss-first.rss)/1024/n, 1000*(last.cpu-first.cpu)/n)
	}
	rooms, apart, err := b.written()
	if err != nil {
		return err
	}
	b.say("the operator's writes for one room through Activated: %.2f: %s", float64(rooms.total())/float64(b.live), rooms.each(b.live))
	b.say("apart from those: %s", apart.each(b.live))
	b.figure("%.2f writes a room", float64(rooms.total())/float64(b.live))
	return nil
}

// fill makes rooms until there are so many, and waits until all are activated.
func (b *bench) fill(ctx context.Context, rooms int) error {
	began, from := time.Now(), b.live
	for b.live < rooms {
		// Only with warm pods: a room that waits for one writes that it does.
		n := min(warmPods, rooms-b.live)
		if err := b.warm(ctx, n); err != nil {
			return err
		}
		if _, _, err := b.makeRooms(ctx, n, 50); err != nil {
			return err
		}
		if b.live%1000 == 0 {
			b.say("%d rooms of %d (load %s)", b.live, rooms, load())
		}
	}
	var c census
	if err := until(ctx, "all rooms are activated", func() (bool, error) {
		err := b.fleet(ctx, http.MethodGet, "/rooms", &c)
		return c.Activated == rooms, err
	}); err != nil {
		return fmt.Errorf("%w: %+v", err, c)
	}
	b.say("%d rooms made and activated in %.0f s, %.1f a second, pods started meanwhile", rooms-from, time.Since(began).Seconds(),
		float64(rooms-from)/time.Since(began).Seconds())
	return nil
}

// measure waits until nothing is written, and then for the CPU of a while.
func (b *bench) measure(ctx context.Context) (point, error) {
	if err := pause(ctx, settle); err != nil {
		return point{}, err
	}
	pid := b.stack.PID("operator")
	before, err := cpu(pid)
	if err != nil {
		return point{}, err
	}
	began := time.Now()
	if err := pause(ctx, b.window); err != nil {
		return point{}, err
	}
	after, err := cpu(pid)
	if err != nil {
		return point{}, err
	}
	memory, err := rss(pid)
	return point{b.live, memory, (after - before).Seconds() / time.Since(began).Seconds()}, err
}

// joins counts what is written while people come into one room.
func (b *bench) joins(ctx context.Context) error {
	const people = 50
	began := time.Now()
	for range people / 5 {
		if err := b.fleet(ctx, http.MethodPost, fmt.Sprintf("/joins?room=%s/room-%05d&n=5", namespace, b.made), nil); err != nil {
			return err
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
	if err := pause(ctx, groupchat.CountEvery+5*time.Second); err != nil {
		return err
	}
	rooms, _, err := b.written()
	if err != nil {
		return err
	}
	summaries := rooms["patch voicerooms/status"] + rooms["patch groupchats/status"]
	b.say("%d joins in %.0f s: %d writes, and %d summaries: %s", people, time.Since(began).Seconds(), rooms.total()-summaries, summaries, rooms.each(1))
	b.figure("%d writes and %d summaries for %d joins", rooms.total()-summaries, summaries, people)
	return nil
}

// atRest counts what is written while nothing happens.
func (b *bench) atRest(ctx context.Context) error {
	if _, _, err := b.written(); err != nil {
		return err
	}
	if err := pause(ctx, b.rest); err != nil {
		return err
	}
	rooms, apart, err := b.written()
	if err != nil {
		return err
	}
	b.say("at rest, %d rooms, %.0f s: %d writes (%s), apart from those %s", b.live, b.rest.Seconds(), rooms.total(), rooms.each(1), apart.each(1))
	b.figure("%d writes in %.0f s at rest", rooms.total(), b.rest.Seconds())
	return nil
}

// restart measures how long a new operator takes to follow all rooms.
func (b *bench) restart(ctx context.Context) error {
	b.stack.StopProcess("operator")
	began := time.Now()
	if err := b.stack.StartProcess("operator"); err != nil {
		return err
	}
	var c census
	first := time.Duration(0)
	if err := until(ctx, "all rooms are followed", func() (bool, error) {
		err := b.fleet(ctx, http.MethodGet, "/rooms", &c)
		if first == 0 && c.Watched > 0 {
			first = time.Since(began)
		}
		return c.Watched == b.live && c.Leased == b.live, err
	}); err != nil {
		return fmt.Errorf("%w: %+v", err, c)
	}
	whole := time.Since(began)
	used, err := cpu(b.stack.PID("operator"))
	if err != nil {
		return err
	}
	rooms, _, err := b.written()
	if err != nil {
		return err
	}
	b.say("a new operator follows the first room after %.1f s and all %d after %.1f s, with %.1f s of CPU and %d writes (%s)",
		first.Seconds(), b.live, whole.Seconds(), used.Seconds(), rooms.total(), rooms.each(1))
	b.figure("%.1f s to follow all after a restart, %d writes", whole.Seconds(), rooms.total())
	return nil
}

// census is how many rooms the fake fleet has.
type census struct{ Pods, Rooms, Activated, Watched, Leased int }

// fleet gives the fake fleet a command.
func (b *bench) fleet(ctx context.Context, method, path string, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, b.stack.HealthURL("fakefleet")+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking the fake fleet: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("the fake fleet answers %s %s with %s", method, path, res.Status)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(out)
}
