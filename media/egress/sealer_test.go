package egress

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/pion/srtp/v3"

	"voiceroom.dev/voiceroom/media/transport"
)

// RFC 3711, appendix B.3.
func TestDerive(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	master, salt := unhex("E1F97A0D3E018BE0D64FA32C06DE4139"), unhex("0EC675AD498AFEEBB6960B3AABE6")
	for label, want := range map[byte]string{
		labelEncryption:     "C61E7A93744F39EE10734AFE3FF7A087",
		labelSalt:           "30CBBC08863D8C85D49DB34A9AE1",
		labelAuthentication: "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4",
	} {
		got, err := derive(label, master, salt, len(want)/2)
		if err != nil || !bytes.Equal(got, unhex(want)) {
			t.Errorf("label %d: %X, %v; want %s", label, got, err, want)
		}
	}
}

var profiles = map[string]srtp.ProtectionProfile{
	"AES-GCM": srtp.ProtectionProfileAeadAes128Gcm,
	"AES-CM":  srtp.ProtectionProfileAes128CmHmacSha1_80,
}

func testKeys(t testing.TB, profile srtp.ProtectionProfile) transport.Keys {
	t.Helper()
	n, err := profile.SaltLen()
	if err != nil {
		t.Fatal(err)
	}
	return transport.Keys{Profile: profile, Master: []byte("0123456789abcdef"), Salt: []byte("salt of 14 byt")[:n]}
}

func opener(t testing.TB, keys transport.Keys) *srtp.Context {
	t.Helper()
	ctx, err := srtp.CreateContext(keys.Master, keys.Salt, keys.Profile, srtp.SRTPReplayProtection(256))
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

// Each packet that we seal opens with pion's SRTP, whatever its size, and across rollovers.
func TestSealedPacketsOpen(t *testing.T) {
	for name, profile := range profiles {
		t.Run(name, func(t *testing.T) {
			keys := testKeys(t, profile)
			s, err := newSealer(keys)
			if err != nil {
				t.Fatal(err)
			}
			in := opener(t, keys)
			of := transport.Slot{SSRC: 0xdeadbeef, PayloadType: 111, LevelExt: 1}
			buf := make([]byte, 0, 2048)
			for i := range 1200 {
				at := position{index: uint64(30_000 + 131*i), timestamp: uint32(960 * i)}
				payload := bytes.Repeat([]byte{byte(i)}, i+1)
				h := header{members: []uint32{uint32(i)}, level: 9, hasLevel: i%2 == 0}
				packet := h.append(buf, &of, at)
				head := len(packet)
				plain := append(append([]byte(nil), packet...), payload...)
				sealed := s.seal(append(packet, payload...), head, of.SSRC, at.index)
				if grown := len(sealed) - len(plain); grown > maxOverhead {
					t.Fatalf("sealing added %d bytes", grown)
				}
				opened, err := in.DecryptRTP(nil, sealed, nil)
				if err != nil || !bytes.Equal(opened, plain) {
					t.Fatalf("packet %d, index %d: %v", i, at.index, err)
				}
			}
		})
	}
}

func TestUnknownProfile(t *testing.T) {
	if _, err := newSealer(transport.Keys{Profile: srtp.ProtectionProfileNullHmacSha1_80}); err == nil {
		t.Error("accepted")
	}
}
