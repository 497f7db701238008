package egress

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"voiceroom.dev/voiceroom/media/transport"
)

// wire is a Link that ends here: it opens what a listener sends, as the client would.
type wire struct {
	t      testing.TB
	slots  []transport.Slot
	keys   transport.Keys
	in     *srtp.Context
	raw    [][]byte
	failed error
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
func (w *wire) WriteRTP(packet []byte) error {
	if w.failed != nil {
		return w.failed
	}
	w.raw = append(w.raw, append([]byte(nil), packet...))
	return nil
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

func newListener(t testing.TB, w *wire) *Listener {
	t.Helper()
	l, err := New(w)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func packetAt(i int, payload string) *transport.Packet {
	return &transport.Packet{
		SSRC: 1, Sequence: uint16(i), Timestamp: uint32(960 * i), Payload: []byte(payload),
		Arrival: start.Add(time.Duration(i) * 20 * time.Millisecond),
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestForwardAndSilence(t *testing.T) {
	w := newWire(t, srtp.ProtectionProfileAeadAes128Gcm, transport.Slot{}, transport.Slot{LevelExt: 5})
	l := newListener(t, w)
	loud := packetAt(0, "loud")
	loud.HasLevel, loud.Level, loud.Voice = true, 12, true
	must(t, l.Forward(0, 77, loud))
	must(t, l.Forward(1, 77, loud))
	must(t, l.Forward(1, 77, packetAt(1, "no level")))
	must(t, l.Silence(1, start.Add(40*time.Millisecond)))
	must(t, l.Silence(1, start.Add(40*time.Millisecond))) // silent already
	must(t, l.Forward(1, 78, packetAt(9, "another")))

	type summary struct {
		SSRC, CSRC uint32
		Level      byte
		Marker     bool
		Payload    string
	}
	var got []summary
	packets := w.open()
	for _, p := range packets {
		if p.PayloadType != 109 {
			t.Errorf("payload type %d", p.PayloadType)
		}
		s := summary{SSRC: p.SSRC, Marker: p.Marker, Payload: string(p.Payload)}
		if len(p.CSRC) == 1 {
			s.CSRC = p.CSRC[0]
		}
		if level := p.GetExtension(5); len(level) == 1 {
			s.Level = level[0]
		}
		got = append(got, s)
	}
	silence := summary{SSRC: 1001, Level: 127, Payload: "\xf8\xff\xfe"}
	want := []summary{
		{SSRC: 1000, CSRC: 77, Marker: true, Payload: "loud"},
		{SSRC: 1001, CSRC: 77, Level: 0x80 | 12, Marker: true, Payload: "loud"},
		{SSRC: 1001, CSRC: 77, Payload: "no level"},
		silence, silence, silence,
		{SSRC: 1001, CSRC: 78, Marker: true, Payload: "another"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	for i, p := range packets[2:] {
		if before := packets[i+1]; p.SequenceNumber != before.SequenceNumber+1 || p.Timestamp-before.Timestamp < frame {
			t.Errorf("from %d at %d to %d at %d", before.SequenceNumber, before.Timestamp, p.SequenceNumber, p.Timestamp)
		}
	}
}

func TestOversizedPayloadIsDropped(t *testing.T) {
	w := newWire(t, srtp.ProtectionProfileAeadAes128Gcm, transport.Slot{LevelExt: 1})
	l := newListener(t, w)
	for _, n := range []int{maxPayload, maxPayload + 1} {
		p := packetAt(n, "")
		p.Payload, p.HasLevel = make([]byte, n), true
		must(t, l.Forward(0, 1, p))
	}
	if got := w.open(); len(got) != 1 || len(got[0].Payload) != maxPayload {
		t.Errorf("%d packets were sent", len(got))
	}
}

func TestErrorsOfTheLinkAreReturned(t *testing.T) {
	w := newWire(t, srtp.ProtectionProfileAeadAes128Gcm, transport.Slot{})
	l := newListener(t, w)
	must(t, l.Forward(0, 1, packetAt(0, "a")))
	w.failed = transport.ErrWouldBlock
	if err := l.Forward(0, 1, packetAt(1, "b")); !errors.Is(err, transport.ErrWouldBlock) {
		t.Errorf("forward: %v", err)
	}
	if err := l.Silence(0, start); !errors.Is(err, transport.ErrWouldBlock) {
		t.Errorf("silence: %v", err)
	}
	w.failed = nil
	must(t, l.Forward(0, 1, packetAt(2, "c")))
	got := w.open()
	if d := got[1].SequenceNumber - got[0].SequenceNumber; d != 5 { // b, three of silence, c
		t.Errorf("what was dropped left a gap of %d", d)
	}
}

func TestResend(t *testing.T) {
	w := newWire(t, srtp.ProtectionProfileAeadAes128Gcm, transport.Slot{NACK: true}, transport.Slot{})
	l := newListener(t, w)
	for i := range 3 {
		must(t, l.Forward(0, 1, packetAt(i, "kept")))
		must(t, l.Forward(1, 1, packetAt(i, "not kept")))
	}
	sent := w.raw
	w.raw = nil
	seq := uint16(l.slots[0].last.index)
	must(t, l.Resend(0, []uint16{seq - 1, seq + 1, seq}))
	must(t, l.Resend(1, []uint16{uint16(l.slots[1].last.index)}))
	if want := [][]byte{sent[2], sent[4]}; !cmp.Equal(want, w.raw) {
		t.Errorf("resent %d packets that are not those sent: %s", len(w.raw), cmp.Diff(want, w.raw))
	}
	w.raw = nil
	l.Purge(0)
	l.Purge(1)
	must(t, l.Resend(0, []uint16{seq - 1, seq}))
	if len(w.raw) != 0 {
		t.Error("purged packets were resent")
	}
}

func TestSenderInfo(t *testing.T) {
	w := newWire(t, srtp.ProtectionProfileAeadAes128Gcm, transport.Slot{})
	l := newListener(t, w)
	if _, ok := l.SenderInfo(0, time.Now()); ok {
		t.Error("a report before the first packet")
	}
	now := time.Now()
	p := packetAt(0, "12345")
	p.Arrival = now
	must(t, l.Forward(0, 1, p))
	first := w.open()[0]
	got, ok := l.SenderInfo(0, now.Add(time.Second))
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

func (drop) WriteRTP([]byte) error { return nil }

func TestForwardAllocatesNothing(t *testing.T) {
	for name, profile := range profiles {
		t.Run(name, func(t *testing.T) {
			l, err := New(drop{newWire(t, profile, transport.Slot{NACK: true, LevelExt: 1})})
			must(t, err)
			p := packetAt(0, "")
			p.Payload, p.HasLevel = bytes.Repeat([]byte{7}, 100), true
			if n := testing.AllocsPerRun(1000, func() {
				p.Sequence++
				p.Timestamp += frame
				p.Arrival = p.Arrival.Add(frameTime)
				_ = l.Forward(0, 1, p)
			}); n != 0 {
				t.Errorf("%v allocations per packet", n)
			}
		})
	}
}

// BenchmarkListener is what building and sealing a packet costs, without sending it. The floor is
// sealing alone.
func BenchmarkListener(b *testing.B) {
	for name, profile := range profiles {
		b.Run(name, func(b *testing.B) {
			l, err := New(drop{newWire(b, profile, transport.Slot{LevelExt: 1})})
			must(b, err)
			p := packetAt(0, "")
			p.Payload, p.HasLevel = bytes.Repeat([]byte{7}, 100), true
			b.ReportAllocs()
			n := 0
			for ; b.Loop(); n++ {
				p.Sequence++
				p.Timestamp += frame
				p.Arrival = p.Arrival.Add(frameTime)
				_ = l.Forward(0, 1, p)
			}
			cost := b.Elapsed()

			began := time.Now()
			for i := range n {
				l.sealer.seal(l.buf[:headerSize+len(p.Payload)], headerSize, 1, uint64(i))
			}
			b.ReportMetric(float64(cost)/float64(time.Since(began)), "x-seal")
		})
	}
}
