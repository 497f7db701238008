package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"voiceroom.dev/voiceroom/hack/lossy"
	"voiceroom.dev/voiceroom/test/weak"
)

// wayLength is how long a packet takes between client and pod, each way.
const wayLength = 20 * time.Millisecond

// network loses a share of packets each way.
func network(loss float64, jitter time.Duration) lossy.Network {
	return lossy.Network{Loss: loss, Delay: wayLength, Jitter: jitter}
}

// networks are the rows of a table, by what their networks do.
func (b *bench) networks() (names []string, all []lossy.Network) {
	add := func(loss float64, n lossy.Network, how string) {
		names, all = append(names, fmt.Sprintf("%g %%%s", 100*loss, how)), append(all, n)
	}
	for _, loss := range b.lost {
		add(loss, network(loss, 0), "")
	}
	for _, loss := range b.lost {
		if b.jitter > 0 {
			add(loss, network(loss, b.jitter), fmt.Sprintf(", %v jitter", b.jitter))
		}
	}
	for _, loss := range b.lost {
		if n := network(loss, 0); b.burst > 0 && loss > 0 {
			n.Burst = b.burst
			add(loss, n, fmt.Sprintf(", %g in a row", b.burst))
		}
	}
	return names, all
}

// lossTables are filled a row at a time.
type lossTables struct {
	down, downDelay, downRate *table
	up, upDelay               *table
	pauses, pausesRate        *table
}

func newLossTables() lossTables {
	const heading = "lost each way"
	const floor = "no loss, at the same time"
	listeners := []string{floor, "nothing", "FEC", "RED", "NACK", "FEC, NACK", "FEC, RED, NACK"}
	talkers := []string{floor, "nothing", "FEC", "RED", "FEC, RED"}
	pausing := []string{floor, "sends on", "DTX"}
	return lossTables{
		newTable(heading, listeners...), newTable(heading, listeners...), newTable(heading, listeners...),
		newTable(heading, talkers...), newTable(heading, talkers...),
		newTable(heading, pausing...), newTable(heading, pausing...),
	}
}

// losses measures listeners whose networks lose, talkers whose networks lose, and talkers who pause, all at once for each network.
func (b *bench) losses(ctx context.Context) error {
	t := newLossTables()
	defer t.write(b.w) // of what there is, also when it ends early
	names, networks := b.networks()
	for i, n := range networks {
		b.say(fmt.Sprintf("%d of %d: %s", i+1, len(networks), names[i]))
		if err := b.loss(ctx, t, names[i], n); err != nil {
			return fmt.Errorf("%s: %w", names[i], err)
		}
	}
	return nil
}

func (t lossTables) write(w io.Writer) {
	t.down.write(w, "Listeners who lose: share of what they are played that is made up audibly")
	t.downDelay.write(w, "The same: ms in the jitter buffer")
	t.downRate.write(w, "The same: kbit/s that arrive")
	t.up.write(w, "A talker who loses: share of what listeners are played that is made up audibly")
	t.upDelay.write(w, "The same: ms in the jitter buffer")
	t.pauses.write(w, "A talker who pauses for 3 of 12 seconds, listeners who lose and have FEC, RED and NACK: share made up audibly")
	t.pausesRate.write(w, "The same: kbit/s that arrive")
}

// loss adds the rows of one network.
func (b *bench) loss(ctx context.Context, t lossTables, name string, n lossy.Network) error {
	here := network(0, 0)
	ours := weak.Listener{RED: true, NACK: true, Network: here} // as our page offers it
	away := ours
	away.Network = n
	talker := func(fec, red bool) weak.Room {
		return weak.Room{Talker: weak.Talker{FEC: fec, RED: red, Network: n}, Listeners: []weak.Listener{ours}}
	}
	pausing := func(dtx bool) weak.Room {
		return weak.Room{Talker: weak.Talker{FEC: true, DTX: dtx, Pause: 3, Network: here}, Listeners: []weak.Listener{away}}
	}
	results, err := b.hear(ctx, []weak.Room{
		{Talker: weak.Talker{Network: here}, Listeners: []weak.Listener{{Network: n}, {RED: true, Network: n}, {NACK: true, Network: n}}},
		{Talker: weak.Talker{FEC: true, Network: here}, Listeners: []weak.Listener{{Network: n}, {NACK: true, Network: n}, away}},
		talker(false, false), talker(true, false), talker(false, true), talker(true, true),
		pausing(false), pausing(true),
	})
	if err != nil {
		return err
	}
	floor, plain, fec := results[0][0], results[1], results[2]
	cells := []weak.Result{floor, plain[0], fec[0], plain[1], plain[2], fec[1], fec[2]}
	t.down.add(name, cells, percentConcealed)
	t.downDelay.add(name, cells, bufferDelay)
	t.downRate.add(name, cells, bitrate)
	cells = append([]weak.Result{floor}, firsts(results[3:7])...)
	t.up.add(name, cells, percentConcealed)
	t.upDelay.add(name, cells, bufferDelay)
	cells = append([]weak.Result{floor}, firsts(results[7:])...)
	t.pauses.add(name, cells, percentConcealed)
	t.pausesRate.add(name, cells, bitrate)
	return nil
}

// ticks measures what browsers make of packets that come in runs.
func (b *bench) ticks(ctx context.Context) error {
	all := []time.Duration{0, 10 * time.Millisecond, 20 * time.Millisecond}
	var columns []string
	var rooms []weak.Room
	for _, tick := range all {
		columns = append(columns, fmt.Sprintf("tick %v", tick))
		here := network(0, 0)
		rooms = append(rooms, weak.Room{Talker: weak.Talker{FEC: true, Network: here}, Tick: tick,
			Listeners: []weak.Listener{{RED: true, NACK: true, Network: here}, {Firefox: true, NACK: true, Network: here}}})
	}
	b.say("ticks of the audience")
	results, err := b.hear(ctx, rooms)
	if err != nil {
		return fmt.Errorf("ticks: %w", err)
	}
	t := newTable("", columns...)
	for i, name := range []string{"Chromium", "Firefox"} {
		var cells []weak.Result
		for _, r := range results[1:] {
			cells = append(cells, r[i])
		}
		t.add(name+", target", cells, func(r weak.Result) string { return fmt.Sprintf("%.0f", ms(r.Target())) })
		t.add(name+", in the buffer", cells, bufferDelay)
	}
	t.write(b.w, "The audience's tick: ms that browsers mean to keep in the jitter buffer, and keep there")
	return nil
}

// firsts are the results of the only listener of each room.
func firsts(results [][]weak.Result) (cells []weak.Result) {
	for _, r := range results {
		cells = append(cells, r[0])
	}
	return cells
}

func percentConcealed(r weak.Result) string { return fmt.Sprintf("%.1f %%", 100*r.Concealed()) }
func bufferDelay(r weak.Result) string      { return fmt.Sprintf("%.0f", ms(r.Delay())) }
func bitrate(r weak.Result) string          { return fmt.Sprintf("%.0f", r.Bitrate()/1000) }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
