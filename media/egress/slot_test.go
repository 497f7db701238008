package egress

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/media/transport"
)

var start = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)

// newSlot is a slot whose numbers start at 100 and 5000.
func newSlot() *slot {
	return &slot{last: position{index: 100, timestamp: 5000}, started: start}
}

type step struct {
	ssrc      uint32
	seq       uint16
	timestamp uint32
	ms        int // arrival
	silence   bool

	want   position
	marker bool
	drop   bool
}

func TestPlace(t *testing.T) {
	for name, steps := range map[string][]step{
		"a talker's numbers are kept but for an offset": {
			{seq: 7, timestamp: 900, want: position{100, 5000}, marker: true},
			{seq: 8, timestamp: 1860, ms: 25, want: position{101, 5960}},
			{seq: 11, timestamp: 4740, ms: 80, want: position{104, 8840}},
		},
		"reordered packets fill their gaps, once": {
			{seq: 65535, want: position{100, 5000}, marker: true},
			{seq: 2, timestamp: 2880, ms: 60, want: position{103, 7880}},
			{seq: 0, timestamp: 960, ms: 61, want: position{101, 5960}},
			{seq: 0, timestamp: 960, ms: 62, drop: true},
			{seq: 2, timestamp: 2880, ms: 63, drop: true},
			{seq: 65535, ms: 64, drop: true},
			{seq: 1, timestamp: 1920, ms: 65, want: position{102, 6920}},
		},
		"what comes too late is dropped": {
			{seq: 100, want: position{100, 5000}, marker: true},
			{seq: 132, timestamp: 30720, ms: 640, want: position{132, 35720}},
			{seq: 164, timestamp: 61440, ms: 1280, want: position{164, 66440}},
			{seq: 100, ms: 1281, drop: true},
			{seq: 101, timestamp: 960, ms: 1282, want: position{101, 5960}},
		},
		"a switch goes on in the sequence and by the clock": {
			{seq: 7, timestamp: 900, want: position{100, 5000}, marker: true},
			{ssrc: 2, seq: 50000, timestamp: 3_000_000_000, ms: 1000, want: position{101, 53000}, marker: true},
			{ssrc: 2, seq: 50001, timestamp: 3_000_000_960, ms: 1020, want: position{102, 53960}},
			{ssrc: 2, seq: 49999, timestamp: 2_999_999_040, ms: 1021, drop: true}, // from before the switch
			{ssrc: 9, seq: 1, timestamp: 1, ms: 1021, want: position{103, 54920}, marker: true},
		},
		"silence, and speech after it": {
			{seq: 7, timestamp: 900, want: position{100, 5000}, marker: true},
			{silence: true, ms: 100, want: position{101, 9800}}, // 80 ms late, so it is due now
			{silence: true, ms: 100, want: position{102, 10760}},
			{silence: true, ms: 100, want: position{103, 11720}},
			{seq: 8, timestamp: 1860, ms: 110, want: position{104, 12680}, marker: true},
			{seq: 7, timestamp: 900, ms: 111, drop: true},
		},
		"speech long after silence": {
			{seq: 7, timestamp: 900, want: position{100, 5000}, marker: true},
			{silence: true, ms: 20, want: position{101, 5960}},
			{seq: 8, timestamp: 1860, ms: 1020, want: position{102, 53960}, marker: true},
		},
		"a talker cannot drive the rollover counter": {
			{seq: 0, want: position{100, 5000}, marker: true},
			{seq: 32, timestamp: 30720, ms: 640, want: position{132, 35720}},
			{seq: 65, timestamp: 62400, ms: 660, want: position{133, 36680}, marker: true},
			{seq: 40000, timestamp: 63360, ms: 680, want: position{134, 37640}, marker: true},
			{seq: 40001, timestamp: 64320, ms: 700, want: position{135, 38600}},
		},
		"nor the clock": {
			{seq: 0, timestamp: 1000, want: position{100, 5000}, marker: true},
			{seq: 1, timestamp: 900, ms: 20, want: position{101, 5960}, marker: true},
			{seq: 2, timestamp: 900 + 48000*11, ms: 40, want: position{102, 6920}, marker: true},
			{seq: 3, timestamp: 900 + 48000*20, ms: 9040, want: position{103, 6920 + 48000*9}}, // a pause
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSlot()
			for i, st := range steps {
				arrival := start.Add(time.Duration(st.ms) * time.Millisecond)
				var got step
				if st.silence {
					got.want = s.pause(arrival)
				} else {
					p := &transport.Packet{SSRC: st.ssrc, Sequence: st.seq, Timestamp: st.timestamp, Arrival: arrival}
					at, marker, ok := s.place(p)
					got.want, got.marker, got.drop = at, marker, !ok
				}
				want := step{want: st.want, marker: st.marker, drop: st.drop}
				if diff := cmp.Diff(want, got, cmp.AllowUnexported(step{}, position{})); diff != "" {
					t.Errorf("step %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

func TestFirstSequenceIsLow(t *testing.T) {
	for range 100 {
		var s slot
		s.init(transport.Slot{})
		if s.last.index >= 1<<15 {
			t.Fatalf("starts at %d", s.last.index)
		}
	}
}

// Whatever talkers send, no index is used twice (GCM would give the key away), newer packets have
// newer timestamps, and the sequence never jumps by more than a receiver can follow.
func FuzzPlace(f *testing.F) {
	f.Add([]byte{0, 0, 1, 3, 1, 0, 3, 3, 0, 0, 2, 0, 2, 0, 0, 0, 1, 0, 9, 9})
	f.Add([]byte{1, 255, 255, 1, 1, 0, 0, 1, 1, 255, 254, 1, 3, 0, 0, 0, 1, 0, 1, 1})
	f.Fuzz(func(t *testing.T, ops []byte) {
		s := newSlot()
		seen := map[uint64]bool{}
		now := start
		for ; len(ops) >= 4; ops = ops[4:] {
			now = now.Add(time.Duration(ops[3]) * time.Millisecond)
			before, used := s.last, s.used
			var at position
			if ops[0]&3 == 3 {
				if !s.live {
					continue
				}
				at = s.pause(now)
			} else {
				seq := binary.BigEndian.Uint16(ops[1:])
				p := &transport.Packet{SSRC: uint32(ops[0] & 3), Sequence: seq, Timestamp: uint32(seq) * uint32(ops[0]>>2) * 960, Arrival: now}
				var ok bool
				if at, _, ok = s.place(p); !ok {
					continue
				}
			}
			if seen[at.index] {
				t.Fatalf("index %d was used twice", at.index)
			}
			seen[at.index] = true
			if used && at.index > before.index+MaxAhead {
				t.Fatalf("from %d to %d", before.index, at.index)
			}
			if used && at.index > before.index && int32(at.timestamp-before.timestamp) < 0 {
				t.Fatalf("timestamp from %d to %d", before.timestamp, at.timestamp)
			}
		}
	})
}

func TestRing(t *testing.T) {
	var r ring
	r.put(65535, []byte("a"))
	r.put(0, []byte("b"))
	r.put(1, make([]byte, ringBytes+1))
	for range maxResends {
		if got := string(r.take(65535)); got != "a" {
			t.Fatalf("got %q", got)
		}
	}
	if r.take(65535) != nil {
		t.Error("sent again without end")
	}
	if r.take(1) != nil || r.take(2) != nil {
		t.Error("what was not kept was taken")
	}
	r.put(ringSize, []byte("c"))
	if r.take(0) != nil {
		t.Error("what was overwritten was taken")
	}
	r.put(0, []byte("late"))
	if got := string(r.take(ringSize)); got != "c" {
		t.Errorf("a late packet replaced a newer one: %q", got)
	}
	r.clear()
	if r.take(ringSize) != nil {
		t.Error("what was purged was taken")
	}
}

// However long packets are, what is taken is what was put, or nothing.
func TestRingOfUnequalPackets(t *testing.T) {
	var r ring
	put := map[uint16][]byte{}
	for i := range uint16(1000) {
		packet := bytes.Repeat([]byte{byte(i)}, 1+int(i)*37%1300)
		r.put(i, packet)
		put[i] = packet
		kept := 0
		for back := range uint16(ringSize) {
			got := r.take(i - back)
			if got == nil {
				continue
			}
			kept += len(got)
			if !bytes.Equal(got, put[i-back]) {
				t.Fatalf("after %d: took other bytes for %d", i, i-back)
			}
		}
		if kept < len(packet) || kept > ringBytes {
			t.Fatalf("after %d: %d bytes are kept", i, kept)
		}
	}
}
