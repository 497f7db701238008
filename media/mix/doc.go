// Package mix makes one voice of many: it decodes the talkers of a room, adds them up and encodes the
// sum once, for an audience that hears all of them on one slot.
//
// A [Mixer] has a [Source] for each talker. Packets are pushed into sources as they arrive; every
// [FrameTime] somebody gathers what is due ([Mixer.Gather]) and mixes it ([Mixer.Mix]).
//
// # The buffer
//
// A source holds packets back until it has 40 ms of sound (the target), then plays at the speed of
// those who gather. There is no clock and no measured jitter in it; it adapts by what goes wrong. When it runs dry
// it conceals and waits, so that what comes late is played later rather than dropped, and the
// buffer is deeper from then on. What comes out of order, too late for its place, makes it deeper by a
// frame as well, up to 120 ms. When for ten seconds it never held less than a frame more than it needs,
// two frames become one, faded across: that takes back what a burst of lateness had added, and what the talker's
// clock runs ahead of ours. A talker whose clock is slow runs dry instead: at 200 ppm that is
// a frame concealed in 100 s.
//
// A lost packet is recovered from the next one if that carries it (in-band FEC, RFC 6716, section
// 2.1.7), or concealed. A pause (DTX, or a talker that just stops) fades out; the next talkspurt fills the
// buffer anew. Half a second after the last of them fell silent the mix itself pauses. Packets of 2.5 to 120 ms may come in any order of lengths.
//
// # Concurrency
//
// Nothing here locks. [Mixer.Add], [Mixer.Remove], [Mixer.Gather], [Mixer.Stale] and [Source.Push] are cheap, never
// call the codec, and must exclude each other: whoever forwards the room's packets calls them under its own
// mutex. [Mixer.Mix] does the work. It may run beside all of these but Gather, which the goroutine that mixes calls
// itself: a talker that is removed meanwhile makes the result stale. In steady state nothing allocates.
//
// A Mixer keeps no secret longer than it must: when Remove returns, nothing of that talker is in any
// frame that is gathered later, and Stale says of the one that was gathered before that it has to be dropped. The
// encoder forgets the talker too, whose last samples lie in the overlap with its next frame.
package mix
