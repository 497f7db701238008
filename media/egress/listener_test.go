package egress

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"voiceroom.dev/voiceroom/media/transport"
)

// wire is a Link that ends here: it opens what a listener sends, as the client would.
type wire struct {
	t     testing.TB
	slots []transport.Slot
	keys  transport.Keys
	in    *srtp.Context
	raw   [][]byte

	runs    bool
	lengths []int // of the runs that were queued
}

func newWire(t testing.TB, profile srtp.ProtectionProfile, slots ...transport.Slot) *wire {
	for i := range slots {
		slots[i].Index, slots[i].SSRC, slots[i].PayloadType = i, uint32(1000+i), 109
	}
	keys := testKeys(t, profile)
	return &wire{t: t, slots: slots, keys: keys, in: opener(t, keys)}
}

func (w *wire) Slots() []transport.Slot           { return w.slots }
func (w *wire) SendKeys() (transport.Keys, error) { return w.keys, nil }
func (w *wire) SetReporter(transport.Reporter)    {}
func (w *wire) Runs() bool                        { return w.runs }

// Queue sends at once.
func (w *wire) Queue(_ *transport.Batch, packets []byte, segment int) {
	run := 0
	for ; len(packets) > 0; run++ {
		n := min(segment, len(packets))
		w.raw = append(w.raw, bytes.Clone(packets[:n]))
		packets = packets[n:]
	}
	w.lengths = append(w.lengths, run)
}

// open returns what was sent since the last time.
func (w *wire) open() []rtp.Packet {
	w.t.Helper()
	var packets []rtp.Packet
	for _, raw := range w.raw {
		plain, err := w.in.DecryptRTP(nil, raw, nil)
		if err != nil {
			w.t.Fatalf("open a packet: %v", err)
		}
		var p rtp.Packet
		if err := p.Unmarshal(plain); err != nil {
			w.t.Fatalf("parse a packet: %v", err)
		}
		packets = append(packets, p)
	}
	w.raw = nil
	return packets
}

// hearing is a listener, served whenever something is said.
type hearing struct {
	*Listener
	t   testing.TB
	out *Outbox
	log Log
}

func newHearing(t testing.TB, link Link) *hearing {
	t.Helper()
	l, err := New(link)
	if err != nil {
		t.Fatal(err)
	}
	return &hearing{Listener: l, t: t, out: NewOutbox(&transport.Batch{})}
}

// say appends a packet to the log, in which the members are heard, and serves it.
func (h *hearing) say(log *Log, p *transport.Packet, members ...uint32) {
	h.t.Helper()
	if !log.Append(p, members...) {
		h.t.Fatalf("%d bytes are not taken", len(p.Payload))
	}
	h.serve()
}

func (h *hearing) serve() {
	h.Serve(h.out)
	h.out.Flush()
}

func packetAt(i int, payload string) *transport.Packet {
	return &transport.Packet{
		SSRC: 1, Sequence: uint16(i), Timestamp: uint32(960 * i), Payload: []byte(payload),
		Arrival: start.Add(time.Duration(i) * 20 * time.Millisecond),
	}
}

// sent is what matters of a packet.
type sent struct {
	SSRC    uint32
	CSRC    []uint32
	Level   byte
	Marker  bool
	Payload string
}

func summary(p rtp.Packet) sent {
	s := sent{SSRC: p.SSRC, CSRC: p.CSRC, Marker: p.Marker, Payload: string(p.Payload)}
	if level := p.GetExtension(5); len(level) == 1 {
		s.Level = level[0]
	}
	return s
}

func silenceOn(ssrc uint32) sent { return sent{SSRC: ssrc, Level: 127, Payload: "\xf8\xff\xfe"} }

