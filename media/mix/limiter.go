package mix

import "math"

const (
	// ceiling is the peak that the limiter turns down to.
	ceiling = 0.9
	// attack is how many samples it takes to turn down, and recovery by what factor a frame it
	// turns up again: 6 dB in 0.3 s.
	attack   = 120
	recovery = 1.05
)

// limiter keeps a sum of voices within full scale: it turns the whole down while it is too loud, and bends
// the peaks that are there before it has. The zero value turns nothing down.
type limiter struct{ down float32 } // 1 - gain

// limit turns a frame down in place. Afterwards no sample is beyond -1 to 1.
func (l *limiter) limit(pcm []float32) {
	peak := float32(0)
	for _, x := range pcm {
		peak = max(peak, x, -x)
	}
	gain := 1 - l.down
	to := min(1, gain*recovery)
	if peak*to > ceiling {
		to = ceiling / peak
	}
	if gain == 1 && to == 1 {
		return // so is the peak no higher than the ceiling
	}
	slope := (to - gain) / FrameSamples
	if to < gain {
		slope = (to - gain) / attack
	}
	for i, x := range pcm {
		if i < attack || slope > 0 {
			gain += slope
		}
		pcm[i] = bend(x * gain)
	}
	l.down = 1 - to
}

// bend leaves a sample alone up to the ceiling, and squeezes what is louder between it and full scale.
func bend(x float32) float32 {
	if x > ceiling {
		return ceiling + (1-ceiling)*float32(math.Tanh(float64((x-ceiling)/(1-ceiling))))
	}
	if x < -ceiling {
		return -bend(-x)
	}
	return x
}

// power is the mean square of a frame.
func power(pcm []float32) float32 {
	sum := float32(0)
	for _, x := range pcm {
		sum += x * x
	}
	return sum / FrameSamples
}

// level is a power as RFC 6464 has it: 0 for full scale to 127 for silence, in -dBov.
func level(power float32) uint8 {
	return uint8(min(max(-10*math.Log10(float64(power)), 0), 127))
}
