package media

import (
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/srtp/v3"
	"go.opentelemetry.io/otel/trace"

	"voiceroom.dev/voiceroom/media/egress"
	"voiceroom.dev/voiceroom/media/transport"
)

// wire is a client's end of the network: it counts packets by the members whose audio
// they carry, 0 for nobody's.
type wire struct {
	slots []transport.Slot
	mu    sync.Mutex
	from  map[uint32]int
}

func (w *wire) Slots() []transport.Slot { return w.slots }
func (w *wire) SendKeys() (transport.Keys, error) {
	return transport.Keys{Profile: srtp.ProtectionProfileAeadAes128Gcm, Master: make([]byte, 16), Salt: make([]byte, 12)}, nil
}
func (w *wire) SetReporter(transport.Reporter) {}
func (w *wire) Runs() bool                     { return true }

// Queue lets packets arrive at once.
func (w *wire) Queue(_ *transport.Batch, packets []byte, segment int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ; len(packets) > 0; packets = packets[min(segment, len(packets)):] {
		members := int(packets[0] & 0x0f)
		if members == 0 {
			w.from[0]++
		}
		for i := range members {
			w.from[binary.BigEndian.Uint32(packets[12+4*i:])]++
		}
	}
}

// noBatch is for a wire, which needs none.
func noBatch(int) *transport.Batch { return &transport.Batch{} }

// newPromptForwarder serves everybody at once.
func newPromptForwarder() *forwarder { return newForwarder(0, 1, noBatch) }

func (w *wire) heard(member uint32) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.from[member]
}

func listen(t testing.TB, f *forwarder, name string, slots int) (*session, *wire) {
	t.Helper()
	w := &wire{from: map[uint32]int{}}
	for i := range slots {
		w.slots = append(w.slots, transport.Slot{Index: i, SSRC: uint32(1000 + i), PayloadType: 111, NACK: true})
	}
	out, err := egress.New(w)
	if err != nil {
		t.Fatal(err)
	}
	s := &session{id: name}
	f.enter(s, out, time.Now())
	return s, w
}

// talk makes packets of a session, 20 ms apart.
type talk struct {
	s      *session
	packet transport.Packet
}

func newTalk(s *session, level uint8) *talk {
	return &talk{s: s, packet: transport.Packet{SSRC: 7, HasLevel: true, Level: level, Voice: true, Payload: []byte("twelve bytes"), Arrival: time.Now()}}
}

func (k *talk) next(f *forwarder) {
	k.packet.Sequence++
	k.packet.Timestamp += 960
	k.packet.Arrival = k.packet.Arrival.Add(20 * time.Millisecond)
	f.forward(k.s, &k.packet)
}

// slotsOf is who is on which slot of a session.
func slotsOf(s *session) []uint32 {
	var members []uint32
	for _, t := range s.hears.slots {
		if t == nil {
			members = append(members, 0)
		} else {
			members = append(members, t.member)
		}
	}
	return members
}

// However the packets of a talker race with the loss of its grant: when setGrants
// has returned, nothing of it reaches the network, not even when asked for again.
func TestRevokedWhilePacketsRace(t *testing.T) {
	for name, tick := range map[string]time.Duration{"at once": 0, "on a tick": 50 * time.Microsecond} {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				f := newForwarder(tick, 2, noBatch)
				testRevokedWhilePacketsRace(t, f)
				f.stop()
			}
		})
	}
}

