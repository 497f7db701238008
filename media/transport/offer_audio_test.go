package transport

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// chromiumAudio is an audio line as Chromium 156 offers it, less what has to do with extensions.
const chromiumAudio = "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n" +
	"a=mid:{mid}\r\na={direction}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n" +
	"a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n" +
	"a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n" +
	"a=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:13 CN/8000\r\n" +
	"a=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n"

// firefoxAudio is one of Firefox 153, which has no RED.
const firefoxAudio = "m=audio 9 UDP/TLS/RTP/SAVPF 109 9 0 8 101\r\nc=IN IP4 0.0.0.0\r\na={direction}\r\na=mid:{mid}\r\n" +
	"a=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1\r\na=fmtp:101 0-15\r\na=rtcp-mux\r\n" +
	"a=rtpmap:109 opus/48000/2\r\na=rtpmap:9 G722/8000/1\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000/1\r\n"

// lines fills in mids and directions.
func lines(media string, directions ...string) string {
	var all []string
	for i, d := range directions {
		all = append(all, strings.NewReplacer("{mid}", string(rune('a'+i)), "{direction}", d).Replace(media))
	}
	return offerOf(all...)
}

// codecLines are the lines of an answer that say what is sent how: of each m-line, its formats and
// their attributes.
func codecLines(o *Offer) [][]string {
	a := answer{slots: newSlots(o)}
	var all [][]string
	for line := range strings.SplitSeq(string(a.marshal(o)), "\r\n") {
		switch key, value, _ := strings.Cut(line, ":"); {
		case strings.HasPrefix(line, "m="):
			all = append(all, []string{line[strings.Index(line, "SAVPF ")+len("SAVPF "):]})
		case key == "a=rtpmap", key == "a=fmtp", key == "a=rtcp-fb":
			all[len(all)-1] = append(all[len(all)-1], value)
		}
	}
	return all
}

func TestRED(t *testing.T) {
	const rtpmap, fmtp = "63 red/48000/2", "63 111/111"
	opus := []string{"111 opus/48000/2", "111 minptime=10;useinbandfec=1;usedtx=1"}
	plain := [][]string{append([]string{"111"}, opus...), append([]string{"111"}, opus...)}
	change := func(from, to string) string {
		return strings.ReplaceAll(lines(chromiumAudio, "sendonly", "recvonly"), from, to)
	}
	for name, tc := range map[string]struct {
		offer string
		want  [][]string
		red   uint8 // of the slots
	}{
		"Chromium": {lines(chromiumAudio, "sendonly", "recvonly"), [][]string{
			append(append([]string{"63 111"}, opus...), rtpmap, fmtp),
			append(append([]string{"111 63"}, opus...), rtpmap, fmtp),
		}, 63},
		"both directions on one line": {lines(chromiumAudio, "sendrecv"), [][]string{
			append(append([]string{"63 111"}, opus...), rtpmap, fmtp),
		}, 63},
		"Firefox": {lines(firefoxAudio, "sendonly", "recvonly"), [][]string{
			{"109", "109 opus/48000/2", "109 minptime=10;useinbandfec=1;usedtx=1"},
			{"109", "109 opus/48000/2", "109 minptime=10;useinbandfec=1;usedtx=1"},
		}, 0},
		"several copies allowed": {change("a=fmtp:63 111/111", "a=fmtp:63 111/111/111"), [][]string{
			append(append([]string{"63 111"}, opus...), rtpmap, fmtp),
			append(append([]string{"111 63"}, opus...), rtpmap, fmtp),
		}, 63},
		"of another encoding":      {change("a=fmtp:63 111/111", "a=fmtp:63 9/9"), plain, 0},
		"of others too":            {change("a=fmtp:63 111/111", "a=fmtp:63 111/9"), plain, 0},
		"of nothing named":         {change("a=fmtp:63 111/111\r\n", ""), plain, 0},
		"of another clock":         {change("red/48000/2", "red/8000"), plain, 0},
		"with a type of RTCP's":    {change("63", "65"), plain, 0},
		"not among the formats":    {change("SAVPF 111 63", "SAVPF 111"), plain, 0},
		"before Opus":              {change("SAVPF 111 63", "SAVPF 63 111"), [][]string{append(append([]string{"63 111"}, opus...), rtpmap, fmtp), append(append([]string{"111 63"}, opus...), rtpmap, fmtp)}, 63},
		"of the second Opus there": {strings.ReplaceAll(change("a=fmtp:63 111/111", "a=fmtp:63 9/9"), "G722/8000", "opus/48000/2"), plain, 0},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := ParseOffer([]byte(tc.offer))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, codecLines(o)); diff != "" {
				t.Errorf("codecs of the answer (-want +got):\n%s", diff)
			}
			for _, s := range newSlots(o) {
				if s.RED != tc.red {
					t.Errorf("RED is %d on slot %d, want %d", s.RED, s.Index, tc.red)
				}
			}
			checkAnswer(t, o)
		})
	}
}

// A restart may list formats in another order, as browsers do once they know the answer, but not take RED
// away or renumber it: the client may be sending it.
func TestRestartKeepsRED(t *testing.T) {
	parse := func(offer string) *Offer {
		o, err := ParseOffer([]byte(offer))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	offer := lines(chromiumAudio, "sendonly", "recvonly")
	first := parse(offer)
	if !first.sameSession(parse(strings.Replace(offer, "SAVPF 111 63", "SAVPF 63 111", 1))) {
		t.Error("another order is another session")
	}
	for _, other := range []string{strings.Replace(offer, "a=fmtp:63 111/111\r\n", "", 1), strings.ReplaceAll(offer, "63", "62")} {
		if first.sameSession(parse(other)) {
			t.Error("RED went away, and the session is the same")
		}
	}
}
