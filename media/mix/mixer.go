package mix

import (
	"slices"
	"time"
)

const (
	// MaxMembers is how many members a frame can name: RTP has room for 15 CSRCs (RFC 3550, section 5.1).
	MaxMembers = 15
	// audible is the power from which somebody is heard in a frame: -45 dBov, above breath and fans, below a
	// quiet voice.
	audible = 3e-5
	// silence is the power below which the mix need not be sent, -80 dBov, and comfort how many such frames
	// still are: the pauses between words are no reason to stop. The last of them is empty, which announces the
	// pause (DTX): a receiver takes what does not come after any other for lost, and makes up for it.
	silence = 1e-8
	comfort = 25
)

// Mixer mixes the talkers of a room. The package's documentation says who may call what.
type Mixer struct {
	codec   Codec
	encoder Encoder
	sources []*Source
	stats   Stats

	gathered []*Source // for the next Mix
	stale    bool      // one of them is gone
	reset    bool      // the encoder knows somebody who is gone
	forget   bool      // the same, for the next Mix
	started  time.Time // of the media clock
	frames   uint32    // that it counts

	// What Mix alone has.
	limiter  limiter
	quiet    int // frames
	sequence uint16
	members  []uint32
	pcm      [FrameSamples]float32
	payload  [maxPayload]byte
}

// Frame is a packet of the mix. Slices are valid until the next Mix.
type Frame struct {
	Sequence  uint16
	Timestamp uint32   // 48 kHz; goes on while nothing is sent
	Marker    bool     // the first after a pause
	Level     uint8    // RFC 6464
	Payload   []byte   // Opus
	Members   []uint32 // who can be heard in it: the first MaxMembers in the order of Add
}

// Stats count what happened to packets and frames of all sources.
type Stats struct {
	Decoded   uint64 // packets
	Recovered uint64 // gaps filled from the packet after them, or concealed if that has nothing
	Concealed uint64 // frames made up because a source had run dry, or had to wait
	Late      uint64 // packets that came after their place was played
	Shortened uint64 // frames faded into the one before
}

// New makes a Mixer of nobody.
func New(codec Codec) *Mixer {
	return &Mixer{codec: codec, encoder: codec.NewEncoder(), quiet: comfort}
}

// Add adds a talker, who is named by its member number.
func (m *Mixer) Add(member uint32) *Source {
	s := &Source{member: member, stats: &m.stats}
	m.sources = append(m.sources, s)
	return s
}

// Remove removes a talker: what it has not said yet is said never.
func (m *Mixer) Remove(s *Source) {
	m.sources = slices.DeleteFunc(m.sources, func(o *Source) bool { return o == s })
	if slices.Contains(m.gathered, s) {
		m.stale, m.reset = true, true
	}
}

// Gather takes what is due from all sources, for the frame at now. It is false when there will be nothing to gather
// until somebody pushes.
func (m *Mixer) Gather(now time.Time) bool {
	m.stale, m.forget, m.reset = false, m.reset, false
	m.gathered = m.gathered[:0]
	waiting := false
	for _, s := range m.sources {
		if s.plan() {
			m.gathered = append(m.gathered, s)
		}
		waiting = waiting || s.buffered > 0
	}
	if m.started.IsZero() {
		m.started = now.Add(-FrameTime)
	}
	m.frames = max(m.frames+1, uint32((now.Sub(m.started)+FrameTime/2)/FrameTime))
	return waiting || len(m.gathered) > 0 || m.quiet < comfort
}

// Mix decodes and mixes what was gathered, and encodes it. It is false when all are silent.
func (m *Mixer) Mix() (Frame, bool) {
	if m.forget {
		m.encoder.Reset()
		m.forget = false
	}
	clear(m.pcm[:])
	m.members = m.members[:0]
	for _, s := range m.gathered {
		frame := s.voice.render(m.codec)
		if power(frame) >= audible && len(m.members) < MaxMembers {
			m.members = append(m.members, s.member)
		}
		for i, x := range frame {
			m.pcm[i] += x
		}
		s.voice.done()
	}
	m.limiter.limit(m.pcm[:])
	loud := power(m.pcm[:])
	resumes := m.quiet == comfort
	switch {
	case loud >= silence:
		m.quiet = 0
	case resumes:
		return Frame{}, false
	default:
		m.quiet++
	}
	n, err := m.encoder.Encode(m.pcm[:], m.payload[:])
	if err != nil {
		return Frame{}, false
	}
	if m.quiet == comfort { // nothing but the TOC byte, of one frame (RFC 6716, section 3.2.2)
		m.payload[0] &^= 3
		n = 1
	}
	m.sequence++
	return Frame{
		Sequence:  m.sequence,
		Timestamp: m.frames * FrameSamples,
		Marker:    resumes,
		Level:     level(loud),
		Payload:   m.payload[:n],
		Members:   m.members,
	}, true
}

// Stale says that somebody was removed whose voice is in the frame that was gathered last: it must not be
// sent.
func (m *Mixer) Stale() bool { return m.stale }

// Stats returns what was counted. It excludes Gather.
func (m *Mixer) Stats() Stats { return m.stats }

// Plus adds what two mixers counted.
func (s Stats) Plus(o Stats) Stats {
	return Stats{
		Decoded:   s.Decoded + o.Decoded,
		Recovered: s.Recovered + o.Recovered,
		Concealed: s.Concealed + o.Concealed,
		Late:      s.Late + o.Late,
		Shortened: s.Shortened + o.Shortened,
	}
}
