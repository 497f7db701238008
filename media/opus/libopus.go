//go:build libopus

package opus

import (
	"fmt"

	"github.com/hraban/opus"

	"voiceroom.dev/voiceroom/media/mix"
)

const (
	// bitrate of the mix, in bit/s: what CELT needs to be as good as the voices that go into it.
	bitrate = 48_000
	// complexity is where more CPU stops to be heard: docs/decisions/0021-the-mix-is-made-by-libopus.md.
	complexity = 5
)

// New returns libopus.
func New() mix.Codec { return codec{} }

type codec struct{}

func (codec) NewDecoder() mix.Decoder {
	d, err := opus.NewDecoder(mix.SampleRate, 1)
	must(err)
	return decoder{d}
}

// NewEncoder makes an encoder of CELT alone: it costs a third of SILK and adds the least delay, and voices that were
// coded once already gain nothing by SILK. Its packets carry no FEC: who loses packets is sent RED.
func (codec) NewEncoder() mix.Encoder {
	e, err := opus.NewEncoder(mix.SampleRate, 1, opus.AppRestrictedLowdelay)
	must(err)
	must(e.SetBitrate(bitrate))
	must(e.SetComplexity(complexity))
	return encoder{e}
}

// must panics: libopus makes and resets coders in memory that it is given, and refuses nothing but
// arguments that are constants here.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

type decoder struct{ *opus.Decoder }

func (d decoder) Decode(payload []byte, pcm []float32) error {
	n, err := d.DecodeFloat32(payload, exactly(pcm))
	if err == nil && n != len(pcm) {
		return fmt.Errorf("%d samples in a packet of %d", n, len(pcm))
	}
	return err
}

func (d decoder) Recover(payload []byte, pcm []float32) error {
	return d.DecodeFECFloat32(payload, exactly(pcm))
}

func (d decoder) Conceal(pcm []float32) error { return d.DecodePLCFloat32(exactly(pcm)) }

// exactly hides what lies behind pcm: the binding would have libopus write up to the capacity.
func exactly(pcm []float32) []float32 { return pcm[:len(pcm):len(pcm)] }

type encoder struct{ *opus.Encoder }

func (e encoder) Encode(pcm []float32, payload []byte) (int, error) {
	return e.EncodeFloat32(pcm, payload)
}

func (e encoder) Reset() { must(e.Encoder.Reset()) }
