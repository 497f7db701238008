package transport

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp"

	"voiceroom.dev/voiceroom/media/red"
	"voiceroom.dev/voiceroom/media/transport/transporttest"
)

// frameSize is a frame of 20 ms on the media clock.
const frameSize = 960

// frameOfSeq is the sound of one packet of a test.
func frameOfSeq(seq uint16) []byte { return fmt.Appendf(nil, "frame %d", seq) }

// stampOf is its timestamp; it goes on when the sequence begins again.
func stampOf(seq uint16) uint32 { return uint32(int32(int16(seq)) * frameSize) }

// copies are a packet's redundant blocks as Chromium makes them: of the packets right before it.
func copies(seq uint16, n int) []red.Block {
	var blocks []red.Block
	for k := uint16(n); k > 0; k-- {
		blocks = append(blocks, red.Block{PayloadType: 111, Offset: uint32(k) * frameSize, Data: frameOfSeq(seq - k)})
	}
	return blocks
}

// redundant makes p a RED packet of its own frame and some copies.
func redundant(t testing.TB, p *rtp.Packet, blocks ...red.Block) {
	t.Helper()
	payload, err := red.Append(nil, blocks, red.Block{PayloadType: 111, Data: frameOfSeq(p.SequenceNumber)})
	if err != nil {
		t.Fatal(err)
	}
	p.PayloadType, p.Payload = 63, payload
}

func TestRecover(t *testing.T) {
	type arrival struct {
		seq    uint16
		copies int // -1: plain Opus
	}
	for name, tc := range map[string]struct {
		arrivals  []arrival
		want      []uint16
		recovered uint64
	}{
		"nothing lost":                 {[]arrival{{8, 0}, {9, 1}, {10, 2}, {11, 2}}, []uint16{8, 9, 10, 11}, 0},
		"one lost":                     {[]arrival{{8, 0}, {10, 1}}, []uint16{8, 9, 10}, 1},
		"one lost, many copies of it":  {[]arrival{{7, 0}, {8, 0}, {10, 2}, {11, 2}}, []uint16{7, 8, 9, 10, 11}, 1},
		"more lost than copied":        {[]arrival{{8, 0}, {11, 1}}, []uint16{8, 10, 11}, 1},
		"two lost":                     {[]arrival{{8, 0}, {11, 2}}, []uint16{8, 9, 10, 11}, 2},
		"late after its copy":          {[]arrival{{8, 0}, {10, 1}, {9, 0}, {11, 2}}, []uint16{8, 9, 10, 11}, 1},
		"late, plain, after its copy":  {[]arrival{{8, -1}, {10, 1}, {9, -1}}, []uint16{8, 9, 10}, 1},
		"late before its copy":         {[]arrival{{8, 0}, {10, 0}, {9, 0}, {11, 2}}, []uint16{8, 10, 9, 11}, 0},
		"late with a copy":             {[]arrival{{7, 0}, {10, 0}, {9, 1}}, []uint16{7, 10, 8, 9}, 1},
		"plain packets in between":     {[]arrival{{8, -1}, {10, 1}, {11, -1}, {13, 1}}, []uint16{8, 9, 10, 11, 12, 13}, 2},
		"over the end of the sequence": {[]arrival{{65534, 0}, {1, 2}}, []uint16{65534, 65535, 0, 1}, 2},
		"before the first":             {[]arrival{{8, 1}}, []uint16{7, 8}, 1},
		"after a jump":                 {[]arrival{{8, 0}, {20000, 1}}, []uint16{8, 19999, 20000}, 1},
		"one too late, then a copy":    {[]arrival{{8 + handedSize, -1}, {8, -1}, {9 + handedSize, 1}}, []uint16{8 + handedSize, 8, 9 + handedSize}, 0},
		"of another source":            {[]arrival{{20000, 0}, {8, 0}, {10, 1}}, []uint16{20000, 8, 9, 10}, 1},
		"too late to tell":             {[]arrival{{100, 0}, {100 + handedSize, 0}, {101, 1}, {99, -1}}, []uint16{100, 100 + handedSize, 101, 99}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			c := newSealed(t, s, redLines)
			for _, a := range tc.arrivals {
				c.rd.datagram(c.seal(c.rtp(t, func(p *rtp.Packet) {
					p.SequenceNumber, p.Timestamp, p.Payload = a.seq, stampOf(a.seq), frameOfSeq(a.seq)
					if name == "of another source" && a.seq < 20000 {
						p.SSRC++
					}
					if a.copies >= 0 {
						redundant(t, p, copies(a.seq, a.copies)...)
					}
				})), c.from, time.Now())
			}
			var got []uint16
			for len(c.handler.packets) > 0 {
				p := <-c.handler.packets
				got = append(got, p.Sequence)
				if string(p.Payload) != string(frameOfSeq(p.Sequence)) || p.Timestamp != stampOf(p.Sequence) {
					t.Errorf("packet %d has timestamp %d and payload %q", p.Sequence, p.Timestamp, p.Payload)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("handed over (-want +got):\n%s", diff)
			}
			if n := s.counters.Recovered.Load(); n != tc.recovered {
				t.Errorf("%d packets are counted as recovered, want %d", n, tc.recovered)
			}
			if n := c.Stats().Received; n != uint64(len(tc.arrivals)) {
				t.Errorf("%d packets are counted as received, %d were", n, len(tc.arrivals))
			}
		})
	}
}

