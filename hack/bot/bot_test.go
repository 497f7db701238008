package bot

import "testing"

func TestSpeechIsWholeFrames(t *testing.T) {
	frames, err := Speech()
	if err != nil {
		t.Fatal(err)
	}
	if len(frames) < 400 || len(frames) > 500 {
		t.Fatalf("%d frames, want nine seconds of 20 ms", len(frames))
	}
	for i, f := range frames {
		// RFC 6716, section 3.1: the two low bits of the TOC byte say one frame a packet.
		if len(f) < 1 || len(f) > 400 || f[0]&3 != 0 {
			t.Fatalf("frame %d: %d bytes, first %x", i, len(f), f[:min(len(f), 2)])
		}
	}
}
