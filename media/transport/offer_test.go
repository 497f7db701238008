package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/sdp/v3"
)

const (
	sessionLines = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
	iceLines     = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n"
	printLine    = "a=fingerprint:sha-256 " +
		"00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n"
	opusLines = "a=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n"
)

// redLines offer RED as Chromium does; redAudio puts its payload type into the m-lines.
const redLines = "a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n"

var redAudio = strings.NewReplacer("SAVPF 111\r\n", "SAVPF 111 63\r\n")

// audio is an audio m-line that can be used; more are further lines.
func audio(mid, direction string, more ...string) string {
	return fmt.Sprintf("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:%s\r\na=%s\r\n%s%s",
		mid, direction, opusLines, strings.Join(more, ""))
}

// offerOf is an offer with credentials at session level and everything bundled.
func offerOf(media ...string) string {
	group := "a=group:BUNDLE"
	for _, m := range media {
		_, rest, _ := strings.Cut(m, "a=mid:")
		mid, _, _ := strings.Cut(rest, "\r\n")
		group += " " + mid
	}
	return sessionLines + group + "\r\n" + iceLines + printLine + "a=setup:actpass\r\n" + strings.Join(media, "")
}

func TestParseOfferRefuses(t *testing.T) {
	plain := offerOf(audio("0", "sendonly"))
	without := func(line string) string { return strings.Replace(plain, line, "", 1) }
	for name, tc := range map[string]struct {
		offer string
		want  OfferCode
	}{
		"empty":                   {"", OfferEmpty},
		"blank":                   {"\r\n \r\n", OfferEmpty},
		"one megabyte":            {strings.Repeat("a=x\r\n", 200_000), OfferTooLarge},
		"not SDP":                 {"GET / HTTP/1.1\r\n", OfferMalformed},
		"truncated":               {plain[:len(plain)/2] + "\xff=", OfferMalformed},
		"no m-line":               {sessionLines + iceLines + printLine, OfferNoAudio},
		"video only":              {offerOf("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n"), OfferNoAudio},
		"data only":               {offerOf("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n"), OfferNoAudio},
		"rejected audio":          {strings.Replace(plain, "audio 9", "audio 0", 1), OfferNoAudio},
		"inactive audio":          {offerOf(audio("0", "inactive")), OfferNoAudio},
		"no ufrag":                {without("a=ice-ufrag:abcd\r\n"), OfferNoICE},
		"no password":             {without("a=ice-pwd:abcdefghijklmnopqrstuvwx\r\n"), OfferNoICE},
		"short password":          {strings.Replace(plain, "efghijklmn", "", 1), OfferNoICE},
		"no fingerprint":          {without(printLine), OfferNoFingerprint},
		"sha-1 fingerprint":       {strings.Replace(plain, "sha-256", "sha-1", 1), OfferNoFingerprint},
		"short fingerprint":       {strings.Replace(plain, ":EE:FF\r\n", "\r\n", 1), OfferNoFingerprint},
		"no Opus":                 {strings.Replace(plain, "opus/48000/2", "PCMU/8000", 1), OfferNoOpus},
		"Opus of another format":  {strings.Replace(plain, "rtpmap:111", "rtpmap:112", 1), OfferNoOpus},
		"Opus where RTCP is":      {strings.ReplaceAll(plain, "111", "72"), OfferNoOpus},
		"no rtcp-mux":             {without("a=rtcp-mux\r\n"), OfferNoOpus},
		"plain RTP":               {strings.Replace(plain, "UDP/TLS/RTP/SAVPF", "RTP/AVP", 1), OfferNoOpus},
		"passive":                 {strings.Replace(plain, "actpass", "passive", 1), OfferBadSetup},
		"same mid twice":          {offerOf(audio("0", "sendonly"), audio("0", "recvonly")), OfferBadMID},
		"mid missing":             {strings.Replace(offerOf(audio("0", "sendonly"), audio("1", "recvonly")), "a=mid:1\r\n", "", 1), OfferBadMID},
		"mid too long":            {offerOf(audio(strings.Repeat("m", 33), "sendonly")), OfferBadMID},
		"mid no token":            {offerOf(audio("a(b", "sendonly")), OfferBadMID},
		"more m-lines than sense": {offerOf(manySlots(maxMedia + 1)...), OfferTooManyMedia},
		"a thousand m-lines":      {sessionLines + strings.Repeat("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", 1000), OfferTooManyMedia},
		"an endless word":         {sessionLines + "m=" + strings.Repeat("x", 60_000) + " 9 UDP/TLS/RTP/SAVPF 111\r\n", OfferMalformed},
		"an endless attribute":    {offerOf(audio("0", "sendonly", "a="+strings.Repeat("x", MaxOfferSize)+"\r\n")), OfferTooLarge},
		"binary":                  {strings.Repeat("\x00\xff\r\n", 9000), OfferMalformed},
		"ICE-lite":                {strings.Replace(plain, iceLines, "a=ice-lite\r\n"+iceLines, 1), OfferNoICE},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseOffer([]byte(tc.offer))
			var refused *OfferError
			if !errors.As(err, &refused) || refused.Code != tc.want || refused.Reason == "" {
				t.Errorf("got %#v, want code %s", err, tc.want)
			}
			if refused != nil && len(refused.Reason) > 300 { // it goes into an answer of bounded size
				t.Errorf("the reason has %d bytes", len(refused.Reason))
			}
		})
	}
}

