package mix

import "time"

const (
	// SampleRate of all PCM here, in Hz. It is mono, and full scale is -1 to 1.
	SampleRate = 48_000
	// FrameTime is how long a frame of the mix is.
	FrameTime = 20 * time.Millisecond
	// FrameSamples is how many samples it has.
	FrameSamples = 960

	// longest is the most samples that a packet can have: 120 ms (RFC 6716, section 3.2.5).
	longest = 5760
	// step is what all lengths are multiples of: 2.5 ms.
	step = 120
	// maxPayload bounds an Opus payload in bytes, in and out, as media/egress does.
	maxPayload = 1200
)

// Codec makes decoders and encoders of Opus, which cannot fail.
type Codec interface {
	NewDecoder() Decoder
	NewEncoder() Encoder
}

// Decoder decodes the packets of one talker. Payloads come from the network and may be anything; after
// an error the decoder goes on with the next packet. It does not keep its arguments.
type Decoder interface {
	// Decode decodes a packet into pcm, which is as long as the packet says ([Samples]).
	Decode(payload []byte, pcm []float32) error
	// Recover fills pcm, a multiple of 2.5 ms, with what was lost just before the packet, as far as the packet
	// carries it; the rest is concealed. The packet itself is still to be decoded.
	Recover(payload []byte, pcm []float32) error
	// Conceal fills pcm, a multiple of 2.5 ms, with what sounds least like a gap.
	Conceal(pcm []float32) error
}

// Encoder encodes one stream in frames of FrameSamples.
type Encoder interface {
	// Encode encodes a frame into payload and returns how many bytes it took.
	Encode(pcm []float32, payload []byte) (int, error)
	// Reset makes the encoder forget all that it was given.
	Reset()
}

// Samples returns how many samples an Opus packet has (RFC 6716, section 3.1); false if its payload cannot
// be one.
func Samples(payload []byte) (int, bool) {
	if len(payload) == 0 {
		return 0, false
	}
	config := payload[0] >> 3
	frame := 0
	switch {
	case config < 12: // SILK
		frame = [...]int{480, 960, 1920, 2880}[config&3]
	case config < 16: // hybrid
		frame = [...]int{480, 960}[config&1]
	default: // CELT
		frame = step << (config & 3)
	}
	count := 1
	switch payload[0] & 3 {
	case 1, 2:
		count = 2
	case 3:
		if len(payload) < 2 {
			return 0, false
		}
		count = int(payload[1] & 0x3f)
	}
	n := frame * count
	return n, n > 0 && n <= longest
}
