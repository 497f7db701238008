package media

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"voiceroom.dev/voiceroom/media/mix"
)

// hum is a codec that decodes everything to the same hum. The one that is built with the tag libopus is
// tested in media/opus, and end to end.
type hum struct{}

func (hum) NewDecoder() mix.Decoder { return hum{} }
func (hum) NewEncoder() mix.Encoder { return hum{} }

func (hum) Decode(_ []byte, pcm []float32) error {
	for i := range pcm {
		pcm[i] = 0.1
	}
	return nil
}

func (h hum) Recover(p []byte, pcm []float32) error { return h.Decode(p, pcm) }
func (h hum) Conceal(pcm []float32) error           { return h.Decode(nil, pcm) }

func (hum) Encode(_ []float32, payload []byte) (int, error) { return copy(payload, "a hum"), nil }
func (hum) Reset()                                          {}

// celt is a packet of 20 ms, as the mixer sees it.
var celt = []byte{31 << 3, 1, 2, 3}

// mixed runs a test with a forwarder that mixes, in a bubble of time.
func mixed(t *testing.T, test func(t *testing.T, f *forwarder)) {
	t.Helper()
	onATick(t, func(t *testing.T, f *forwarder) {
		f.codec = hum{}
		f.setMix(true, time.Now())
		test(t, f)
	})
}

// speak makes talkers say frames, in time with the clock.
func speak(f *forwarder, frames int, talks ...*talk) {
	for range frames {
		for _, k := range talks {
			k.packet.Payload, k.packet.Arrival = celt, time.Now().Add(-testTick)
			k.next(f)
		}
		time.Sleep(testTick)
		synctest.Wait()
	}
}

// quiesce lets time pass until nothing is heard any more.
func quiesce() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// The audience has one voice with everybody in it, on its first slot, and people on a microphone hear each other as
// before. Who takes a microphone changes sides at once, and back; who is muted on it does not.
func TestMixIsForTheAudience(t *testing.T) {
	mixed(t, func(t *testing.T, f *forwarder) {
		ann, annWire := listen(t, f, "ann", 3)
		bob, bobWire := listen(t, f, "bob", 3)
		cy, _ := listen(t, f, "cy", 3)
		bobs, cys := grant{session: bob, member: 2, number: 2}, grant{session: cy, member: 3, number: 3}
		f.setGrants([]grant{bobs, cys}, nil, time.Now())
		if got := slotsOf(bob); !slices.Equal(got, []uint32{3, 0, 0}) {
			t.Errorf("on a microphone: slots %v", got)
		}
		for _, m := range f.takeSlotMaps() {
			if want := m.session == ann; m.mix != want || want && !slices.Equal(m.members, []uint32{0, 0, 0}) {
				t.Errorf("%s: slots %v, mix %v", m.session.id, m.members, m.mix)
			}
		}
		first, second := newTalk(bob, 30), newTalk(cy, 30)
		speak(f, 50, first, second)
		if two, three := annWire.heard(2), annWire.heard(3); two != three || two < 45 || two > 50 {
			t.Errorf("in the audience, of 50 frames %d are with one and %d with the other", two, three)
		}
		if got := bobWire.heard(3); got != 50 {
			t.Errorf("on a microphone %d packets were heard of 50", got)
		}

		anns := grant{session: ann, member: 1, number: 4}
		for _, muted := range []bool{false, true} {
			anns.muted = muted
			f.setGrants([]grant{bobs, cys, anns}, nil, time.Now())
			if got := slotsOf(ann); !slices.Equal(got, []uint32{2, 3, 0}) || ann.hears.shard != nil {
				t.Errorf("on a microphone, muted %v: slots %v", muted, got)
			}
		}
		f.setGrants([]grant{bobs, cys}, nil, time.Now())
		if got := slotsOf(ann); !slices.Equal(got, []uint32{0, 0, 0}) || ann.hears.hears(&f.mixing.voice) != 0 || ann.hears.shard == nil {
			t.Errorf("back in the audience: slots %v", got)
		}
		before := annWire.heard(2)
		if speak(f, 10, first, second); annWire.heard(2) == before {
			t.Error("back in the audience nothing is heard")
		}
	})
}