// A copy is heard like the packet that brought it, but is none of what is said of that one only.
func TestRecoveredPacket(t *testing.T) {
	s := newServer(t)
	c := newSealed(t, s, redLines)
	now := time.Now()
	for _, seq := range []uint16{8, 10} {
		c.rd.datagram(c.seal(c.rtp(t, func(p *rtp.Packet) {
			p.SequenceNumber, p.Timestamp, p.Marker = seq, stampOf(seq), true
			_ = p.SetExtension(1, []byte{0x85})
			redundant(t, p, copies(seq, 1)...)
		})), c.from, now)
	}
	want := []Packet{
		{SSRC: 5, Sequence: 7, Timestamp: stampOf(7), HasLevel: true, Level: 5, Voice: true, Payload: frameOfSeq(7), Arrival: now},
		{SSRC: 5, Sequence: 8, Timestamp: stampOf(8), Marker: true, HasLevel: true, Level: 5, Voice: true, Payload: frameOfSeq(8), Arrival: now},
		{SSRC: 5, Sequence: 9, Timestamp: stampOf(9), HasLevel: true, Level: 5, Voice: true, Payload: frameOfSeq(9), Arrival: now},
		{SSRC: 5, Sequence: 10, Timestamp: stampOf(10), Marker: true, HasLevel: true, Level: 5, Voice: true, Payload: frameOfSeq(10), Arrival: now},
	}
	for i := range want {
		got := <-c.handler.packets
		if own := i%2 == 1; own != (got.Size > len(got.Payload)) {
			t.Errorf("packet %d has a size of %d bytes", got.Sequence, got.Size)
		}
		got.Size = 0
		if diff := cmp.Diff(want[i], got); diff != "" {
			t.Errorf("packet (-want +got):\n%s", diff)
		}
	}
	if st := c.Stats(); st.Received != 2 || st.Lost != 1 {
		t.Errorf("%d received, %d lost: a recovered packet is a lost one", st.Received, st.Lost)
	}
}

