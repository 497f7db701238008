package transport

import (
	"bytes"
	"encoding/binary"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/stun/v4"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
)

// counts are all counters that are not 0.
func counts(s *Server) map[string]uint64 {
	m := map[string]uint64{}
	s.Counters().Each(func(name string, value uint64) {
		if value > 0 {
			m[name] = value
		}
	})
	return m
}

// since is what was counted since before.
func since(s *Server, before map[string]uint64) map[string]uint64 {
	now := counts(s)
	maps.DeleteFunc(now, func(name string, value uint64) bool { return value == before[name] })
	for name := range now {
		now[name] -= before[name]
	}
	return now
}

// rtpOf is an RTP packet: its first two bytes, a sequence number, an SSRC, and what follows.
func rtpOf(first, second byte, seq uint16, ssrc uint32, rest ...byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{first, second}, seq)
	b = binary.BigEndian.AppendUint32(b, uint32(seq)*frameSize)
	return append(binary.BigEndian.AppendUint32(b, ssrc), rest...)
}

// voice is the SSRC of the attacker's uplink.
const voice = 5

// seal protects an RTP or RTCP packet whose header is one.
func (a *attacker) seal(t testing.TB, plain []byte) []byte {
	t.Helper()
	var sealed []byte
	var err error
	if plain[1] >= 192 && plain[1] <= 223 {
		sealed, err = a.out.EncryptRTCP(nil, plain, nil)
	} else {
		sealed, err = a.out.EncryptRTP(nil, plain, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// speak sends a packet that is as it should be, and waits until it has come: all that was sent before it was
// handled then, for one goroutine reads what comes from one address.
func (a *attacker) speak(t testing.TB, seq uint16) {
	t.Helper()
	a.send(t, a.seal(t, rtpOf(0x80, 111, seq, voice, 'o', 'k')))
	for {
		p := transporttest.Receive(t, a.handler.packets, "the packet after it")
		if p.SSRC == voice && p.Sequence == seq {
			return
		}
		t.Errorf("a packet was handed on: %+v", p)
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// forged are datagrams of which nobody needs keys to make them.
func forged(a *attacker) []hostilePacket {
	check := request(a.ice.current, a.ice.current.pwd)
	lying := bytes.Clone(check)
	binary.BigEndian.PutUint16(lying[22:], 4000) // the length of its first attribute
	foreign, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest))
	if err != nil {
		panic(err)
	}
	giant, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(a.ice.current.ufrag+":"+a.ice.current.remote),
		stun.RawAttribute{Type: stun.AttrSoftware, Value: bytes.Repeat([]byte("x"), 1800)})
	if err != nil {
		panic(err)
	}
	return []hostilePacket{
		{"nothing", nil, "dropped_malformed"},
		{"of no protocol", []byte{77, 1, 2, 3}, "dropped_malformed"},
		{"STUN, truncated", check[:19], "dropped_malformed"},
		{"STUN, truncated in an attribute", check[:30], "dropped_malformed"},
		{"STUN, an attribute longer than all", lying, "dropped_malformed"},
		{"STUN, another cookie", flip(check, 4), "dropped_malformed"},
		{"STUN, a response", append([]byte{1, 1}, check[2:]...), "dropped_malformed"},
		{"STUN, another method", foreign.Raw, "dropped_malformed"},
		{"STUN, larger than a datagram here", append(bytes.Clone(check), make([]byte, 20_000)...), "stun_auth_failed"},
		{"STUN, without integrity, large", giant.Raw, "stun_auth_failed"},
		{"STUN, another transaction", flip(check, 9), "stun_auth_failed"},
		{"STUN, integrity changed", flip(check, len(check)-12), "stun_auth_failed"},
		{"STUN, fingerprint changed", flip(check, len(check)-1), "stun_auth_failed"},
		{"RTP, truncated below anything", []byte{0x80, 111, 0, 1, 0}, "dropped_malformed"},
		{"RTP, truncated in its header", rtpOf(0x80, 111, 1, voice)[:11], "dropped_malformed"},
		{"RTP, CSRCs that are not there", rtpOf(0x8f, 111, 1, voice, 1, 2, 3, 4), "dropped_malformed"},
		{"RTP, an extension that is not there", rtpOf(0x90, 111, 1, voice, 0xbe, 0xde, 0xff, 0xff), "dropped_malformed"},
		{"RTP, an element longer than its extension", rtpOf(0x90, 111, 1, voice, 0xbe, 0xde, 0, 1, 0x1f, 1, 2, 3), "dropped_malformed"},
		{"RTP, a header and nothing else", rtpOf(0x80, 111, 1, voice), "srtp_auth_failed"},
		{"RTP, not sealed", rtpOf(0x80, 111, 1, voice, bytes.Repeat([]byte{1}, 100)...), "srtp_auth_failed"},
		{"RTP, not sealed, larger than a datagram here", rtpOf(0x80, 111, 1, voice, make([]byte, 60_000)...), "srtp_auth_failed"},
		{"RTCP, truncated", []byte{0x80, 201, 0, 1, 0}, "dropped_malformed"},
		{"RTCP, not sealed", append([]byte{0x80, 201, 0, 1, 0, 0, 0, voice}, make([]byte, 20)...), "srtp_auth_failed"},
		{"RTCP, larger than a datagram here", append([]byte{0x80, 201, 0xff, 0xff, 0, 0, 0, voice}, make([]byte, 50_000)...), "srtp_auth_failed"},
		{"DTLS, truncated", []byte{22, 254, 253, 0, 0, 0, 0}, "dropped_malformed"},
		{"DTLS, a record longer than its datagram", record(22, 0, 9, make([]byte, 30))[:40], "dropped_malformed"},
		{"DTLS, larger than a datagram here", record(23, 1, 9, make([]byte, 30_000)), "dropped_malformed"},
		{"DTLS, of no version", append([]byte{22, 3, 3}, record(22, 0, 9, []byte("x"))[3:]...), "dropped_malformed"},
		// What follows is well formed, and the association's to ignore.
		{"DTLS, closing in the clear", record(21, 0, 9, []byte{1, 0}), ""},
		{"DTLS, failing in the clear", record(21, 0, 10, []byte{2, 40}), ""},
		{"DTLS, shaking hands again", record(22, 0, 11, clientHello()), ""},
		{"DTLS, not sealed", record(23, 1, 2000, bytes.Repeat([]byte{7}, 64)), ""},
		{"DTLS, of an epoch to come", record(23, 7, 1, bytes.Repeat([]byte{7}, 64)), ""},
		{"DTLS, a change of ciphers", record(20, 0, 12, []byte{1}), ""},
	}
}

// sealedWrong are packets of a client that has the keys.
func sealedWrong(t testing.TB, a *attacker) []hostilePacket {
	good := a.seal(t, rtpOf(0x80, 111, 1100, voice, 'a'))
	other := bytes.Clone(good)
	binary.BigEndian.PutUint32(other[8:], 100)                // that it has, too
	replayed := a.seal(t, rtpOf(0x80, 111, 1000, voice, 'a')) // by speak, before
	report := a.seal(t, appendRR(nil, voice, reportBlock{ssrc: 1}))
	wrong := []hostilePacket{
		{"RTP, replayed", replayed, "srtp_auth_failed"},
		{"RTP, truncated", good[:len(good)-1], "srtp_auth_failed"},
		{"RTP, truncated in its tag", good[:15], "srtp_auth_failed"},
		{"RTP, changed", flip(good, len(good)-1), "srtp_auth_failed"},
		{"RTP, longer than it was", append(bytes.Clone(good), 0), "srtp_auth_failed"},
		{"RTP, of another source", other, "srtp_auth_failed"},
		{"RTP, of no payload type", a.seal(t, rtpOf(0x80, 96, 1101, voice, 'a')), "dropped_unexpected"},
		{"RTCP, changed", flip(report, 9), "srtp_auth_failed"},
		{"RTCP, truncated", report[:len(report)-4], "srtp_auth_failed"},
	}
	for name, plain := range map[string][]byte{
		"RTP, padding of nothing (CVE-2025-49140)": rtpOf(0xa0, 111, 1102, voice),
		"RTP, padding of 0":                        rtpOf(0xa0, 111, 1103, voice, 'a', 0),
		"RTP, more padding than payload":           rtpOf(0xa0, 111, 1104, voice, 'a', 255),
		"RED, a header that does not end":          rtpOf(0x80, 63, 1105, voice, 0x80|111, 0, 0),
		"RED, a copy longer than all":              rtpOf(0x80, 63, 1106, voice, 0x80|111, 0, 3, 255, 111, 'a'),
		"RTCP, a second packet of no version":      {0x80, 201, 0, 1, 0, 0, 0, voice, 0x40, 201, 0, 0},
		"RTCP, longer than it is":                  {0x80, 201, 0xff, 0xff, 0, 0, 0, voice},
		"RTCP, reports that are not there":         {0x9f, 201, 0, 1, 0, 0, 0, voice},
		"RTCP, a second packet that is cut off":    {0x80, 201, 0, 1, 0, 0, 0, voice, 0x80, 201},
		"RTCP, padding of nothing":                 {0xa0, 201, 0, 1, 0, 0, 0, 0},
		"RTCP, NACKs that are not there":           {0x81, 205, 0, 1, 0, 0, 0, voice},
	} {
		wrong = append(wrong, hostilePacket{name, a.seal(t, plain), "dropped_malformed"})
	}
	for ssrc := range uint32(maxSources - 1) { // that it may have
		a.send(t, a.seal(t, rtpOf(0x80, 111, 1, 100+ssrc, 'a')))
		transporttest.Receive(t, a.handler.packets, "a packet of another source")
	}
	return append(wrong,
		hostilePacket{"RTP, of one source too many", a.seal(t, rtpOf(0x80, 111, 1, 1000, 'a')), "dropped_unexpected"},
		hostilePacket{"RTP, nothing but padding", a.seal(t, rtpOf(0xa0, 111, 1107, voice, 0, 0, 3)), ""},
		hostilePacket{"RTCP, NACKs for what is not its", a.seal(t, []byte{0x81, 205, 0, 3, 0, 0, 0, voice, 0, 0, 0, 9, 0, 1, 255, 255}), ""},
		hostilePacket{"RTCP, of an unknown type", a.seal(t, []byte{0x80, 220, 0, 1, 0, 0, 0, voice}), ""})
}

type hostilePacket struct {
	name     string
	datagram []byte
	counter  string // that it adds 1 to; empty: none
}

// Each is dropped and counted, once and by the right counter, and the connection goes on.
func TestHostilePackets(t *testing.T) {
	s := newServer(t)
	a := newAttacker(t, s)
	a.shake(t)
	seq := uint16(1000)
	a.speak(t, seq)
	for _, p := range append(forged(a), sealedWrong(t, a)...) {
		before := counts(s)
		a.send(t, p.datagram)
		seq++
		a.speak(t, seq)
		want := map[string]uint64{}
		if p.counter != "" {
			want[p.counter] = 1
		}
		if diff := cmp.Diff(want, since(s, before)); diff != "" {
			t.Errorf("%s: counted (-want +got):\n%s", p.name, diff)
		}
	}
	if len(a.handler.nacks) > 0 || len(a.handler.messages) > 0 {
		t.Errorf("%d NACKs, %d messages", len(a.handler.nacks), len(a.handler.messages))
	}
	a.write(t, a.open(t, DataChannelLabel), "still here") // DTLS has read all that came before
}

// What a stranger sends is dropped before anything looks at it, and a client that shakes hands meanwhile does not
// notice: neither before its check (CVE-2023-51443), nor after it.
func TestHostileStranger(t *testing.T) {
	s := newServer(t)
	victim := newAttacker(t, s) // has passed its check
	stranger := newHost(t, s)
	n := uint64(0)
	for _, shaken := range []bool{false, true} {
		if shaken {
			victim.shake(t)
			victim.speak(t, 1)
		}
		for _, b := range [][]byte{
			record(22, 0, 0, clientHello()), record(21, 0, 1, []byte{2, 40}), rtpOf(0x80, 111, 7, voice, 'x'),
			append([]byte{0x80, 201, 0, 1, 0, 0, 0, voice}, make([]byte, 20)...),
		} {
			before := counts(s)
			stranger.send(b)
			n++
			waitFor(t, "unverified", s.counters.DroppedUnverified.Load, n)
			if diff := cmp.Diff(map[string]uint64{"dropped_unverified": 1}, since(s, before)); diff != "" {
				t.Errorf("%x: counted (-want +got):\n%s", b[:min(len(b), 16)], diff)
			}
		}
	}
	victim.speak(t, 2)
}

// record is a DTLS record (RFC 6347, section 4.1).
func record(kind byte, epoch uint16, seq uint32, fragment []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{kind, 254, 253}, epoch)
	b = binary.BigEndian.AppendUint32(append(b, 0, 0), seq)
	b = binary.BigEndian.AppendUint16(b, uint16(len(fragment)))
	return append(b, fragment...)
}

// clientHello is a handshake message with the least that one must have, for a cipher suite that is taken.
func clientHello() []byte {
	body := append([]byte{254, 253}, strings.Repeat("r", 32)...)
	body = append(body, 0, 0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 0) // no session, no cookie, one suite, no compression, no extensions
	head := []byte{1, 0, 0, byte(len(body)), 0, 0, 0, 0, 0, 0, 0, byte(len(body))}
	return append(head, body...)
}