func TestMixTurnedOnAndOff(t *testing.T) {
	mixed(t, func(t *testing.T, f *forwarder) {
		ann, wire := listen(t, f, "ann", 2)
		bob, _ := listen(t, f, "bob", 2)
		f.setGrants([]grant{{session: bob, member: 2, number: 2}}, nil, time.Now())
		talk := newTalk(bob, 30)
		for range 3 {
			f.setMix(false, time.Now())
			if got := slotsOf(ann); !slices.Equal(got, []uint32{2, 0}) {
				t.Fatalf("forwarded: slots %v", got)
			}
			before := wire.heard(2)
			if speak(f, 20, talk); wire.heard(2)-before != 20 {
				t.Errorf("forwarded: %d packets were heard of 20", wire.heard(2)-before)
			}
			f.setMix(true, time.Now())
			if got := slotsOf(ann); !slices.Equal(got, []uint32{0, 0}) {
				t.Fatalf("mixed: slots %v", got)
			}
			before = wire.heard(2)
			speak(f, 20, talk)
			quiesce()
			if got := wire.heard(2) - before; got < 20 || got > 26 { // a talker that stops is concealed for five frames, and fades in one
				t.Errorf("mixed: %d frames were heard of 20", got)
			}
		}
	})
}

// While nobody talks, or nobody listens, there is nothing to do; and who comes later hears nothing of
// before.
func TestMixSleeps(t *testing.T) {
	mixed(t, func(t *testing.T, f *forwarder) {
		bob, _ := listen(t, f, "bob", 2)
		f.setGrants([]grant{{session: bob, member: 2, number: 2}}, nil, time.Now())
		talk := newTalk(bob, 30)
		speak(f, 10, talk)
		if got := f.counted(); got.mixed != 0 || got.unheard != 10 {
			t.Errorf("for nobody %d frames were mixed, and %d packets are counted as unheard", got.mixed, got.unheard)
		}
		ann, wire := listen(t, f, "ann", 2)
		speak(f, 10, talk)
		quiesce()
		frames := f.counted().mixed
		if got := wire.heard(2); got < 10 {
			t.Errorf("%d frames were heard", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := f.counted().mixed; got != frames {
			t.Errorf("%d frames were made in silence", got-frames)
		}
		speak(f, 3, talk)
		f.leave(ann, time.Now())
		quiesce()
		_, wire = listen(t, f, "later", 2)
		quiesce()
		if got := wire.heard(2); got != 0 {
			t.Errorf("%d frames were heard from before", got)
		}
	})
}

// However packets, frames of the mix and a revocation race: when setGrants has returned, no frame with
// that talker is sent, nor sent again, nor carried by another.
func TestRevokedFromTheMix(t *testing.T) {
	for range 20 {
		f := newForwarder(time.Millisecond, 2, noBatch)
		f.codec = hum{}
		f.setMix(true, time.Now())
		testRevokedFromTheMix(t, f)
		f.stop()
	}
}

func testRevokedFromTheMix(t *testing.T, f *forwarder) {
	ann, wire := listen(t, f, "ann", 2)
	bob, _ := listen(t, f, "bob", 2)
	cy, _ := listen(t, f, "cy", 2)
	stays := grant{session: cy, member: 3, number: 3}
	f.setGrants([]grant{{session: bob, member: 2, number: 2}, stays}, nil, time.Now())
	stop := make(chan struct{})
	var done sync.WaitGroup
	for _, s := range []*session{bob, cy} {
		done.Go(func() {
			talk := newTalk(s, 30)
			talk.packet.Payload = celt
			ticker := time.NewTicker(mix.FrameTime)
			defer ticker.Stop()
			for {
				talk.packet.Arrival = time.Now()
				talk.next(f)
				select {
				case <-stop:
					return
				case <-ticker.C:
				}
			}
		})
	}
	until := func(member uint32, n int) {
		for deadline := time.Now().Add(20 * time.Second); wire.heard(member) < n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("member %d is not heard", member)
			}
		}
	}
	until(2, 3)
	f.setGrants([]grant{stays}, nil, time.Now())
	heard, others := wire.heard(2), wire.heard(3)
	for seq := range 1 << 16 { // whatever the ring may hold
		f.resend(ann, 0, []uint16{uint16(seq)})
	}
	until(3, others+5)
	close(stop)
	done.Wait()
	if got := wire.heard(2) - heard; got != 0 {
		t.Fatalf("%d packets were sent after the grant was revoked", got)
	}
}
