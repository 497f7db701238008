package media_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/media"
	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// speechEvery is how often a client that speaks sends a packet.
const speechEvery = 20 * time.Millisecond

// stage is a room with a moderator, a hostile client that never stops sending, and listeners.
type stage struct {
	*pod
	ann  *peer
	bob  *hostile
	taps []*wiretap
}

func newStage(b *testing.B, listeners int) *stage {
	b.Helper()
	p := newPod(b, func(c *media.Config) { c.Logger = slog.New(slog.DiscardHandler) })
	p.put(func(r *mediaapi.PutRequest) { r.Spec.MaxMics = 2 })
	s := &stage{pod: p, ann: p.join(owner, voice)}
	s.bob = p.join("key:shop:bob", voice).turnHostile(speechEvery)
	for i := range listeners {
		tap := &wiretap{}
		p.join(fmt.Sprint("key:shop:", i), transporttest.Options{Slots: 2, Data: true, Tap: tap.hear})
		s.taps = append(s.taps, tap)
	}
	return s
}

// silence lets bob speak and then gives a command that silences him. It returns how long
// after the command was sent the last packet of his came to a listener's socket, 0 if none did, and
// how long one packet of somebody else took to get there in the same moment.
func (s *stage) silence(revoke room.Command) (took, packet time.Duration) {
	s.t.Helper()
	from := make([]int, len(s.taps))
	mark := func() {
		for i, tap := range s.taps {
			from[i] = tap.len()
		}
	}
	heard := func(what string, member uint32) (last time.Time) {
		for i, tap := range s.taps {
			next := tap.await(s.t, what, from[i], func(a arrival) bool { return a.member == member })
			if at := tap.place(next - 1).at; at.After(last) {
				last = at
			}
		}
		return last
	}
	mark()
	s.command("", room.MuteMember{Member: s.bob.member})
	s.command("", room.GiveMic{Member: s.bob.member, Index: -1})
	heard("bob is heard", s.bob.member)
	time.Sleep(rand.N(speechEvery)) // so that commands come at any time between two packets

	mark()
	sent := time.Now()
	s.command(s.ann.session, revoke)
	spoke := time.Now()
	s.ann.say("silence", 30)
	packet = heard("ann is heard", s.ann.member).Sub(spoke)
	for i, tap := range s.taps { // what was sent to a socket before ann's packet has come before it
		for _, a := range tap.of(s.bob.member, from[i]) {
			took = max(took, a.at.Sub(sent))
		}
	}
	return took, packet
}

// BenchmarkRevokeToSilence is the time from the moment in which a moderator's command is sent until
// the last packet of a hostile client, which goes on speaking, comes to a listener's socket. The
// floor is the time that a packet takes through the server in the same moments.
func BenchmarkRevokeToSilence(b *testing.B) {
	const rooms, listeners, least = 4, 3, 400
	stages := make([]*stage, rooms)
	for i := range stages {
		stages[i] = newStage(b, listeners)
	}
	var mu sync.Mutex
	var silences, packets []time.Duration
	round := func(n int) {
		var all sync.WaitGroup
		for _, s := range stages {
			all.Go(func() {
				revoke := []room.Command{room.MuteMember{Member: s.bob.member, Muted: true}, room.PullMic{Member: s.bob.member}}[n%2]
				took, packet := s.silence(revoke)
				mu.Lock()
				defer mu.Unlock()
				silences, packets = append(silences, took), append(packets, packet)
			})
		}
		all.Wait()
	}
	n := 0
	for ; b.Loop(); n++ {
		round(n)
	}
	for ; len(silences) < least; n++ {
		round(n)
	}
	report := func(name string, of []time.Duration) (p99 float64) {
		slices.Sort(of)
		ms := func(q int) float64 { return of[(len(of)*q+99)/100-1].Seconds() * 1e3 }
		b.ReportMetric(ms(50), name+"p50-ms")
		b.ReportMetric(ms(99), name+"p99-ms")
		return ms(99)
	}
	b.ReportMetric(report("", silences)/report("floor-", packets), "x-floor")
	b.ReportMetric(float64(len(silences)), "revokes")
}
