package media

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/media/egress"
	"voiceroom.dev/voiceroom/media/transport"
	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

func newTestKeeper(t *testing.T) *keeper {
	t.Helper()
	k := newKeeper(slog.Default(), time.Now, nil, newPromptForwarder(), newMetrics(), func(string) bool { return true })
	k.open(mediaapi.PutRequest{ID: room.ID{UID: "r"}, Epoch: 1,
		Spec: room.Spec{Owner: "ann", MaxMembers: 5000, MaxMics: 2, Access: room.Public, MicPolicy: room.Auto}})
	return k
}

// A watcher that does not read is given a snapshot in place of the events it missed.
func TestSlowWatcher(t *testing.T) {
	k := newTestKeeper(t)
	w, err := k.watch(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.take()
	change(t, k, watchQueue+10)
	var replica *room.State
	for _, line := range w.take() {
		var f mediaapi.Frame
		if err := json.Unmarshal(line, &f); err != nil {
			t.Fatal(err)
		}
		if f.Snapshot != nil {
			replica = f.Snapshot
		} else if replica == nil || !replica.Apply(*f.Event) {
			t.Fatal("an event that does not follow")
		}
	}
	if diff := cmp.Diff(k.room.State(), replica); diff != "" {
		t.Errorf("the replica differs:\n%s", diff)
	}
}

// What is kept for watchers that come back is bounded, and has no gap.
func TestHistory(t *testing.T) {
	tests := []struct {
		name         string
		events, size int
		since        uint64
		want         int // frames
		has          bool
	}{
		{"nothing yet", 0, 0, 0, 0, true},
		{"the newest", 10, 100, 10, 0, true},
		{"some", 10, 100, 7, 3, true},
		{"all", 10, 100, 0, 10, true},
		{"from the future", 10, 100, 11, 0, false},
		{"as many as are kept", historyEvents + 5, 10, 5, historyEvents, true},
		{"one too many", historyEvents + 5, 10, 4, 0, false},
		{"large ones", 20, historyBytes / 4, 16, 4, true},
		{"too many large ones", 20, historyBytes / 4, 15, 0, false},
		{"one larger than all that is kept", 2, historyBytes + 1, 1, 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var h history
			for i := range test.events {
				h.add(uint64(i+1), make([]byte, test.size))
			}
			got, ok := h.since(test.since)
			if len(got) != test.want || ok != test.has {
				t.Errorf("%d frames, %v; want %d, %v", len(got), ok, test.want, test.has)
			}
		})
	}
}