func manySlots(n int) []string {
	var media []string
	for i := range n {
		media = append(media, audio(fmt.Sprint(i), "recvonly"))
	}
	return media
}

// parts writes what each m-line of an offer was given.
func parts(o *Offer) string {
	var all []string
	for i := range o.media {
		switch m := o.media[i]; {
		case m.uplink && m.slot:
			all = append(all, "both")
		case m.uplink:
			all = append(all, "uplink")
		case m.slot:
			all = append(all, "slot")
		case m.data:
			all = append(all, "data")
		default:
			all = append(all, "-")
		}
	}
	return strings.Join(all, " ")
}

func TestParseOfferParts(t *testing.T) {
	const (
		video   = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=rtpmap:96 VP8/90000\r\na=sendrecv\r\n"
		channel = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\na=sctp-port:5000\r\n"
	)
	bundleOnly := strings.Replace(audio("1", "recvonly", "a=bundle-only\r\n"), "audio 9", "audio 0", 1)
	for name, tc := range map[string]struct{ offer, want string }{
		"our client":            {offerOf(audio("0", "sendonly"), audio("1", "recvonly"), audio("2", "recvonly"), channel), "uplink slot slot data"},
		"sendrecv":              {offerOf(audio("0", "sendrecv"), channel), "both data"},
		"no direction":          {offerOf(strings.Replace(audio("0", "x"), "a=x\r\n", "", 1)), "both"},
		"second sender":         {offerOf(audio("0", "sendonly"), audio("1", "sendonly")), "uplink -"},
		"second sendrecv":       {offerOf(audio("0", "sendrecv"), audio("1", "sendrecv")), "both slot"},
		"video and more":        {offerOf(video, audio("0", "recvonly"), channel, strings.Replace(channel, "mid:d", "mid:e", 1)), "- slot data -"},
		"Firefox's bundle-only": {offerOf(audio("0", "sendonly"), bundleOnly), "uplink slot"},
		"port 0":                {offerOf(audio("0", "sendonly"), strings.Replace(bundleOnly, "a=bundle-only\r\n", "", 1)), "uplink -"},
		"outside the bundle":    {strings.Replace(offerOf(audio("0", "sendonly"), audio("1", "recvonly")), "BUNDLE 0 1", "BUNDLE 0", 1), "uplink -"},
		"no bundle":             {strings.Replace(offerOf(audio("0", "sendonly"), audio("1", "recvonly")), "a=group:BUNDLE 0 1\r\n", "", 1), "uplink -"},
		"no bundle, no mid":     {strings.NewReplacer("a=group:BUNDLE 0\r\n", "", "a=mid:0\r\n", "").Replace(offerOf(audio("0", "recvonly"))), "slot"},
		"old data channel":      {offerOf(audio("0", "recvonly"), "m=application 9 DTLS/SCTP 5000\r\na=mid:d\r\n"), "slot -"},
		"surplus slots":         {offerOf(manySlots(18)...), strings.Repeat("slot ", 16) + "- -"},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := ParseOffer([]byte(tc.offer))
			if err != nil {
				t.Fatal(err)
			}
			if got := parts(o); got != tc.want {
				t.Errorf("parts %q, want %q", got, tc.want)
			}
			checkAnswer(t, o)
		})
	}
}

