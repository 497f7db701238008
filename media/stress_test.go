package media

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/media/egress"
	"voiceroom.dev/voiceroom/media/transport"
)

// recorder is a wire that knows each packet by its stream and number.
type recorder struct {
	*wire
	t      testing.TB
	sealed map[uint64]string
}

func (r *recorder) Queue(b *transport.Batch, packets []byte, segment int) {
	r.wire.Queue(b, packets, segment)
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; len(packets) > 0; packets = packets[min(segment, len(packets)):] {
		p := packets[:min(segment, len(packets))]
		number := uint64(binary.BigEndian.Uint32(p[8:]))<<16 | uint64(binary.BigEndian.Uint16(p[2:]))
		if before, known := r.sealed[number]; known && before != string(p) {
			r.t.Errorf("number %d was sealed twice", number&0xffff)
		}
		r.sealed[number] = string(p)
	}
}

func record(t testing.TB, f *forwarder, slots int) (*session, *recorder) {
	t.Helper()
	r := &recorder{wire: &wire{from: map[uint32]int{}}, t: t, sealed: map[uint64]string{}}
	for i := range slots {
		r.slots = append(r.slots, transport.Slot{Index: i, SSRC: uint32(1000 + i), PayloadType: 111, RED: 63, NACK: true})
	}
	out, err := egress.New(r)
	if err != nil {
		t.Fatal(err)
	}
	s := &session{}
	f.enter(s, out, time.Now())
	return s, r
}

// Whatever happens at once, no number of a stream is sealed twice with other content, which would give the key away,
// and of a grant that was revoked nothing is sent any more.
func TestEverythingAtOnce(t *testing.T) {
	for name, tick := range map[string]time.Duration{"at once": 0, "on a tick": 100 * time.Microsecond} {
		t.Run(name, func(t *testing.T) {
			f := newForwarder(tick, 2, noBatch)
			defer f.stop()
			f.codec = hum{}
			c := &crowd{f: f}
			for range 4 {
				s, r := record(t, f, 3)
				c.sessions, c.wires = append(c.sessions, s), append(c.wires, r)
			}
			for i, s := range c.sessions[:3] {
				c.running.Go(func() { c.talk(s, uint64(i)) })
			}
			c.running.Go(func() { c.ask(4) })
			c.running.Go(func() { c.comeAndGo(t, 5) })
			c.moderate(t, 6)
			c.over.Store(true)
			c.running.Wait()
		})
	}
}

// crowd is what goes on in a room.
type crowd struct {
	f        *forwarder
	sessions []*session
	wires    []*recorder
	said     atomic.Int64 // packets
	over     atomic.Bool
	running  sync.WaitGroup
}

// talk says packets, some of which come late, twice or of another source.
func (c *crowd) talk(s *session, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	p := transport.Packet{SSRC: 1, HasLevel: true, Payload: celt}
	for n := uint16(0); !c.over.Load(); n++ {
		p.Sequence = n - uint16(max(rng.IntN(6)-3, 0))
		p.Timestamp, p.Arrival, p.Level = uint32(p.Sequence)*960, time.Now(), uint8(20+rng.IntN(60))
		if rng.IntN(100) == 0 {
			p.SSRC = uint32(rng.IntN(2))
		}
		c.f.forward(s, &p)
		c.said.Add(1)
	}
}

// ask asks for packets again, and reports losses.
func (c *crowd) ask(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	seqs := make([]uint16, transport.MaxNACK)
	for !c.over.Load() {
		i := rng.IntN(len(c.sessions))
		c.wires[i].mu.Lock()
		k := 0
		for number := range c.wires[i].sealed { // of any slot, in any order
			if seqs[k] = uint16(number); k+1 == len(seqs) {
				break
			}
			k++
		}
		c.wires[i].mu.Unlock()
		c.f.resend(c.sessions[i], rng.IntN(3), seqs)
		c.f.protect(c.sessions[i], rng.IntN(3))
	}
}

func (c *crowd) comeAndGo(t testing.TB, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	var passing []*session
	for !c.over.Load() {
		s, _ := record(t, c.f, rng.IntN(4))
		if passing = append(passing, s); len(passing) > 40 {
			i := rng.IntN(len(passing))
			c.f.leave(passing[i], time.Now())
			passing = append(passing[:i], passing[i+1:]...)
		}
	}
}

// moderate gives and takes grants, each of which has a member of its own, and turns the mix on and off.
func (c *crowd) moderate(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	live, revoked := map[*session]grant{}, map[uint32]int{}
	number := uint64(0)
	for range 150 {
		now := time.Now()
		for _, s := range c.sessions[:3] {
			switch rng.IntN(3) {
			case 0:
				delete(live, s)
			case 1:
				number++
				live[s] = grant{session: s, member: uint32(number), number: number, muted: rng.IntN(4) == 0}
			}
		}
		var grants []grant
		for _, s := range c.sessions[:3] {
			if g, on := live[s]; on {
				grants = append(grants, g)
			}
		}
		c.f.setMix(rng.IntN(2) == 0, now)
		c.f.setGrants(grants, nil, now)
		for member := uint32(1); member <= uint32(number); member++ {
			if _, known := revoked[member]; known || c.talks(grants, member) {
				continue
			}
			revoked[member] = c.heard(member)
		}
		for said := c.said.Load(); c.said.Load() < said+50; {
			runtime.Gosched()
		}
		c.f.hush(now.Add(2 * quietAfter))
	}
	heard := 0
	for member, before := range revoked {
		after := c.heard(member)
		if heard += after; after != before {
			t.Errorf("of member %d were sent %d packets after it was revoked", member, after-before)
		}
	}
	if heard == 0 {
		t.Error("nobody was heard")
	}
}

func (c *crowd) talks(grants []grant, member uint32) bool {
	for _, g := range grants {
		if g.member == member {
			return !g.muted
		}
	}
	return false
}

// heard is how many packets of a member the listeners got that stay.
func (c *crowd) heard(member uint32) (packets int) {
	for _, w := range c.wires {
		packets += w.heard(member)
	}
	return packets
}