func compare(t *testing.T, want []sent, packets []rtp.Packet) {
	t.Helper()
	var got []sent
	for _, p := range packets {
		got = append(got, summary(p))
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

func TestHearAndSilence(t *testing.T) {
	w := newWire(t, srtp.ProtectionProfileAeadAes128Gcm, transport.Slot{}, transport.Slot{LevelExt: 5})
	h := newHearing(t, w)
	var one, other, mix Log
	h.say(&one, packetAt(0, "before anybody hears it"), 77)
	h.Hear(0, &one, start)
	h.Hear(1, &one, start)
	loud := packetAt(1, "loud")
	loud.HasLevel, loud.Level, loud.Voice = true, 12, true
	h.say(&one, loud, 77)
	h.Hear(1, &one, start) // already
	h.Hear(0, nil, start.Add(30*time.Millisecond))
	h.say(&one, packetAt(2, "no level"), 77)
	at := start.Add(60 * time.Millisecond)
	h.Silence(1, at)
	h.Silence(1, at) // it is owed already
	h.serve()
	h.Silence(1, at) // silent already
	h.serve()
	h.Hear(1, &other, at)
	h.say(&other, packetAt(9, "another"), 78)
	h.Hear(1, &mix, start.Add(220*time.Millisecond))
	h.say(&mix, packetAt(1, "several"), 78, 77, 79)

	packets := w.open()
	silence := silenceOn(1001)
	compare(t, []sent{
		{SSRC: 1000, CSRC: []uint32{77}, Marker: true, Payload: "loud"},
		{SSRC: 1001, CSRC: []uint32{77}, Level: 0x80 | 12, Marker: true, Payload: "loud"},
		{SSRC: 1000, Payload: silence.Payload}, {SSRC: 1000, Payload: silence.Payload}, {SSRC: 1000, Payload: silence.Payload},
		{SSRC: 1001, CSRC: []uint32{77}, Payload: "no level"},
		silence, silence, silence,
		{SSRC: 1001, CSRC: []uint32{78}, Marker: true, Payload: "another"},
		silence, silence, silence,
		{SSRC: 1001, CSRC: []uint32{78, 77, 79}, Marker: true, Payload: "several"},
	}, packets)
	last := map[uint32]rtp.Packet{}
	for _, p := range packets {
		if p.PayloadType != 109 {
			t.Errorf("payload type %d", p.PayloadType)
		}
		before, ok := last[p.SSRC]
		if ok && (p.SequenceNumber != before.SequenceNumber+1 || p.Timestamp-before.Timestamp < frame) {
			t.Errorf("from %d at %d to %d at %d", before.SequenceNumber, before.Timestamp, p.SequenceNumber, p.Timestamp)
		}
		last[p.SSRC] = p
	}
}

// What waits to be sent when a slot is taken away, or is skipped, is never sent.
func TestWhatWaitsCanBeTakenBack(t *testing.T) {
	w := newWire(t, srtp.ProtectionProfileAeadAes128Gcm, transport.Slot{NACK: true}, transport.Slot{})
	h := newHearing(t, w)
	var one Log
	h.Hear(0, &one, start)
	h.Hear(1, &one, start)
	one.Append(packetAt(0, "waits"), 77)
	h.Hear(0, nil, start)
	h.Skip(1)
	h.serve()
	h.say(&one, packetAt(1, "after"), 77)
	compare(t, []sent{{SSRC: 1001, CSRC: []uint32{77}, Marker: true, Payload: "after"}}, w.open())
}

// Who is not served for long gets what is still there.
func TestLateListener(t *testing.T) {
	w := newWire(t, srtp.ProtectionProfileAeadAes128Gcm, transport.Slot{})
	h := newHearing(t, w)
	h.Hear(0, &h.log, start)
	for i := range logSize + 3 {
		h.log.Append(packetAt(i, string(rune('0'+i))), 77)
	}
	h.serve()
	got := w.open()
	if len(got) != logSize || string(got[0].Payload) != "3" || h.out.Late() != 3 {
		t.Errorf("%d packets were sent, from %q on, and %d counted as late", len(got), got[0].Payload, h.out.Late())
	}
}

// Packets that leave together are equally long, but for the last, and what is padded is not heard.
func TestRuns(t *testing.T) {
	tests := []struct {
		name    string
		sizes   []int // of a packet on each slot
		runs    bool
		lengths []int
		padded  []bool
	}{
		{"equal", []int{50, 50, 50}, true, []int{3}, []bool{false, false, false}},
		{"unequal", []int{50, 90, 3, 20}, true, []int{4}, []bool{true, false, true, false}},
		{"one is much longer", []int{50, 60, 700, 700}, true, []int{2, 2}, []bool{true, false, false, false}},
		{"nothing is gained", []int{50, 90, 20}, false, []int{1, 1, 1}, []bool{false, false, false}},
	}
	for _, test := range tests {
		for profile := range profiles {
			t.Run(test.name+" "+profile, func(t *testing.T) {
				w := newWire(t, profiles[profile], make([]transport.Slot, len(test.sizes))...)
				w.runs = test.runs
				h := newHearing(t, w)
				logs := make([]Log, len(test.sizes))
				for i, size := range test.sizes {
					h.Hear(i, &logs[i], start)
					logs[i].Append(packetAt(0, strings.Repeat("x", size)), 77)
				}
				h.serve()
				if diff := cmp.Diff(test.lengths, w.lengths); diff != "" {
					t.Errorf("runs (-want +got):\n%s", diff)
				}
				at := 0
				for _, n := range w.lengths {
					for _, raw := range w.raw[at : at+n-1] {
						if len(raw) != len(w.raw[at]) {
							t.Errorf("%d and %d bytes in one run", len(w.raw[at]), len(raw))
						}
					}
					at += n
				}
				for i, p := range w.open() {
					if len(p.Payload) != test.sizes[i] || p.Padding != test.padded[i] {
						t.Errorf("packet %d has %d bytes, padded: %v", i, len(p.Payload), p.Padding)
					}
				}
			})
		}
	}
}

// However much is due, all of it leaves, in runs that the kernel takes.
func TestMoreThanARun(t *testing.T) {
	w := newWire(t, srtp.ProtectionProfileAeadAes128Gcm, make([]transport.Slot, transport.MaxSlots)...)
	w.runs = true
	h := newHearing(t, w)
	logs := make([]Log, transport.MaxSlots)
	for i := range logs {
		h.Hear(i, &logs[i], start)
		for n := range logSize {
			logs[i].Append(packetAt(n, strings.Repeat("x", maxPayload)), 77)
		}
	}
	h.serve()
	if got := len(w.open()); got != transport.MaxSlots*logSize {
		t.Errorf("%d packets were sent", got)
	}
	for _, n := range w.lengths {
		if n > maxRun {
			t.Errorf("a run of %d", n)
		}
	}
}

func TestOversizedPayloadIsNotTaken(t *testing.T) {
	var l Log
	if p := packetAt(0, strings.Repeat("x", maxPayload+1)); l.Append(p) {
		t.Error("it is taken")
	}
}

func TestResend(t *testing.T) {
	w := newWire(t, srtp.ProtectionProfileAeadAes128Gcm, transport.Slot{NACK: true}, transport.Slot{})
	h := newHearing(t, w)
	h.Hear(0, &h.log, start)
	h.Hear(1, &h.log, start)
	for i := range 3 {
		h.say(&h.log, packetAt(i, "kept, or not"), 77)
	}
	sent := w.raw
	w.raw = nil
	resend := func(index int, seqs ...uint16) {
		h.Resend(h.out, index, seqs)
		h.out.Flush()
	}
	seq := uint16(h.slots[0].last.index)
	resend(0, seq-1, seq+1, seq)
	resend(1, uint16(h.slots[1].last.index))
	if want := [][]byte{sent[2], sent[4]}; !cmp.Equal(want, w.raw) {
		t.Errorf("resent %d packets that are not those sent: %s", len(w.raw), cmp.Diff(want, w.raw))
	}
	w.raw = nil
	h.Skip(0)
	h.Skip(1)
	resend(0, seq-1, seq)
	if len(w.raw) != 0 {
		t.Error("what was skipped was resent")
	}
	h.say(&h.log, packetAt(3, "once more"), 77)
	h.Hear(0, nil, start)
	w.raw = nil
	resend(0, seq+1)
	if len(w.raw) != 0 {
		t.Error("what a slot played before was resent")
	}
}

func TestSenderInfo(t *testing.T) {
	w := newWire(t, srtp.ProtectionProfileAeadAes128Gcm, transport.Slot{})
	h := newHearing(t, w)
	if _, ok := h.SenderInfo(0, time.Now()); ok {
		t.Error("a report before the first packet")
	}
	now := time.Now()
	p := packetAt(0, "12345")
	p.Arrival = now
	h.Hear(0, &h.log, now)
	h.say(&h.log, p, 77)
	first := w.open()[0]
	got, ok := h.SenderInfo(0, now.Add(time.Second))
	want := transport.SenderInfo{Packets: 1, Octets: 5, RTPTime: first.Timestamp + clockRate}
	// Both conversions round down.
	if d := want.RTPTime - got.RTPTime; d <= 1 {
		want.RTPTime = got.RTPTime
	}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("report %v (-want +got):\n%s", ok, diff)
	}
}

// drop is a Link that costs nothing.
type drop struct{ *wire }

func (drop) Queue(*transport.Batch, []byte, int) {}

// tick says one packet on each slot of a hearing, and serves them.
type tick struct {
	*hearing
	logs   []Log
	packet *transport.Packet
}

func newTick(t testing.TB, profile srtp.ProtectionProfile, slots int) *tick {
	of := make([]transport.Slot, slots)
	for i := range of {
		of[i] = transport.Slot{NACK: true, LevelExt: 1}
	}
	w := newWire(t, profile, of...)
	w.runs = true
	k := &tick{hearing: newHearing(t, drop{w}), logs: make([]Log, slots), packet: packetAt(0, strings.Repeat("7", 100))}
	k.packet.HasLevel = true
	for i := range k.logs {
		k.Hear(i, &k.logs[i], start)
	}
	return k
}

func (k *tick) next() {
	k.packet.Sequence++
	k.packet.Timestamp += frame
	k.packet.Arrival = k.packet.Arrival.Add(frameTime)
	for i := range k.logs {
		k.packet.Payload = k.packet.Payload[:100-i] // not all are equally long
		k.logs[i].Append(k.packet, uint32(i))
		k.packet.Payload = k.packet.Payload[:100]
	}
	k.serve()
}

func TestServingAllocatesNothing(t *testing.T) {
	for name, profile := range profiles {
		t.Run(name, func(t *testing.T) {
			k := newTick(t, profile, 3)
			k.next()
			if n := testing.AllocsPerRun(1000, k.next); n != 0 {
				t.Errorf("%v allocations per run", n)
			}
		})
	}
}

// BenchmarkServe is what taking, building and sealing a packet costs, without sending it, in runs of
// ten. The floor is sealing alone.
func BenchmarkServe(b *testing.B) {
	for name, profile := range profiles {
		b.Run(name, func(b *testing.B) {
			const slots = 10
			k := newTick(b, profile, slots)
			b.ReportAllocs()
			n := 0
			for ; b.Loop(); n += slots {
				k.next()
			}
			cost := b.Elapsed()

			buf := make([]byte, 0, 200)
			began := time.Now()
			for i := range n {
				k.sealer.seal(buf[:24+100], 24, 1, uint64(i))
			}
			b.ReportMetric(float64(cost)/float64(n), "ns/packet")
			b.ReportMetric(float64(cost)/float64(time.Since(began)), "x-seal")
		})
	}
}