// Where a snapshot is too large for a client, those who only listen are left out.
func TestSnapshots(t *testing.T) {
	k := newTestKeeper(t)
	k.room = room.New(room.ID{UID: "r"}, 2, room.Spec{Owner: "ann", MaxMembers: 9, MaxMics: 2, MicPolicy: room.OnRequest}, &room.State{Epoch: 1,
		Members: []room.Member{
			{ID: 1, Subject: "ann", Role: room.Host, Status: room.Entered},
			{ID: 2, Subject: "bob", Role: room.Speaker, Status: room.Entered},
			{ID: 3, Subject: "cy", Role: room.Speaker, Status: room.Entered},
			{ID: 4, Subject: "dee", Role: room.CoHost, Status: room.Entered},
			{ID: 5, Subject: "eve", Role: room.Speaker, Status: room.Entered},
		},
		Mics: []room.Mic{{Index: 0, Member: 2, Grant: 1}}}, time.Now())
	for _, subject := range []string{"ann", "bob", "cy", "dee", "eve"} { // they come back
		if err := k.do(room.Control, room.Reserve{Subject: subject, Session: subject}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []room.Command{room.Open{Session: subject}, room.Associate{Session: subject}, room.Enter{Session: subject}} {
			if err := k.do(room.Control, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := k.do(room.Actor{Session: "cy"}, room.RaiseHand{Raised: true}); err != nil {
		t.Fatal(err)
	}
	for d, want := range [details][]uint32{everyone: {1, 2, 3, 4, 5}, active: {1, 2, 3, 4}, speakers: {1, 2, 4}} {
		var got snapshot
		if err := json.Unmarshal(k.publisher.snapshotOf(k.room, detail(d)), &got); err != nil {
			t.Fatal(err)
		}
		var ids []uint32
		for _, m := range got.State.Members {
			ids = append(ids, m.ID)
		}
		if !slices.Equal(ids, want) || got.Omitted != 5-len(want) {
			t.Errorf("detail %d: members %v, %d omitted; want %v", d, ids, got.Omitted, want)
		}
	}
	if err := k.do(room.Actor{Session: "eve"}, room.Leave{}); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(k.publisher.snapshotOf(k.room, everyone), []byte(`"id":5,`)) {
		t.Error("a snapshot from before eve left")
	}
}

// deaf is a transport.Handler for connections that tests hold in their hands.
type deaf struct{}

func (deaf) Connected()            {}
func (deaf) RTP(*transport.Packet) {}
func (deaf) NACK(int, []uint16)    {}
func (deaf) Data([]byte)           {}
func (deaf) Closed(error)          {}

// mute is a session that has entered and takes nothing: its data channel never opens.
func mute(t *testing.T, k *keeper) *session {
	t.Helper()
	return mutes(t, k, 1)[0]
}

// mutes are n of them, of members 1 to n.
func mutes(t *testing.T, k *keeper, n int) []*session {
	t.Helper()
	certificate, err := transport.NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	server, err := transport.Listen(transport.Config{Listen: netip.MustParseAddrPort("127.0.0.1:0"), Certificate: certificate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	offer, err := transport.ParseOffer(transporttest.New(t, transporttest.Options{Uplink: true, Data: true}).Offer())
	if err != nil {
		t.Fatal(err)
	}
	sessions := make([]*session, n)
	for i := range sessions {
		s := newSession(fmt.Sprint("mute", i+1), k, true)
		if s.conn, _, err = server.Accept(offer, deaf{}); err != nil {
			t.Fatal(err)
		}
		_, w := listen(t, newPromptForwarder(), s.id, 1)
		if s.out, err = egress.New(w); err != nil {
			t.Fatal(err)
		}
		s.member, s.entered = uint32(i+1), true
		k.sessions[s.id] = s
		sessions[i] = s
	}
	return sessions
}

// change makes the room change n times.
func change(t *testing.T, k *keeper, n int) {
	t.Helper()
	for i := range n {
		if err := k.do(room.Control, room.Configure{Access: new([]room.Access{room.Locked, room.Public}[i%2])}); err != nil {
			t.Fatal(err)
		}
	}
}

// What waits for a client that does not read is bounded, and it is sent no snapshot before it reads.
func TestClientThatDoesNotRead(t *testing.T) {
	k := newTestKeeper(t)
	s := mute(t, k)
	most := 0
	for range 100 {
		change(t, k, maxBatch)
		k.beats++
		k.publish()
		most = max(most, s.conn.Buffered())
	}
	if !s.stale {
		t.Error("the client is not known to have missed events")
	}
	if limit := 256 << 10; most > limit || most < limit/2 {
		t.Errorf("%d bytes wait for the client, want up to %d", most, limit)
	}
}

// When more happens in a beat than a snapshot has to tell, clients are sent that.
func TestManyEventsAreOneSnapshot(t *testing.T) {
	k := newTestKeeper(t)
	s := mute(t, k)
	k.beats = 1 // no heartbeat is due
	for _, test := range []struct {
		events int
		want   func() int
	}{
		{maxNews + 1, func() int { return len(k.publisher.snapshotOf(k.room, everyone)) }},
		{0, func() int { return 0 }},
	} {
		before := s.conn.Buffered()
		change(t, k, test.events)
		k.publish()
		if got := s.conn.Buffered() - before; got != test.want() {
			t.Errorf("%d events: %d bytes were sent, want %d", test.events, got, test.want())
		}
	}
	if len(k.publisher.news.events) != 0 || s.stale {
		t.Error("the events are still to be sent")
	}
}
