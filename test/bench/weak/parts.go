package main

import (
	"context"
	"fmt"
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
	jitters := []time.Duration{0}
	if b.jitter > 0 {
		jitters = append(jitters, b.jitter)
	}
	for _, jitter := range jitters {
		for _, loss := range b.losses {
			name := fmt.Sprintf("%g %%", 100*loss)
			if jitter > 0 {
				name += fmt.Sprintf(", %v jitter", jitter)
			}
			names, all = append(names, name), append(all, network(loss, jitter))
		}
	}
	return names, all
}

// down measures listeners whose networks lose, both what they are sent and what they ask for.
func (b *bench) down(ctx context.Context) error {
	const heading = "lost each way"
	columns := []string{"nothing", "FEC", "RED", "NACK", "FEC, NACK", "FEC, RED, NACK"}
	concealed, delay, rate := newTable(heading, columns...), newTable(heading, columns...), newTable(heading, columns...)
	names, networks := b.networks()
	for i, n := range networks {
		results, err := b.hear(ctx, []weak.Room{
			{Listeners: []weak.Listener{{Network: n}, {RED: true, Network: n}, {NACK: true, Network: n}}},
			{Talker: weak.Talker{FEC: true}, Listeners: []weak.Listener{{Network: n}, {NACK: true, Network: n}, {RED: true, NACK: true, Network: n}}},
		})
		if err != nil {
			return fmt.Errorf("%s lost on the way down: %w", names[i], err)
		}
		plain, fec := results[0], results[1]
		cells := []weak.Result{plain[0], fec[0], plain[1], plain[2], fec[1], fec[2]}
		concealed.add(names[i], cells, percentConcealed)
		delay.add(names[i], cells, bufferDelay)
		rate.add(names[i], cells, bitrate)
	}
	concealed.write(b.w, "Listeners who lose: share of what they are played that is made up audibly")
	delay.write(b.w, "The same: ms in the jitter buffer")
	rate.write(b.w, "The same: kbit/s that arrive")
	return nil
}

// up measures talkers whose networks lose. Their listeners' do not; they offer what our client offers.
func (b *bench) up(ctx context.Context) error {
	columns := []string{"nothing", "FEC", "RED", "FEC, RED"}
	concealed, delay := newTable("lost each way", columns...), newTable("lost each way", columns...)
	names, networks := b.networks()
	for i, n := range networks {
		var rooms []weak.Room
		for _, t := range []weak.Talker{{}, {FEC: true}, {RED: true}, {FEC: true, RED: true}} {
			t.Network = n
			rooms = append(rooms, weak.Room{Talker: t, Listeners: []weak.Listener{{RED: true, NACK: true, Network: network(0, 0)}}})
		}
		results, err := b.hear(ctx, rooms)
		if err != nil {
			return fmt.Errorf("%s lost on the way up: %w", names[i], err)
		}
		concealed.add(names[i], firsts(results), percentConcealed)
		delay.add(names[i], firsts(results), bufferDelay)
	}
	concealed.write(b.w, "A talker who loses: share of what listeners are played that is made up audibly")
	delay.write(b.w, "The same: ms in the jitter buffer")
	return nil
}

// pauses measures talkers who pause, with and without discontinuous transmission.
func (b *bench) pauses(ctx context.Context) error {
	concealed, rate := newTable("lost each way", "sends on", "DTX"), newTable("lost each way", "sends on", "DTX")
	names, networks := b.networks()
	for i, n := range networks {
		var rooms []weak.Room
		for _, dtx := range []bool{false, true} {
			rooms = append(rooms, weak.Room{Talker: weak.Talker{FEC: true, DTX: dtx, Pause: 3},
				Listeners: []weak.Listener{{RED: true, NACK: true, Network: n}}})
		}
		results, err := b.hear(ctx, rooms)
		if err != nil {
			return fmt.Errorf("%s lost, with pauses: %w", names[i], err)
		}
		concealed.add(names[i], firsts(results), percentConcealed)
		rate.add(names[i], firsts(results), bitrate)
	}
	concealed.write(b.w, "A talker who pauses for 3 of 12 seconds, listeners who lose and have FEC, RED and NACK: share made up audibly")
	rate.write(b.w, "The same: kbit/s that arrive")
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
	results, err := b.hear(ctx, rooms)
	if err != nil {
		return fmt.Errorf("ticks: %w", err)
	}
	t := newTable("", columns...)
	for i, name := range []string{"Chromium", "Firefox"} {
		var cells []weak.Result
		for _, r := range results {
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
