//go:build libopus

package media_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"

	"voiceroom.dev/voiceroom/media"
	"voiceroom.dev/voiceroom/media/mix"
	"voiceroom.dev/voiceroom/media/opus"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// tone is a sine as Opus packets of 20 ms.
func tone(t *testing.T, hz float64) []string {
	t.Helper()
	e := opus.New().NewEncoder()
	var payloads []string
	for n := range 100 {
		pcm := make([]float32, mix.FrameSamples)
		for i := range pcm {
			pcm[i] = float32(0.3 * math.Sin(2*math.Pi*hz*float64(n*len(pcm)+i)/mix.SampleRate))
		}
		payload := make([]byte, 1200)
		size, err := e.Encode(pcm, payload)
		if err != nil {
			t.Fatal(err)
		}
		payloads = append(payloads, string(payload[:size]))
	}
	return payloads
}

// loudness is the amplitude of a tone in pcm (Goertzel).
func loudness(pcm []float32, hz float64) float64 {
	w := 2 * math.Cos(2*math.Pi*hz/mix.SampleRate)
	var a, b float64
	for _, x := range pcm {
		a, b = float64(x)+w*a-b, a
	}
	return 2 * math.Sqrt(max(a*a+b*b-w*a*b, 0)) / float64(len(pcm))
}

// packets takes what has arrived at a slot.
func (c *peer) packets(mid string) []*rtp.Packet {
	var packets []*rtp.Packet
	for c.Pending(mid) > 0 {
		packets = append(packets, c.Packet(mid))
	}
	return packets
}

// talkBoth makes two talkers say their tones, two seconds long.
func talkBoth(a, b *peer, tones [2][]string) {
	ticker := time.NewTicker(mix.FrameTime)
	defer ticker.Stop()
	for i := range tones[0] {
		a.say(tones[0][i], 20)
		b.say(tones[1][i], 20)
		<-ticker.C
	}
}

// Over real connections: the audience hears both talkers on one slot, who are named in its packets, and they hear each
// other bit by bit. An edit of the room changes that, and changes it back, while they talk.
func TestMixIsHeard(t *testing.T) {
	t.Parallel()
	p := newPod(t, func(c *media.Config) { c.Codec = opus.New() })
	spec := func(generation int64, audience room.AudienceMode) func(*mediaapi.PutRequest) {
		return func(r *mediaapi.PutRequest) {
			r.Spec.Generation, r.Spec.MaxMics, r.Spec.Audience = generation, 2, audience
		}
	}
	if s := p.put(spec(1, room.Mix)); s.Settings.Audience != room.Mix {
		t.Fatalf("the audience hears %s", s.Settings.Audience)
	}
	ann, bob := p.join(owner, voice), p.join("key:shop:bob", voice)
	eve := p.join("key:shop:eve", voice)
	tones := [2][]string{tone(t, 440), tone(t, 1000)}

	for generation, audience := range []room.AudienceMode{room.Mix, room.Forward, room.Mix} {
		p.put(spec(int64(generation+1), audience))
		for _, mid := range mids(1, 4) {
			eve.packets(mid)
			ann.packets(mid)
		}
		eve.await("slots", func(m message) bool {
			return strings.Contains(string(m.Slots), `"mix":true`) == (audience == room.Mix) && !strings.Contains(string(m.Slots), `{"slot":0,"member":0}`)
		})
		talkBoth(ann, bob, tones)
		if got := ann.packets("1"); len(got) < 95 || string(got[90].Payload) != tones[1][len(tones[1])-len(got)+90] {
			t.Errorf("%s: ann hears %d packets of bob", audience, len(got))
		}
		heard := map[string]int{}
		for _, mid := range mids(2, 3) {
			heard[mid] = len(eve.packets(mid))
		}
		first := eve.packets("1")
		if audience == room.Forward {
			if len(first) < 95 || heard["2"] < 95 {
				t.Errorf("forwarded: eve hears %d and %d packets", len(first), heard["2"])
			}
			continue
		}
		if heard["2"]+heard["3"]+heard["4"] > 0 && generation == 0 {
			t.Errorf("mixed: there is something on other slots: %v", heard)
		}
		wantMix(t, first, ann.member, bob.member)
	}
}

// wantMix checks that packets are a mix of the two tones.
func wantMix(t *testing.T, packets []*rtp.Packet, members ...uint32) {
	t.Helper()
	if len(packets) < 90 {
		t.Fatalf("%d packets of the mix", len(packets))
	}
	d := opus.New().NewDecoder()
	var pcm []float32
	both := 0
	for _, p := range packets {
		frame := make([]float32, mix.FrameSamples)
		if err := d.Decode(p.Payload, frame); err != nil {
			t.Fatal(err)
		}
		pcm = append(pcm, frame...)
		if len(p.CSRC) == 2 && p.CSRC[0]+p.CSRC[1] == members[0]+members[1] && p.CSRC[0] != p.CSRC[1] {
			both++
		}
	}
	// Half a second is looked at, in which a machine that is busy with other tests may have lost a frame.
	a, b := 0.0, 0.0
	for from := mix.SampleRate / 2; from+mix.SampleRate/2 <= len(pcm); from += mix.SampleRate / 4 {
		part := pcm[from : from+mix.SampleRate/2]
		a, b = max(a, loudness(part, 440)), max(b, loudness(part, 1000))
	}
	if a < 0.2 || b < 0.2 || both < 80 {
		t.Errorf("440 Hz %.3f, 1000 Hz %.3f, both are named in %d packets of %d", a, b, both, len(packets))
	}
}