func testRevokedWhilePacketsRace(t *testing.T, f *forwarder) {
	ann, wire := listen(t, f, "ann", 2)
	bob, _ := listen(t, f, "bob", 2)
	f.setGrants([]grant{{session: bob, member: 2, number: 2}}, nil, time.Now())
	stop := make(chan struct{})
	var done sync.WaitGroup
	var forwarded atomic.Int64
	done.Go(func() {
		talk := newTalk(bob, 30)
		for {
			talk.next(f)
			forwarded.Add(1)
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for wire.heard(2) == 0 {
		runtime.Gosched()
	}
	f.setGrants(nil, nil, time.Now())
	heard, before := wire.heard(2), forwarded.Load()
	for seq := range uint16(1 << 10) { // whatever the ring may hold
		f.resend(ann, 0, []uint16{seq << 6, seq})
	}
	for forwarded.Load() < before+100 {
		runtime.Gosched()
	}
	close(stop)
	done.Wait()
	if got := wire.heard(2) - heard; got != 0 {
		t.Fatalf("%d packets were sent after the grant was revoked", got)
	}
}

// A grant that ended is not the one that the same member was given since: what came under it
// is not forwarded under the other, nor sent again. One that only moved goes on without a gap.
func TestFence(t *testing.T) {
	tests := []struct {
		name  string
		moved []uint64
		cut   bool
	}{
		{"given again", nil, true},
		{"another one moved", []uint64{8}, true},
		{"moved", []uint64{8, 7}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newPromptForwarder()
			ann, wire := listen(t, f, "ann", 1)
			bob, _ := listen(t, f, "bob", 1)
			first := time.Now()
			f.setGrants([]grant{{session: bob, member: 2, number: 7}}, nil, first)
			talk := newTalk(bob, 30)
			talk.packet.Arrival = first
			talk.next(f)
			if wire.heard(2) != 1 || wire.heard(0) != 0 {
				t.Fatal("bob is not heard under his first grant")
			}
			talk.packet.Sequence++
			late := talk.packet // arrives, and waits for the mutex
			late.Arrival = late.Arrival.Add(time.Millisecond)

			f.setGrants([]grant{{session: bob, member: 2, number: 9}}, test.moved, talk.packet.Arrival.Add(2*time.Millisecond))
			for seq := range 1 << 16 {
				f.resend(ann, 0, []uint16{uint16(seq)})
			}
			f.forward(bob, &late)
			want := 1 // by the first grant
			if !test.cut {
				want += 2 // sent again, and the one that waited
			}
			if got := wire.heard(2); got != want {
				t.Errorf("%d packets of bob were sent, want %d", got, want)
			}
			if silenced := wire.heard(0) > 0; silenced != test.cut {
				t.Errorf("his slot ends in silence: %v, want %v", silenced, test.cut)
			}
			talk.next(f)
			if got := wire.heard(2); got != want+1 {
				t.Errorf("the first packet under his grant of now is not sent")
			}
			f.setGrants([]grant{{session: bob, member: 2, number: 9}}, nil, talk.packet.Arrival)
			if talk.next(f); wire.heard(2) != want+2 {
				t.Error("the same grant again silenced him")
			}
		})
	}
}

// Who has priority is heard at its first word where there is no slot for all.
func TestPriorityIsHeard(t *testing.T) {
	f := newPromptForwarder()
	listener, _ := listen(t, f, "listener", 1)
	bob, _ := listen(t, f, "bob", 1)
	cy, _ := listen(t, f, "cy", 1)
	grants := []grant{{session: bob, member: 2, number: 1}, {session: cy, member: 3, number: 2, priority: true}}
	f.setGrants(grants, nil, time.Now())
	loud, soft := newTalk(bob, 20), newTalk(cy, 45)
	for range 10 {
		loud.next(f)
	}
	if got := slotsOf(listener); !slices.Equal(got, []uint32{2}) {
		t.Fatalf("slots %v while only bob talks", got)
	}
	soft.packet.Arrival = loud.packet.Arrival
	soft.next(f)
	if got := slotsOf(listener); !slices.Equal(got, []uint32{3}) {
		t.Errorf("slots %v, want who has priority", got)
	}
	grants[1].priority = false
	f.setGrants(grants, nil, soft.packet.Arrival)
	loud.next(f)
	if got := slotsOf(listener); !slices.Equal(got, []uint32{2}) {
		t.Errorf("slots %v after the priority was taken back", got)
	}
}

// With more talkers than slots the loudest are heard, each listener without itself,
// and who goes on talking keeps its slot.
func TestLoudestOnSlots(t *testing.T) {
	f := newPromptForwarder()
	listener, wire := listen(t, f, "listener", 2)
	ann, annWire := listen(t, f, "ann", 2)
	bob, _ := listen(t, f, "bob", 2)
	cy, _ := listen(t, f, "cy", 1)
	f.setGrants([]grant{{session: ann, member: 1, number: 1}, {session: bob, member: 2, number: 2}, {session: cy, member: 3, number: 3}}, nil, time.Now())
	if got := slotsOf(listener); !slices.Equal(got, []uint32{1, 2}) {
		t.Errorf("by age of the grants: slots %v", got)
	}
	talks := []*talk{newTalk(ann, 55), newTalk(bob, 30), newTalk(cy, 28)}
	for range 100 {
		for _, k := range talks {
			k.next(f)
		}
	}
	for _, want := range []struct {
		s     *session
		slots []uint32
	}{{listener, []uint32{3, 2}}, {ann, []uint32{2, 3}}, {bob, []uint32{1, 3}}, {cy, []uint32{2}}} {
		if got := slotsOf(want.s); !slices.Equal(got, want.slots) {
			t.Errorf("%s has %v, want %v", want.s.id, got, want.slots)
		}
	}
	if annWire.heard(1) != 0 {
		t.Error("ann hears herself")
	}
	quiet := wire.heard(1)
	for range 50 {
		for _, k := range talks {
			k.next(f)
		}
	}
	if got := wire.heard(1) - quiet; got != 0 {
		t.Errorf("the quietest was heard %d times on two slots", got)
	}
	if two, three := wire.heard(2), wire.heard(3); two < 140 || three < 100 {
		t.Errorf("the loudest were heard %d and %d times of 150", two, three)
	}
	f.leave(bob, time.Now())
	if got := slotsOf(listener); !slices.Equal(got, []uint32{3, 1}) {
		t.Errorf("a free slot is not taken at once: %v", got)
	}
}

// A slot whose talker stops without a word ends in silence, once; a pause that the
// codec announced does not.
func TestSilenceWhenATalkerStops(t *testing.T) {
	f := newPromptForwarder()
	_, wire := listen(t, f, "ann", 2)
	bob, _ := listen(t, f, "bob", 2)
	f.setGrants([]grant{{session: bob, member: 2, number: 2}}, nil, time.Now())
	k := newTalk(bob, 30)
	k.next(f)
	f.hush(k.packet.Arrival.Add(quietAfter / 2))
	if got := wire.heard(0); got != 0 {
		t.Errorf("%d packets of silence while packets may be late", got)
	}
	for range 2 {
		f.hush(k.packet.Arrival.Add(quietAfter))
		if got := wire.heard(0); got != 3 {
			t.Errorf("%d packets of silence, want 3", got)
		}
	}
	k.packet.Payload = []byte{0x78}
	k.next(f)
	f.hush(k.packet.Arrival.Add(10 * quietAfter))
	if got := wire.heard(0); got != 3 {
		t.Errorf("%d packets of silence after an announced pause, want the 3 before", got)
	}
}

// Of those who are traced it is told once when their first audio came or went, and never of who left before.
func TestFirstAudio(t *testing.T) {
	f := newPromptForwarder()
	traced := journey{parent: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})}
	enter := func(name string, slots int) *session {
		s, _ := listen(t, f, name, slots)
		out := s.hears.out
		f.leave(s, time.Now())
		s.journey = traced
		f.enter(s, out, time.Now())
		return s
	}
	bob, deaf, gone := enter("bob", 1), enter("deaf", 0), enter("gone", 1)
	enter("ann", 1)
	f.setGrants([]grant{{session: bob, member: 2, number: 2}, {session: deaf, member: 3, number: 3}}, nil, time.Now())
	f.leave(gone, time.Now())
	var got []string
	for _, s := range []*session{bob, bob, deaf} {
		newTalk(s, 30).next(f)
		for _, first := range f.takeAudible() {
			got = append(got, first.session.id)
		}
	}
	if want := []string{"bob", "ann", "deaf"}; !slices.Equal(got, want) {
		t.Errorf("first audio of %v, want %v", got, want)
	}
}

// Nothing is allocated for a packet.
func TestForwardDoesNotAllocate(t *testing.T) {
	f := newPromptForwarder()
	listen(t, f, "ann", 2)
	bob, _ := listen(t, f, "bob", 2)
	f.setGrants([]grant{{session: bob, member: 2, number: 2}}, nil, time.Now())
	k := newTalk(bob, 30)
	k.next(f)
	if n := testing.AllocsPerRun(100, func() { k.next(f) }); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

func TestPercentile75(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{[]float64{0.5}, 0.5}, {[]float64{0.2, 0.1}, 0.2}, {[]float64{4, 1, 3, 2}, 3}, {[]float64{5, 4, 3, 2, 1}, 4}} {
		if got := percentile75(test.values); got != test.want {
			t.Errorf("%v: got %v, want %v", test.values, got, test.want)
		}
	}
}
