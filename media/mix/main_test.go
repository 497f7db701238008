package mix

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// numbers is a codec for tests that must know which packet is heard: the voice of packet n is the constant n
// millionths of full scale, and its decoders write down what they are asked.
type numbers struct{ decoders []*numbersDecoder }

func (c *numbers) NewDecoder() Decoder {
	d := &numbersDecoder{}
	c.decoders = append(c.decoders, d)
	return d
}

func (c *numbers) NewEncoder() Encoder { return &numbersEncoder{} }

type numbersDecoder struct {
	silent bool
	said   []string
	at     float32
}

func (d *numbersDecoder) say(pcm []float32, at float32, what string, n int) {
	if !d.silent {
		d.said = append(d.said, what+strconv.Itoa(n))
	}
	d.at = at
	for i := range pcm {
		pcm[i] = at
	}
}

func (d *numbersDecoder) Decode(payload []byte, pcm []float32) error {
	n := number(payload)
	d.say(pcm, float32(n)/1e6, "", n)
	return nil
}

func (d *numbersDecoder) Recover(payload []byte, pcm []float32) error {
	n := number(payload)
	d.say(pcm, float32(n-1)/1e6, "lost:", len(pcm)/48)
	return nil
}

func (d *numbersDecoder) Conceal(pcm []float32) error {
	d.say(pcm, d.at, "made:", len(pcm)/48)
	return nil
}

// numbersEncoder remembers, as an encoder of a lapped transform does, and puts what it remembers first.
type numbersEncoder struct{ before float32 }

func (e *numbersEncoder) Encode(pcm []float32, payload []byte) (int, error) {
	b := binary.BigEndian.AppendUint32(payload[:0], uint32(e.before*1e6+0.5))
	b = binary.BigEndian.AppendUint32(b, uint32(pcm[0]*1e6+0.5))
	e.before = pcm[FrameSamples-1]
	return len(b), nil
}

func (e *numbersEncoder) Reset() { e.before = 0 }

// The TOC bytes of CELT packets with 2.5 to 20 ms, SILK with 60 ms and hybrid with 20 ms.
const (
	celt10 = 30 << 3
	celt20 = 31 << 3
	silk60 = 11 << 3
)

func packetOf(toc byte, n int) []byte { return []byte{toc, byte(n >> 8), byte(n)} }

func number(payload []byte) int {
	if len(payload) < 3 {
		return 0
	}
	return int(payload[1])<<8 | int(payload[2])
}

var start = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)

// tick mixes the frame number i, and returns what the decoders were asked for it.
func tick(m *Mixer, c *numbers, i int) (Frame, bool, string) {
	for _, d := range c.decoders {
		d.said = d.said[:0]
	}
	m.Gather(start.Add(time.Duration(i) * FrameTime))
	frame, ok := m.Mix()
	var said []string
	for _, d := range c.decoders {
		said = slices.Concat(said, d.said)
	}
	return frame, ok, strings.Join(said, " ")
}

func TestSamples(t *testing.T) {
	for _, test := range []struct {
		name    string
		payload []byte
		want    int
		ok      bool
	}{
		{"empty", nil, 0, false},
		{"silence of libopus", []byte{0xf8, 0xff, 0xfe}, 960, true},
		{"DTX", []byte{0x78}, 960, true},
		{"SILK, 60 ms", []byte{silk60}, 2880, true},
		{"SILK, 10 ms, two", []byte{0<<3 | 1, 0}, 960, true},
		{"hybrid, 10 ms", []byte{12 << 3}, 480, true},
		{"CELT, 2.5 ms", []byte{28 << 3}, 120, true},
		{"CELT, 5 ms, unequal two", []byte{29<<3 | 2, 0}, 480, true},
		{"six of 20 ms", []byte{celt20 | 3, 6}, 5760, true},
		{"seven of 20 ms are too long", []byte{celt20 | 3, 7}, 0, false},
		{"three of 60 ms are too long", []byte{silk60 | 3, 3}, 0, false},
		{"no frames", []byte{celt20 | 3, 0}, 0, false},
		{"count is cut off", []byte{celt20 | 3}, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, ok := Samples(test.payload)
			if ok != test.ok || ok && n != test.want {
				t.Errorf("got %d, %v, want %d, %v", n, ok, test.want, test.ok)
			}
		})
	}
}
