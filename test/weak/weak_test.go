package weak

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"voiceroom.dev/voiceroom/hack/lossy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire remembers what a pod sent to one listener.
type wire struct {
	t *testing.T

	mu     sync.Mutex
	sent   map[uint64][]byte // by SSRC and sequence number
	types  map[byte]bool     // payload types
	resent int
}

// tap fails the test when a packet is sent again with other bytes: under AES-GCM that gives the key away.
func (w *wire) tap(packet []byte) {
	if len(packet) < 12 || packet[0]>>6 != 2 || packet[1] >= 192 && packet[1] <= 223 {
		return // not RTP (RFC 5761, section 4)
	}
	key := uint64(binary.BigEndian.Uint32(packet[8:]))<<16 | uint64(binary.BigEndian.Uint16(packet[2:]))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.types[packet[1]&0x7f] = true
	first, again := w.sent[key]
	switch {
	case !again:
		w.sent[key] = bytes.Clone(packet)
	case !bytes.Equal(first, packet):
		w.t.Errorf("packet %d was sent again with other bytes", uint16(key))
	default:
		w.resent++
	}
}

// clean is what may be made up of the sound of who loses nothing: a machine that is busy is late with some. More than that is
// measured again, up to attempts times in all.
const (
	clean    = 0.05
	attempts = 3
)

// A fifth of all packets is lost, here on the way to listeners, there on the way from a talker. What helps against it, helps;
// without losses and in pauses nothing is made up.
func TestWhatIsHeard(t *testing.T) {
	lossless := lossy.Network{Delay: 20 * time.Millisecond}
	loses := lossless
	loses.Loss = 0.2
	ours := Listener{NACK: true, RED: true, Network: lossless} // what our page offers
	away := ours
	away.Network = loses
	all := Talker{FEC: true, DTX: true, RED: true, Network: lossless}
	far, farAndBare, pausing := all, Talker{Network: loses}, all
	far.Network, pausing.Pause = loses, 3

	const downlink, bareDownlink, uplink, bareUplink, pauses = 0, 1, 2, 3, 4
	w := &wire{t: t, sent: map[uint64][]byte{}, types: map[byte]bool{}}
	rooms := []Room{
		downlink:     {Talker: all, Listeners: []Listener{away, ours}},
		bareDownlink: {Talker: Talker{Network: lossless}, Listeners: []Listener{{Network: loses}}},
		uplink:       {Talker: far, Listeners: []Listener{ours}},
		bareUplink:   {Talker: farAndBare, Listeners: []Listener{ours}},
		pauses:       {Talker: pausing, Listeners: []Listener{ours}},
	}
	options := Options{Seed: 1, Duration: 12 * time.Second, Tap: func(room, listener int, packet []byte) {
		if room == downlink && listener == 0 {
			w.tap(packet)
		}
	}}
	var results [][]Result
	for range attempts {
		var err error
		if results, err = Run(t.Context(), rooms, options); err != nil {
			t.Fatal(err)
		}
		if results[downlink][1].Concealed() <= clean {
			break
		}
		t.Log("again: the machine had no time for browsers, so that who loses nothing missed something too")
	}

	for name, pair := range map[string][2]Result{
		"listener": {results[downlink][0], results[bareDownlink][0]},
		"talker":   {results[uplink][0], results[bareUplink][0]},
	} {
		with, without := pair[0].Concealed(), pair[1].Concealed()
		t.Logf("a %s who loses a fifth: %.1f %% made up, %.1f %% without FEC, RED and NACK", name, 100*with, 100*without)
		if without < 0.1 || with > without/2 {
			t.Errorf("a %s who loses a fifth: FEC, RED and NACK leave %.1f %% made up of %.1f %%", name, 100*with, 100*without)
		}
	}
	for name, r := range map[string]Result{"without losses": results[downlink][1], "with pauses": results[pauses][0]} {
		if share := r.Concealed(); share > clean || r.Packets() == 0 {
			t.Errorf("%s %.1f %% are made up of %.0f packets", name, 100*share, r.Packets())
		}
	}
	if r := results[downlink][0]; r.Redundant() == 0 || r.Asked() == 0 {
		t.Errorf("%.0f frames came inside other packets, %.0f packets were asked for again: what helped?", r.Redundant(), r.Asked())
	}
	if w.resent == 0 || len(w.types) != 2 { // Opus, and RED once the listener lost some
		t.Errorf("the pod sent %d packets again, and payload types %v", w.resent, w.types)
	}
}