func TestMaxMessageSize(t *testing.T) {
	for attribute, want := range map[string]int{
		"":                                  defaultMaxMessageSize,
		"a=max-message-size:16384\r\n":      16384,
		"a=max-message-size:0\r\n":          maxBacklog,
		"a=max-message-size:1073741823\r\n": maxBacklog,
		"a=max-message-size:-5\r\n":         defaultMaxMessageSize,
	} {
		o, err := ParseOffer([]byte(offerOf(audio("0", "sendonly"),
			"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\n"+attribute)))
		if err != nil || o.maxMessage != want {
			t.Errorf("%q: %d, %v; want %d", attribute, o.maxMessage, err, want)
		}
	}
}

// checkAnswer answers o and checks what every answer must hold to.
func checkAnswer(t *testing.T, o *Offer) *sdp.SessionDescription {
	t.Helper()
	a := answer{
		session: 1, version: 1, ufrag: "u", pwd: "p", fingerprint: "AA:BB", slots: newSlots(o),
		candidates: candidateLines([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:40000"), netip.MustParseAddrPort("[2001:db8::1]:40000")}),
	}
	raw := a.marshal(o)
	var parsed sdp.SessionDescription
	if err := parsed.Unmarshal(raw); err != nil {
		t.Fatalf("the answer is not SDP: %v\n%s", err, raw)
	}
	if len(parsed.MediaDescriptions) != len(o.media) {
		t.Fatalf("%d m-lines answer %d", len(parsed.MediaDescriptions), len(o.media))
	}
	if n := strings.Count(string(raw), "a=candidate:"); n != 4 {
		t.Errorf("%d candidates", n)
	}
	for i, m := range parsed.MediaDescriptions {
		line := &o.media[i]
		if mid, _ := m.Attribute("mid"); mid != line.mid || m.MediaName.Media != line.kind {
			t.Errorf("m-line %d is %s %q, want %s %q", i, m.MediaName.Media, mid, line.kind, line.mid)
		}
		if accepted := m.MediaName.Port.Value != 0; accepted != line.accepted() {
			t.Errorf("m-line %d accepted: %v", i, accepted)
		}
		if _, bundleOnly := m.Attribute("bundle-only"); bundleOnly {
			t.Errorf("m-line %d: bundle-only is for offers", i)
		}
	}
	return &parsed
}

func TestAnswerMirrorsOffer(t *testing.T) {
	const (
		level = "a=extmap:%d urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"
		nack  = "a=rtcp-fb:111 transport-cc\r\na=rtcp-fb:111 nack\r\n"
	)
	o, err := ParseOffer([]byte(offerOf(
		audio("up", "sendonly", fmt.Sprintf(level, 1), nack),
		audio("a", "recvonly", fmt.Sprintf(level, 14), nack, "a=rtcp-rsize\r\n"),
		audio("b", "recvonly", fmt.Sprintf(level, 15)),
	)))
	if err != nil {
		t.Fatal(err)
	}
	parsed := checkAnswer(t, o)
	type summary struct {
		Level, Feedback  string
		Reduced, Streams bool
	}
	var got []summary
	for _, m := range parsed.MediaDescriptions {
		var s summary
		s.Level, _ = m.Attribute("extmap")
		s.Feedback, _ = m.Attribute("rtcp-fb")
		_, s.Reduced = m.Attribute("rtcp-rsize")
		_, s.Streams = m.Attribute("msid")
		got = append(got, s)
	}
	want := []summary{
		{Level: "1 " + levelURI},
		{Level: "14 " + levelURI, Feedback: "111 nack", Reduced: true, Streams: true},
		{Streams: true}, // an id above 14 needs two-byte headers
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	slots := newSlots(o)
	if len(slots) != 2 || slots[0].SSRC == slots[1].SSRC || slots[0].LevelExt != 14 || !slots[0].NACK || slots[1].LevelExt != 0 {
		t.Errorf("slots %+v", slots)
	}
}

func FuzzParseOffer(f *testing.F) {
	f.Add([]byte(offerOf(audio("0", "sendonly"), audio("1", "recvonly"))))
	f.Add([]byte(offerOf("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\n", audio("0", "sendrecv"))))
	f.Add([]byte(offerOf(audio("0", "sendonly"), "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\na=max-message-size:0\r\n")))
	f.Add([]byte(strings.NewReplacer("a=group:BUNDLE 0\r\n", "", "a=mid:0\r\n", "").Replace(offerOf(audio("0", "recvonly")))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := ParseOffer(raw)
		if err != nil {
			var refused *OfferError
			if !errors.As(err, &refused) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if o.NumSlots() > MaxSlots || o.NumSlots() == 0 && !o.HasUplink() {
			t.Fatalf("parts %s", parts(o))
		}
		checkAnswer(t, o)
	})
}
