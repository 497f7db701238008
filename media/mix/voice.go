package mix

import "slices"

// voice is what Mix has of a source: its decoder, and the samples that its packets gave beyond the last
// frame. Gather plans what to decode, Mix does it.
type voice struct {
	forget  bool // another stream begins
	jobs    []job
	data    []byte // the payloads of jobs
	planned int    // samples that there will be
	shorten bool   // two frames are planned, of which one is made
	ends    bool   // the frame fades out

	decoder Decoder
	pcm     []float32 // what is left over, and then what jobs add
}

// job is one call of the decoder.
type job struct {
	kind       jobKind
	start, end int // of the payload, in data
	samples    int
}

type jobKind int

const (
	decodes jobKind = iota
	recovers
	conceals
)

// clear begins a plan.
func (v *voice) clear() {
	v.jobs, v.data = v.jobs[:0], v.data[:0]
	v.shorten, v.ends = false, false
	v.planned = len(v.pcm)
	if v.forget {
		v.planned = 0
	}
}

func (v *voice) decode(payload []byte, samples int)  { v.add(decodes, payload, samples) }
func (v *voice) recover(payload []byte, samples int) { v.add(recovers, payload, samples) }

func (v *voice) conceal(samples int) {
	if samples > 0 {
		v.add(conceals, nil, samples)
	}
}

func (v *voice) add(kind jobKind, payload []byte, samples int) {
	start := len(v.data)
	v.data = append(v.data, payload...)
	v.jobs = append(v.jobs, job{kind, start, len(v.data), samples})
	v.planned += samples
}

// fade ends the plan at need samples, in silence.
func (v *voice) fade(need int) {
	v.conceal(need - v.planned)
	v.ends = true
}

// render does what is planned, and returns the frame. It is valid until done.
func (v *voice) render(codec Codec) []float32 {
	if v.forget || v.decoder == nil {
		v.decoder, v.pcm, v.forget = codec.NewDecoder(), v.pcm[:0], false
	}
	for _, j := range v.jobs {
		at := len(v.pcm)
		v.pcm = slices.Grow(v.pcm, j.samples)[:at+j.samples]
		v.do(j, v.pcm[at:])
	}
	frame := v.pcm[:FrameSamples]
	if v.shorten {
		for i, next := range v.pcm[FrameSamples : 2*FrameSamples] {
			frame[i] += (next - frame[i]) * float32(i) / FrameSamples
		}
	}
	if v.ends {
		for i := range frame {
			frame[i] *= 1 - float32(i)/FrameSamples
		}
	}
	return frame
}

func (v *voice) do(j job, pcm []float32) {
	payload := v.data[j.start:j.end]
	var err error
	switch j.kind {
	case decodes:
		err = v.decoder.Decode(payload, pcm)
	case recovers:
		err = v.decoder.Recover(payload, pcm)
	}
	if err != nil || j.kind == conceals {
		err = v.decoder.Conceal(pcm)
	}
	if err != nil {
		clear(pcm)
	}
}

// done takes the frame off.
func (v *voice) done() {
	used := FrameSamples
	if v.shorten {
		used += FrameSamples
	}
	if v.ends {
		used = len(v.pcm)
	}
	v.pcm = v.pcm[:copy(v.pcm, v.pcm[used:])]
}
