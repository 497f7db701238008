package mix

const (
	// ringSize is how many packets a source holds, a power of two: 80 ms of the shortest ones, 640 ms of
	// those that clients send.
	ringSize = 32
	// maxBehind is how far a sequence number may fall back, in packets, before it begins a new stream.
	maxBehind = 100

	// minTarget and maxTarget bound how much sound a source has before it plays, in samples; from
	// maxExcess more than its target it drops the oldest at once.
	minTarget = 2 * FrameSamples
	maxTarget = 6 * FrameSamples
	maxExcess = 10 * FrameSamples
	// maxConcealed is how many frames are concealed before a talker is taken to have stopped.
	maxConcealed = 5
	// patience is for how many frames a source waits for its target. What has come by then is
	// comfort noise of a pause, or a fragment.
	patience = 10
	// review is after how many frames the depth is looked at.
	review = 500
	// discontinuous is the size in bytes up to which a payload announces a pause (RFC 6716, section 2.1.9).
	discontinuous = 2
)

// packet is an Opus packet that waits. It is empty while it has no samples.
type packet struct {
	timestamp uint32
	samples   int
	size      int
	payload   [maxPayload]byte
}

// Source is a talker of a [Mixer], which says who may call what.
type Source struct {
	member uint32
	voice  voice // what Mix has of it
	stats  *Stats

	ring     [ringSize]packet // by sequence number, from sequence on
	buffered int              // samples in it
	begun    bool
	anew     bool // another stream has begun, which the voice does not know yet: Mix may be using it
	ssrc     uint32
	playing  bool   // otherwise it fills
	sequence uint16 // of the packet to play next
	due      uint32 // the timestamp that it should have
	dtx      bool   // the packet before announced a pause
	starved  int    // frames concealed since it ran dry
	waited   int    // frames since the first packet came that waits

	target  int  // samples
	hold    bool // a packet was too late: play one frame of nothing new, to have more time
	late    bool // something was late since the last review
	lowest  int  // samples held since then
	reviews int  // frames since then
}

// Push takes a packet. The payload is copied.
func (s *Source) Push(ssrc uint32, sequence uint16, timestamp uint32, payload []byte) {
	samples, ok := Samples(payload)
	if !ok || len(payload) > maxPayload {
		return
	}
	if !s.begun || ssrc != s.ssrc {
		s.begin(ssrc, sequence)
	}
	ahead := int(int16(sequence - s.sequence))
	switch {
	case ahead < -maxBehind || ahead >= 2*ringSize:
		s.skipTo(sequence)
		ahead = 0
	case ahead < 0:
		s.stats.Late++
		if s.playing {
			s.deepen()
		}
		return
	case ahead >= ringSize:
		s.skipTo(sequence - ringSize + 1)
	}
	if s.playing && ahead == 0 && s.starved > 0 {
		s.deepen()
		s.hold = false // the wait was one
	}
	p := s.at(sequence)
	if p.samples > 0 {
		return // a duplicate
	}
	p.timestamp, p.samples, p.size = timestamp, samples, copy(p.payload[:], payload)
	s.buffered += samples
}

// begin starts anew with another stream of the talker.
func (s *Source) begin(ssrc uint32, sequence uint16) {
	s.empty()
	s.begun, s.ssrc, s.sequence = true, ssrc, sequence
	s.playing, s.target = false, minTarget
	s.anew = true
}

func (s *Source) at(sequence uint16) *packet { return &s.ring[sequence%ringSize] }

// skipTo drops the packets before a sequence number, which will be played next.
func (s *Source) skipTo(sequence uint16) {
	for range min(int(sequence-s.sequence), ringSize) {
		s.take()
	}
	s.sequence = sequence
}

// empty drops all.
func (s *Source) empty() {
	for s.buffered > 0 {
		s.take()
	}
}

// take drops the next packet, if it is there.
func (s *Source) take() {
	p := s.at(s.sequence)
	s.buffered -= p.samples
	p.samples = 0
	s.sequence++
}

// deepen makes the buffer a frame deeper, once a frame.
func (s *Source) deepen() {
	s.late = true
	if !s.hold && s.target < maxTarget {
		s.target += FrameSamples
		s.hold = true
	}
}

// plan gives the voice what there is to play in the next frame. It is false when that is nothing.
func (s *Source) plan() bool {
	if s.anew {
		s.anew, s.voice.forget = false, true
	}
	s.voice.clear()
	if !s.playing && !s.start() {
		return false
	}
	need := FrameSamples
	if s.tooDeep() {
		need, s.voice.shorten = 2*FrameSamples, true
		s.stats.Shortened++
	}
	if s.hold && s.voice.planned < need {
		s.hold = false
		s.stats.Concealed++
		s.voice.conceal(FrameSamples)
	}
	for s.voice.planned < need {
		if !s.next(need) {
			s.playing, s.waited = false, 0
			s.voice.fade(need)
		}
	}
	return true
}

// start says whether enough has come to play.
func (s *Source) start() bool {
	if s.buffered == 0 {
		return false
	}
	for s.at(s.sequence).samples == 0 {
		s.sequence++
	}
	if s.buffered < s.target {
		if s.waited++; s.waited >= patience {
			s.empty()
			s.waited = 0
		}
		return false
	}
	s.shrink(s.target + FrameSamples)
	s.playing, s.due, s.starved, s.dtx = true, s.at(s.sequence).timestamp, 0, false
	s.hold, s.late, s.reviews, s.lowest = false, false, 0, longest
	return true
}

// shrink drops the oldest packets that are more than depth samples.
func (s *Source) shrink(depth int) {
	for {
		p := s.at(s.sequence)
		if s.buffered-p.samples < depth {
			break
		}
		s.take()
	}
	for s.at(s.sequence).samples == 0 {
		s.sequence++
	}
}

// tooDeep reviews the depth, and says whether a frame of it can go.
func (s *Source) tooDeep() bool {
	held := s.buffered + s.voice.planned
	if held > s.target+maxExcess {
		s.shrink(s.target)
		s.due = s.at(s.sequence).timestamp
		return false
	}
	s.lowest = min(s.lowest, held)
	if s.reviews++; s.reviews < review {
		return false
	}
	deep := s.lowest >= s.target+FrameSamples
	if !s.late {
		s.target = max(s.target-FrameSamples, minTarget)
	}
	s.reviews, s.lowest, s.late = 0, longest, false
	return deep && !s.hold
}

// next plays the next packet or what stands for it, to fill a frame of need samples. It is false when there
// is a pause.
func (s *Source) next(need int) bool {
	v := &s.voice
	if s.buffered == 0 {
		if s.dtx || s.starved == maxConcealed {
			return false
		}
		s.starved++
		s.stats.Concealed++
		v.conceal(need - v.planned)
		return true
	}
	lost := 0
	for s.at(s.sequence).samples == 0 {
		s.sequence++
		lost++
	}
	p := s.at(s.sequence)
	gap := int(int32(p.timestamp - s.due))
	if gap > 0 && s.starved > 0 && lost > 0 { // concealed while it ran dry
		gap = max(gap-s.starved*FrameSamples, 0)
	}
	switch {
	case gap <= 0:
	case lost == 0 || gap > longest || gap%step != 0:
		return false // a pause, and the packet is of the next talkspurt
	default:
		s.stats.Recovered++
		v.recover(p.payload[:p.size], gap)
	}
	s.stats.Decoded++
	v.decode(p.payload[:p.size], p.samples)
	s.due, s.dtx, s.starved = p.timestamp+uint32(p.samples), p.size <= discontinuous, 0
	s.take()
	return true
}
