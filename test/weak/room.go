package weak

import (
	"time"

	"voiceroom.dev/voiceroom/hack/lossy"
)

// Room is one talker and those who hear it.
type Room struct {
	Talker    Talker
	Listeners []Listener
	Tick      time.Duration // at which the audience is served; 0: at once
}

// Talker is what a talker's browser does. What says "asked" our answer offers and the page takes, or not.
type Talker struct {
	FEC     bool          `json:"fec"`   // Opus adds what it takes to repair the frame before (asked)
	DTX     bool          `json:"dtx"`   // Opus sends next to nothing in pauses (asked)
	RED     bool          `json:"red"`   // each frame is sent again with the next (RFC 2198; asked)
	Pause   float64       `json:"pause"` // seconds of silence between two times nine seconds of speech
	Network lossy.Network `json:"-"`     // each way between it and the pod
}

// Listener is one who hears, on one slot.
type Listener struct {
	Firefox bool          `json:"-"`    // Chromium otherwise
	NACK    bool          `json:"nack"` // it offers to ask again for what it lacks (RFC 4585)
	RED     bool          `json:"red"`  // it offers to take frames twice
	Network lossy.Network `json:"-"`    // each way between the pod and it
}

// Result is what a listener's browser says of its slot: inbound-rtp of WebRTC statistics, by name, added up from Start to End.
type Result struct {
	Start, End map[string]float64
}

// over is by how much a counter grew.
func (r Result) over(name string) float64 { return r.End[name] - r.Start[name] }

// ratio is a quotient of two growths, 0 if nothing grew.
func (r Result) ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// Concealed is the share of samples that were made up audibly, 0 to 1: those made up in silence do not count.
func (r Result) Concealed() float64 {
	return r.ratio(r.over("concealedSamples")-r.over("silentConcealedSamples"), r.over("totalSamplesReceived"))
}

// Heard is how long the listener was played anything, real or made up.
func (r Result) Heard() time.Duration { return seconds(r.over("totalSamplesReceived") / 48_000) }

// Delay is how long a sample lay in the jitter buffer, on average.
func (r Result) Delay() time.Duration {
	return seconds(r.ratio(r.over("jitterBufferDelay"), r.over("jitterBufferEmittedCount")))
}

// Target is how long it was to lie there, by the browser's own reckoning, on average.
func (r Result) Target() time.Duration {
	return seconds(r.ratio(r.over("jitterBufferTargetDelay"), r.over("jitterBufferEmittedCount")))
}

// Packets is how many arrived, resends included.
func (r Result) Packets() float64 { return r.over("packetsReceived") }

// Lost is the share of packets that never came, 0 to 1, resends counted as come.
func (r Result) Lost() float64 {
	return r.ratio(r.over("packetsLost"), r.over("packetsLost")+r.Packets())
}

// Asked is how many packets the listener asked for again.
func (r Result) Asked() float64 { return r.over("nackCount") }

// Redundant is how many frames came inside other packets, by RED or FEC, of use or not.
func (r Result) Redundant() float64 { return r.over("fecPacketsReceived") }

// Bitrate is what arrived, headers of RTP included, in bit/s.
func (r Result) Bitrate() float64 {
	return r.ratio(8*(r.over("bytesReceived")+r.over("headerBytesReceived")), r.Heard().Seconds())
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
