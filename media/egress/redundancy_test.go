package egress

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"voiceroom.dev/voiceroom/media/transport"
)

// A packet carries earlier frames where the client takes them, and as many as are there.
func TestRedundancy(t *testing.T) {
	w := newWire(t, srtp.ProtectionProfileAeadAes128Gcm, transport.Slot{RED: 63}, transport.Slot{})
	h := newHearing(t, w)
	h.Hear(0, &h.log, start)
	h.Hear(1, &h.log, start)
	h.say(&h.log, packetAt(0, "plain"), 77)
	h.SetRedundancy(9)
	h.say(&h.log, packetAt(1, "one"), 77)
	h.say(&h.log, packetAt(2, "two"), 77)
	h.say(&h.log, packetAt(3, "three"), 77)
	h.say(&h.log, packetAt(5, "after a gap"), 77)
	h.say(&h.log, packetAt(4, "the gap"), 77)
	h.SetRedundancy(1)
	h.say(&h.log, packetAt(6, "six"), 77)
	h.say(&h.log, packetAt(7, strings.Repeat("7", maxPayload)), 77)
	h.say(&h.log, packetAt(8, "eight"), 77)

	want := []struct {
		seq    int
		frames []string // the oldest first
	}{
		{0, []string{"plain"}}, {1, []string{"plain", "one"}}, {2, []string{"plain", "one", "two"}}, {3, []string{"one", "two", "three"}},
		{5, []string{"after a gap"}}, {4, []string{"the gap"}}, {6, []string{"six"}},
		{7, []string{strings.Repeat("7", maxPayload)}}, {8, []string{"eight"}},
	}
	var onRED, plain []rtp.Packet
	for _, p := range w.open() {
		if p.SSRC == 1000 {
			onRED = append(onRED, p)
		} else {
			plain = append(plain, p)
		}
	}
	for i, p := range plain {
		if frames := want[i].frames; p.PayloadType != 109 || string(p.Payload) != frames[len(frames)-1] {
			t.Errorf("the slot without RED: packet %d of type %d is %.20q", i, p.PayloadType, p.Payload)
		}
	}
	for i, p := range onRED {
		frames := want[i].frames
		payload := frames[0]
		if len(frames) > 1 {
			payload = redOf(frames)
		}
		if p.PayloadType != 63 != (len(frames) == 1) || string(p.Payload) != payload {
			t.Errorf("packet %d of type %d is %q, want %q", want[i].seq, p.PayloadType, p.Payload, payload)
		}
	}
}

// Frames from before a slot plays a log are not carried there: in its stream their places are those of who was
// heard before.
func TestRedundancyBeginsWithTheTalker(t *testing.T) {
	w := newWire(t, srtp.ProtectionProfileAeadAes128Gcm, transport.Slot{RED: 63})
	h := newHearing(t, w)
	h.SetRedundancy(2)
	for i := range 3 {
		h.say(&h.log, packetAt(i, "before"), 77)
	}
	h.Hear(0, &h.log, start)
	for i, payload := range []string{"first", "second", "third"} {
		h.say(&h.log, packetAt(3+i, payload), 77)
	}
	var got []string
	for _, p := range w.open() {
		got = append(got, string(p.Payload))
	}
	want := []string{"first", redOf([]string{"first", "second"}), redOf([]string{"first", "second", "third"})}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What a log was made to forget is in no later packet, and what was skipped is not sent, nor sent again.
func TestForgotten(t *testing.T) {
	w := newWire(t, srtp.ProtectionProfileAeadAes128Gcm, transport.Slot{RED: 63, NACK: true})
	h := newHearing(t, w)
	h.Hear(0, &h.log, start)
	h.SetRedundancy(2)
	h.say(&h.log, packetAt(0, "heard"), 77)
	first := w.open()[0].SequenceNumber
	h.log.Append(packetAt(1, "due"), 77)
	h.log.Forget()
	h.Skip(0)
	h.Resend(h.out, 0, []uint16{first, first + 1})
	h.say(&h.log, packetAt(2, "new"), 77)
	h.say(&h.log, packetAt(3, "newer"), 77)
	var got []string
	for _, p := range w.open() {
		got = append(got, string(p.Payload))
	}
	if diff := cmp.Diff([]string{"new", redOf([]string{"new", "newer"})}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// redOf is RFC 2198, section 3, for frames of 20 ms.
func redOf(frames []string) string {
	var head, body []byte
	for i, f := range frames[:len(frames)-1] {
		offset := (len(frames) - 1 - i) * frame
		head = append(head, 0x80|109, byte(offset>>6), byte(offset<<2)|byte(len(f)>>8), byte(len(f)))
		body = append(body, f...)
	}
	return string(append(append(head, 109), body...)) + frames[len(frames)-1]
}