// What is no Opus is not taken for it.
func TestStrangeRED(t *testing.T) {
	lost := copies(10, 1)[0]
	with := func(change func(b *red.Block)) red.Block {
		b := lost
		change(&b)
		return b
	}
	for name, tc := range map[string]struct {
		blocks    []red.Block
		primary   uint8
		cut       int // bytes off the end
		want      []uint16
		malformed uint64
	}{
		"good":                      {blocks: []red.Block{lost}, primary: 111, want: []uint16{9, 10}},
		"RED in RED":                {blocks: []red.Block{with(func(b *red.Block) { b.PayloadType = 63 })}, primary: 111, want: []uint16{10}},
		"another encoding":          {blocks: []red.Block{with(func(b *red.Block) { b.PayloadType = 96 })}, primary: 111, want: []uint16{10}},
		"an empty copy":             {blocks: []red.Block{with(func(b *red.Block) { b.Data = nil })}, primary: 111, want: []uint16{10}},
		"of the same time":          {blocks: []red.Block{with(func(b *red.Block) { b.Offset = 0 })}, primary: 111, want: []uint16{10}},
		"of a frame that came":      {blocks: []red.Block{with(func(b *red.Block) { b.Offset = 2 * frameSize })}, primary: 111, want: []uint16{10}},
		"primary of another":        {blocks: []red.Block{lost}, primary: 96, want: []uint16{9}},
		"RED as primary":            {blocks: []red.Block{lost}, primary: 63, want: []uint16{9}},
		"no primary":                {blocks: []red.Block{lost}, primary: 111, cut: len(frameOfSeq(10)), want: []uint16{9}},
		"truncated":                 {blocks: []red.Block{lost}, primary: 111, cut: len(frameOfSeq(10)) + 1, malformed: 1},
		"as many blocks as allowed": {blocks: append(make([]red.Block, red.MaxBlocks-1), lost), primary: 111, want: []uint16{9, 10}},
		"too many blocks":           {blocks: append(make([]red.Block, red.MaxBlocks), lost), primary: 111, malformed: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			c := newSealed(t, s, redLines)
			payload, err := red.Append(nil, tc.blocks, red.Block{PayloadType: tc.primary, Data: frameOfSeq(10)})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range []rtp.Packet{
				{Header: rtp.Header{SequenceNumber: 8, PayloadType: 111}, Payload: frameOfSeq(8)},
				{Header: rtp.Header{SequenceNumber: 10, PayloadType: 63}, Payload: payload[:len(payload)-tc.cut]},
			} {
				p.Version, p.SSRC, p.Timestamp = 2, 5, stampOf(p.SequenceNumber)
				b, err := p.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				c.rd.datagram(c.seal(b), c.from, time.Now())
			}
			want := append([]uint16{8}, tc.want...)
			var got []uint16
			for len(c.handler.packets) > 0 {
				got = append(got, (<-c.handler.packets).Sequence)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("handed over (-want +got):\n%s", diff)
			}
			if n := s.counters.DroppedMalformed.Load(); n != tc.malformed {
				t.Errorf("%d malformed ones counted, want %d", n, tc.malformed)
			}
		})
	}
}

// A PeerConnection whose packets are lost on the way, before and after an ICE restart.
func TestRecoverFromClient(t *testing.T) {
	s := newServer(t)
	client := transporttest.New(t, transporttest.Options{Uplink: true, Slots: 1, Data: true, RED: true})
	c, h := join(t, s, client)
	transporttest.Receive(t, client.Opened, "the open channel")
	if red := c.Slots()[0].RED; red != 63 {
		t.Errorf("RED is %d on the slot", red)
	}
	send := func(seqs ...uint16) {
		for _, seq := range seqs {
			p := rtp.Packet{Header: rtp.Header{SequenceNumber: seq}}
			redundant(t, &p, copies(seq, 2)...)
			client.Send(seq, stampOf(seq), 30, p.Payload)
		}
	}
	next := uint16(98)
	expect := func(last uint16) {
		t.Helper()
		for ; next <= last; next++ {
			p := transporttest.Receive(t, h.packets, "a packet")
			if p.Sequence != next || p.Timestamp != stampOf(next) || string(p.Payload) != string(frameOfSeq(next)) || !p.HasLevel || p.Level != 30 {
				t.Fatalf("packet %d, at %d, of %q, level %d; want %d", p.Sequence, p.Timestamp, p.Payload, p.Level, next)
			}
		}
	}
	send(100, 101, 103, 106, 107)
	expect(107)

	offer, err := ParseOffer(client.RestartOffer())
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Restart(offer)
	if err != nil {
		t.Fatal(err)
	}
	client.Answer(answer)
	if err := client.Channel.SendText("back"); err != nil { // sent again until the client has a path
		t.Fatal(err)
	}
	transporttest.Receive(t, h.messages, "the client's message after the restart")
	send(110, 111)
	expect(111)
	if n := s.counters.Recovered.Load(); n != 2+1+2+2 {
		t.Errorf("%d packets recovered", n)
	}
	if st := c.Stats(); st.Received != 7 || st.Lost != 5 {
		t.Errorf("%d received, %d lost", st.Received, st.Lost)
	}
}
