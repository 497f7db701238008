package egress_test

import (
	"bytes"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"voiceroom.dev/voiceroom/media/egress"
	"voiceroom.dev/voiceroom/media/transport"
	"voiceroom.dev/voiceroom/media/transport/transporttest"
)

// room forwards every talker to the one listener, on the slot it is told to use.
type room struct {
	t      *testing.T
	server *transport.Server

	mu       sync.Mutex // the forwarding context
	outbox   *egress.Outbox
	listener *egress.Listener
	slot     map[uint32]int         // by member
	logs     map[uint32]*egress.Log // by member
	loseNext bool                   // the next packet is lost on the way to the listener
	written  [][]byte
}

func newRoom(t *testing.T) *room {
	t.Helper()
	certificate, err := transport.NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	s, err := transport.Listen(transport.Config{Listen: netip.MustParseAddrPort("127.0.0.1:0"), Certificate: certificate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &room{t: t, server: s, outbox: egress.NewOutbox(s.NewBatch(0)), slot: map[uint32]int{}, logs: map[uint32]*egress.Log{}}
}

// seat is one client of the room.
type seat struct {
	room   *room
	member uint32
	conn   *transport.Conn
	ready  chan struct{}
	closed chan error
}

func (r *room) join(member uint32, client *transporttest.Client) *seat {
	r.t.Helper()
	offer, err := transport.ParseOffer(client.Offer())
	if err != nil {
		r.t.Fatal(err)
	}
	s := &seat{room: r, member: member, ready: make(chan struct{}), closed: make(chan error, 1)}
	conn, answer, err := r.server.Accept(offer, s)
	if err != nil {
		r.t.Fatal(err)
	}
	s.conn = conn
	client.Answer(answer)
	transporttest.Receive(r.t, s.ready, "the connection")
	// The data channel opens after media may flow: nothing that the client sends is too early.
	transporttest.Receive(r.t, client.Opened, "the open data channel")
	return s
}

func (s *seat) Connected()          { close(s.ready) }
func (s *seat) Data([]byte)         {}
func (s *seat) Closed(reason error) { s.closed <- reason }

func (s *seat) RTP(p *transport.Packet) {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forward(s.member, p)
}

// forward is called in the forwarding context.
func (r *room) forward(member uint32, p *transport.Packet) {
	log := r.logs[member]
	if log == nil {
		log = &egress.Log{}
		r.logs[member] = log
	}
	r.listener.Hear(r.slot[member], log, p.Arrival)
	log.Append(p, member)
	r.serve()
}

func (r *room) serve() {
	r.listener.Serve(r.outbox)
	r.outbox.Flush()
}

func (s *seat) NACK(slot int, seqs []uint16) {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener.Resend(r.outbox, slot, seqs)
	r.outbox.Flush()
}

// listen makes s the listener of the room.
func (r *room) listen(s *seat) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	if r.listener, err = egress.New(tap{Conn: s.conn, room: r}); err != nil {
		r.t.Fatal(err)
	}
}

// tap is the listener's connection with a network that loses what the test says.
type tap struct {
	*transport.Conn
	room *room
}

// Queue is called with one packet at a time.
func (w tap) Queue(b *transport.Batch, packet []byte, segment int) {
	w.room.written = append(w.room.written, bytes.Clone(packet))
	if w.room.loseNext {
		w.room.loseNext = false
		return
	}
	w.Conn.Queue(b, packet, segment)
}

// From one PeerConnection through the server to another, under both profiles and over TCP.
func TestTwoClients(t *testing.T) {
	for name, options := range map[string]transporttest.Options{
		"AES-GCM": {Slots: 2, Data: true, Profile: dtls.SRTP_AEAD_AES_128_GCM},
		"AES-CM":  {Slots: 2, Data: true, Profile: dtls.SRTP_AES128_CM_HMAC_SHA1_80},
		"ICE-TCP": {Slots: 2, Data: true, TCP: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t)
			listening, talking := transporttest.New(t, options), transporttest.New(t, transporttest.Options{Uplink: true, Data: true})
			listener := r.join(2, listening)
			r.listen(listener)
			r.slot[77] = 1
			r.join(77, talking)
			mid := listener.conn.Slots()[1].MID

			var first *rtp.Packet
			for i := range 100 {
				payload := bytes.Repeat([]byte{byte(i)}, 1+i)
				talking.Send(uint16(65500+i), uint32(960*i), 30, payload)
				p := listening.Packet(mid)
				if first == nil {
					first = p
				}
				if !bytes.Equal(p.Payload, payload) || !cmp.Equal(p.CSRC, []uint32{77}) || p.Marker != (i == 0) {
					t.Fatalf("packet %d: %+v", i, p)
				}
				if p.SequenceNumber != first.SequenceNumber+uint16(i) || p.Timestamp != first.Timestamp+uint32(960*i) {
					t.Fatalf("packet %d is %d at %d, the first %d at %d", i, p.SequenceNumber, p.Timestamp, first.SequenceNumber, first.Timestamp)
				}
				if level := p.GetExtension(listener.conn.Slots()[1].LevelExt); !cmp.Equal(level, []byte{0x80 | 30}) {
					t.Fatalf("packet %d: level %v", i, level)
				}
			}

			listener.conn.Close(errors.New("kicked"))
			transporttest.Receive(t, listener.closed, "Closed")
			r.mu.Lock()
			defer r.mu.Unlock()
			before := r.server.Counters().Sent.Load()
			r.forward(77, &transport.Packet{Payload: []byte("late"), Arrival: time.Now()})
			if got := r.server.Counters().Sent.Load() - before; got != 0 {
				t.Errorf("%d packets were sent after Close", got)
			}
		})
	}
}

