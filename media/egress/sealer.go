package egress

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // SRTP's mandatory transform is HMAC-SHA1 (RFC 3711, section 4.2.1)
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/pion/srtp/v3"

	"voiceroom.dev/voiceroom/media/transport"
)

// maxOverhead is the most that sealing adds to a packet, in bytes.
const maxOverhead = 16

// sealer protects RTP packets of one client (RFC 3711, RFC 7714). The packet's payload begins at head
// and is encrypted in place; index is the rollover counter and the sequence number, 48 bits. The
// result is packet, longer by the authentication tag. A sealer is used by one goroutine at a time.
//
// An index must never be sealed twice with different content: with GCM that gives the key away.
type sealer interface {
	seal(packet []byte, head int, ssrc uint32, index uint64) []byte
}

func newSealer(keys transport.Keys) (sealer, error) {
	switch keys.Profile {
	case srtp.ProtectionProfileAeadAes128Gcm:
		return newGCM(keys.Master, keys.Salt)
	case srtp.ProtectionProfileAes128CmHmacSha1_80:
		return newCM(keys.Master, keys.Salt)
	default:
		return nil, fmt.Errorf("seal with SRTP profile %v: not supported", keys.Profile)
	}
}

// Labels of the key derivation (RFC 3711, section 4.3.2).
const (
	labelEncryption     = 0
	labelAuthentication = 1
	labelSalt           = 2
)

// derive is the key derivation of RFC 3711, section 4.3, with a key derivation rate of 0.
func derive(label byte, master, salt []byte, n int) ([]byte, error) {
	block, err := aes.NewCipher(master)
	if err != nil {
		return nil, fmt.Errorf("derive an SRTP key: %w", err)
	}
	var in [aes.BlockSize]byte
	copy(in[:14], salt)
	in[7] ^= label
	out := make([]byte, n)
	cipher.NewCTR(block, in[:]).XORKeyStream(out, out)
	return out, nil
}

// gcm is AEAD_AES_128_GCM.
type gcm struct {
	aead cipher.AEAD
	salt [12]byte
	iv   [12]byte // scratch
}

func newGCM(master, salt []byte) (*gcm, error) {
	key, err := derive(labelEncryption, master, salt, 16)
	if err != nil {
		return nil, err
	}
	sessionSalt, err := derive(labelSalt, master, salt, 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("set up AES: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("set up GCM: %w", err)
	}
	g := &gcm{aead: aead}
	copy(g.salt[:], sessionSalt)
	return g, nil
}

// seal follows RFC 7714, section 8.1: the IV is 2 zero bytes, SSRC, index, XOR the salt.
func (g *gcm) seal(packet []byte, head int, ssrc uint32, index uint64) []byte {
	g.iv = g.salt
	xor32(g.iv[2:], ssrc)
	xor32(g.iv[6:], uint32(index>>16))
	g.iv[10] ^= byte(index >> 8)
	g.iv[11] ^= byte(index)
	return g.aead.Seal(packet[:head], g.iv[:], packet[head:], packet[:head])
}

// cm is AES128_CM_HMAC_SHA1_80.
type cm struct {
	block  cipher.Block
	mac    hash.Hash
	salt   [14]byte
	iv     [aes.BlockSize]byte // scratch
	stream [aes.BlockSize]byte // scratch
	roc    [4]byte             // scratch
	sum    [sha1.Size]byte     // scratch
}

const cmTag = 10

func newCM(master, salt []byte) (*cm, error) {
	var keys [3][]byte
	for label, n := range []int{labelEncryption: 16, labelAuthentication: 20, labelSalt: 14} {
		key, err := derive(byte(label), master, salt, n)
		if err != nil {
			return nil, err
		}
		keys[label] = key
	}
	block, err := aes.NewCipher(keys[labelEncryption])
	if err != nil {
		return nil, fmt.Errorf("set up AES: %w", err)
	}
	c := &cm{block: block, mac: hmac.New(sha1.New, keys[labelAuthentication])}
	copy(c.salt[:], keys[labelSalt])
	return c, nil
}

// seal follows RFC 3711, sections 4.1.1 and 4.2: counter mode over the payload, then a tag over
// packet and rollover counter. Counter mode is written out, for cipher.NewCTR allocates.
func (c *cm) seal(packet []byte, head int, ssrc uint32, index uint64) []byte {
	c.iv = [aes.BlockSize]byte{}
	copy(c.iv[:], c.salt[:])
	xor32(c.iv[4:], ssrc)
	xor32(c.iv[8:], uint32(index>>16))
	c.iv[12] ^= byte(index >> 8)
	c.iv[13] ^= byte(index)
	for i, payload := 0, packet[head:]; len(payload) > 0; i++ {
		binary.BigEndian.PutUint16(c.iv[14:], uint16(i))
		c.block.Encrypt(c.stream[:], c.iv[:])
		n := min(len(payload), aes.BlockSize)
		for j := range n {
			payload[j] ^= c.stream[j]
		}
		payload = payload[n:]
	}
	binary.BigEndian.PutUint32(c.roc[:], uint32(index>>16))
	c.mac.Reset()
	_, _ = c.mac.Write(packet) // a hash never fails
	_, _ = c.mac.Write(c.roc[:])
	return append(packet, c.mac.Sum(c.sum[:0])[:cmTag]...)
}

func xor32(b []byte, v uint32) {
	binary.BigEndian.PutUint32(b, binary.BigEndian.Uint32(b)^v)
}
