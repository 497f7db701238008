package media

import (
	"testing"
	"testing/synctest"
	"time"

	"voiceroom.dev/voiceroom/media/transport"
)

// A talker cannot have more sent to everybody than an encoder makes, and one that was held
// up by its network loses nothing.
func TestFloodIsDropped(t *testing.T) {
	tests := []struct {
		name    string
		packets int
		every   time.Duration
		size    int
		skip    uint16 // numbers that are left out before each packet
		want    int    // are sent on
	}{
		{"5 ms frames at 510 kbit/s", 1000, 5 * time.Millisecond, 380, 0, 1000},
		{"a burst after 1 s", 50, 0, 200, 0, 50},
		{"small packets without end", 10_000, 100 * time.Microsecond, 0, 0, 1138},
		{"large packets without end", 1000, time.Millisecond, 900, 0, 132},
		{"three of four packets are lost", 1000, 80 * time.Millisecond, 200, 3, 1000},
		{"numbers without end", 1000, time.Millisecond, 0, 31, 62},
		{"numbers that are too far ahead", 1000, time.Millisecond, 0, 999, 62},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newPromptForwarder()
			_, wire := listen(t, f, "ann", 2)
			bob, _ := listen(t, f, "bob", 2)
			talk := newTalk(bob, 30)
			talk.packet.Size = test.size
			for i := range test.packets {
				if i%10 == 0 { // a new grant is no new allowance
					f.setGrants(nil, nil, talk.packet.Arrival)
					f.setGrants([]grant{{session: bob, member: 2, number: 2}}, nil, talk.packet.Arrival)
				}
				talk.packet.Arrival = talk.packet.Arrival.Add(test.every - 20*time.Millisecond)
				talk.packet.Sequence += test.skip
				talk.next(f)
			}
			if got := wire.heard(2); got != test.want {
				t.Errorf("%d packets were sent on, want %d", got, test.want)
			}
			if s := f.counted(); int(s.flood) != test.packets-test.want {
				t.Errorf("%d packets are counted as a flood, want %d", s.flood, test.packets-test.want)
			}
		})
	}
}

// What is too much is dropped without the lock, which it would have everybody else wait for.
func TestFloodTakesNoLock(t *testing.T) {
	f := newPromptForwarder()
	flood := newTalk(&session{}, 30)
	flood.s.paced = flood.packet.Arrival.Add(time.Hour)
	f.mu.Lock()
	flood.next(f)
	f.mu.Unlock()
	if s := f.counted(); s.in != 1 || s.flood != 1 {
		t.Errorf("of 1 packet %d came in, and %d are a flood", s.in, s.flood)
	}
}

// Who asks for more packets again than anybody can lack is not heard for a while, and takes no lock.
func TestAsksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPromptForwarder()
		ann, wire := listen(t, f, "ann", 1)
		bob, _ := listen(t, f, "bob", 1)
		f.setGrants([]grant{{session: bob, member: 2, number: 2}}, nil, time.Now())
		newTalk(bob, 30).next(f)
		asks := newSession("ann", &keeper{forwarder: f}, true)
		asks.hears = ann.hears
		seqs := make([]uint16, transport.MaxNACK)
		for range askBurst / len(seqs) {
			asks.NACK(0, seqs)
		}
		f.mu.Lock()
		asks.NACK(0, seqs) // would wait for ever
		f.mu.Unlock()
		for first := range 1 << 15 / len(seqs) {
			for i := range seqs {
				seqs[i] = uint16(first*len(seqs) + i)
			}
			time.Sleep(time.Second)
			asks.NACK(0, seqs)
		}
		if got := wire.heard(2); got != 2 {
			t.Errorf("a packet was heard %d times, want 2: it was asked for again", got)
		}
	})
}