// One slot, two talkers: what a client sees of a switch and of the end of speech.
func TestSwitchAndSilence(t *testing.T) {
	r := newRoom(t)
	listening := transporttest.New(t, transporttest.Options{Slots: 1, Data: true})
	one, two := transporttest.New(t, transporttest.Options{Uplink: true, Data: true}), transporttest.New(t, transporttest.Options{Uplink: true, Data: true})
	listener := r.join(9, listening)
	r.listen(listener)
	r.join(1, one)
	r.join(2, two)
	mid := listener.conn.Slots()[0].MID

	var got []*rtp.Packet
	receive := func(n int) {
		for range n {
			got = append(got, listening.Packet(mid))
		}
	}
	one.Send(100, 4_000_000, 10, []byte("one"))
	receive(1)
	two.Send(9000, 12, 10, []byte("two"))
	receive(4)
	r.mu.Lock()
	r.listener.Silence(0, time.Now())
	r.serve()
	r.mu.Unlock()
	receive(3)
	one.Send(101, 4_000_960, 10, []byte("again"))
	receive(1)

	silence := "\xf8\xff\xfe"
	for i, want := range []struct {
		csrc    []uint32
		marker  bool
		payload string
	}{
		{[]uint32{1}, true, "one"},
		{nil, false, silence}, {nil, false, silence}, {nil, false, silence}, // another log
		{[]uint32{2}, true, "two"},
		{nil, false, silence}, {nil, false, silence}, {nil, false, silence},
		{[]uint32{1}, true, "again"},
	} {
		p := got[i]
		if len(p.CSRC) != len(want.csrc) || len(p.CSRC) > 0 && p.CSRC[0] != want.csrc[0] || p.Marker != want.marker || string(p.Payload) != want.payload {
			t.Errorf("packet %d: CSRC %v, marker %v, %q; want %+v", i, p.CSRC, p.Marker, p.Payload, want)
		}
		if i == 0 {
			continue
		}
		if before := got[i-1]; p.SequenceNumber != before.SequenceNumber+1 || int32(p.Timestamp-before.Timestamp) < 960 || p.SSRC != before.SSRC {
			t.Errorf("packet %d is %d at %d, the one before %d at %d", i, p.SequenceNumber, p.Timestamp, before.SequenceNumber, before.Timestamp)
		}
	}
}

// A packet that was lost on the way comes when the client asks for it, with the very same bytes.
func TestNACK(t *testing.T) {
	r := newRoom(t)
	listening := transporttest.New(t, transporttest.Options{Slots: 1, NACK: true, Data: true})
	talking := transporttest.New(t, transporttest.Options{Uplink: true, Data: true})
	listener := r.join(2, listening)
	r.listen(listener)
	r.join(1, talking)
	slot := listener.conn.Slots()[0]

	talking.Send(1, 960, -1, []byte("first"))
	first := listening.Packet(slot.MID)
	r.mu.Lock()
	r.loseNext = true
	r.mu.Unlock()
	talking.Send(2, 1920, -1, []byte("lost"))
	talking.Send(3, 2880, -1, []byte("third"))
	if got := listening.Packet(slot.MID); string(got.Payload) != "third" {
		t.Fatalf("got %q", got.Payload)
	}
	if err := listening.PC.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{
		SenderSSRC: 1, MediaSSRC: slot.SSRC, Nacks: []rtcp.NackPair{{PacketID: first.SequenceNumber + 1}},
	}}); err != nil {
		t.Fatal(err)
	}
	if got := listening.Packet(slot.MID); string(got.Payload) != "lost" || got.SequenceNumber != first.SequenceNumber+1 {
		t.Errorf("resent %q as %d", got.Payload, got.SequenceNumber)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.written) != 4 || !bytes.Equal(r.written[1], r.written[3]) {
		t.Errorf("%d packets were written; the last is not the second again", len(r.written))
	}
}
