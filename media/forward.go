package media

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"voiceroom.dev/voiceroom/media/egress"
	"voiceroom.dev/voiceroom/media/mix"
	"voiceroom.dev/voiceroom/media/ranking"
	"voiceroom.dev/voiceroom/media/transport"
)

const (
	// quietAfter is how long a talker may send nothing before its slots play silence.
	quietAfter = 250 * time.Millisecond
	// discontinuous is the size in bytes up to which an Opus payload announces that
	// nothing may follow for a while (RFC 6716, section 2.1.9); decoders then make
	// comfort noise by themselves.
	discontinuous = 2
	// silent is the level of silence (RFC 6464, section 3).
	silent = 127

	// packetCost, byteCost and paceBurst bound what a client sends, for it is sent on to everybody: a
	// packet costs more time than Opus needs to fill it, up to 5 ms frames at 510 kbit/s, and one that
	// was left out as much as an empty one, for it takes a number of each listener's slot: so
	// 2^15 of them last for longer than a listener can be away (see egress.MaxAhead). Time
	// that was not used is kept for a burst, as when a network was away.
	packetCost = time.Millisecond
	byteCost   = 10 * time.Microsecond
	paceBurst  = time.Second
)

// forwarder is the room's forwarding context: it takes packets of talkers to the slots of
// listeners.
//
// Who is prompt is served when a packet comes in: people on a microphone, for they talk to each
// other, and everybody when there is no tick. The audience is divided among shards, which serve it on
// a tick, in parallel: so a listener's packets leave in runs. Or it hears the mix: see mixing.
//
// One lock guards all of it and the egress below. It is taken for writing for each packet that comes in
// and for each change, and for reading by a shard for each batch that it sends, so that nobody waits
// for more than a batch; nothing under it waits. What it buys is that a revoked grant is revoked when
// revoke returns: whoever serves flushes under the lock.
type forwarder struct {
	mu        sync.RWMutex
	ranking   ranking.Ranking
	byRank    map[*ranking.Talker]*talker
	listeners []*listener
	prompt    []*listener
	shards    []*shard // none: everybody is prompt
	onMic     []*session
	codec     mix.Codec // nil: there is no mix
	mixing    *mixing   // nil: the audience hears what is forwarded
	mixed     mix.Stats // of those before
	outbox    *egress.Outbox
	stats     forwardStats
	flood     atomic.Uint64 // packets that were dropped before the lock
	fresh     []*session    // they entered, are traced, and no audio has come from them or gone to them yet
	audible   []first       // since takeAudible

	stopping chan struct{}
	running  sync.WaitGroup // shards
}

// first is when the first audio came from a session or was on its way to it.
type first struct {
	session *session
	at      time.Time
}

// forwardStats count packets.
type forwardStats struct {
	in      uint64
	noGrant uint64 // from sessions whose audio must not flow
	flood   uint64 // from talkers that send more than any encoder does, or larger packets
	unheard uint64 // from talkers that nobody has on a slot
	late    uint64 // to listeners that were not served in time
	mixed   uint64 // frames of the mix
}

// talker is a live grant, and the fence of the forwarding path: a packet is forwarded only
// for the talker that its session is at that moment, and only if it arrived under it. A
// talker stands for one grant of the room, by its number. When the room ends that grant,
// and setGrants has returned, nothing that arrived under it is handed to the network any
// more: not what waits for the lock, not what waits for a tick, not what is kept to be sent again, and
// not even if the same member has been given a microphone again meanwhile, for that is another talker.
// Only a grant that the room moves to another index in one step goes on as the same talker, so
// that nobody hears a gap.
type talker struct {
	session *session
	member  uint32
	number  uint64    // of the grant
	since   time.Time // what arrived before is not its
	rank    *ranking.Talker
	log     egress.Log  // what arrived
	slots   int         // that it is on
	source  *mix.Source // nil: there is no mix

	heard time.Time // its last packet; zero: none yet, or silence was sent since
	dtx   bool      // and that packet announced a pause
}

// listener is a client that entered.
type listener struct {
	session *session
	out     *egress.Listener
	slots   []*talker // who is on which; nil: nobody
	changed bool      // since takeSlotMaps
	shard   *shard    // that serves it; nil: it is prompt
}

// grant says that a session is on a microphone, and that its audio may flow unless it is muted.
type grant struct {
	session  *session
	member   uint32
	number   uint64 // room.Mic.Grant
	priority bool   // before all others, while it speaks
	muted    bool
}

// newForwarder makes a forwarder that sends through batches, and serves the audience every tick, in as
// many shards as there are sockets. Without a tick everybody is served at once.
func newForwarder(tick time.Duration, sockets int, batch func(socket int) *transport.Batch) *forwarder {
	f := &forwarder{byRank: map[*ranking.Talker]*talker{}, outbox: egress.NewOutbox(batch(0)), stopping: make(chan struct{})}
	if tick > 0 {
		for i := range sockets {
			// Ticks are spread out, so that shards do not all want the processor at once.
			s := newShard(f, tick, tick*time.Duration(i)/time.Duration(sockets), batch(i))
			f.shards = append(f.shards, s)
			f.running.Go(s.run)
		}
	}
	return f
}

// stop ends the shards and waits for them. Nobody is served on a tick any more.
func (f *forwarder) stop() {
	close(f.stopping)
	f.running.Wait()
}

// forward takes one packet of a session's uplink. It is called by the goroutines
// that read sockets.
func (f *forwarder) forward(s *session, p *transport.Packet) {
	if !s.paces(p) { // a flood does not come as far as the lock
		f.flood.Add(1)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats.in++
	t := s.talks
	if t == nil || p.Arrival.Before(t.since) {
		f.stats.noGrant++
		return
	}
	t.heard, t.dtx = p.Arrival, len(p.Payload) <= discontinuous
	level, known := p.Level, p.HasLevel
	if t.dtx && !known {
		level, known = silent, true
	}
	if from, to := f.ranking.Heard(t.rank, level, known, p.Arrival); to < from {
		f.reroute(from, to, p.Arrival)
	}
	if !t.log.Append(p, t.member) {
		f.stats.flood++
		return
	}
	isMixed := f.mixing != nil && f.mixing.push(t, p)
	if t.slots == 0 && !isMixed {
		f.stats.unheard++
		return
	}
	f.freshen(s, t, p.Arrival)
	if f.mixing != nil { // the audience has to wait for the mix
		f.servePrompt()
		return
	}
	f.deliver()
}

// deliver serves who is prompt, and lets the shards serve the audience on their next tick.
func (f *forwarder) deliver() {
	f.servePrompt()
	for _, s := range f.shards {
		s.wake()
	}
}

func (f *forwarder) servePrompt() {
	for _, l := range f.prompt {
		l.out.Serve(f.outbox)
	}
	f.outbox.Flush()
}

// freshen notes whose first audio a packet of t was; s is nil for the mix.
func (f *forwarder) freshen(s *session, t *talker, at time.Time) {
	f.fresh = slices.DeleteFunc(f.fresh, func(of *session) bool {
		audible := of == s || of.hears.hears(t) >= 0
		if audible {
			f.audible = append(f.audible, first{of, at})
		}
		return audible
	})
}

// takeAudible returns the sessions that had their first audio since it was called before.
func (f *forwarder) takeAudible() []first {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.audible
	f.audible = nil
	return taken
}

// paces says whether a packet of the session is within what a client may send.
func (s *session) paces(p *transport.Packet) bool {
	from := p.Arrival.Add(-paceBurst)
	if s.paced.After(from) {
		from = s.paced
	}
	numbers := min(max(int16(p.Sequence-s.sequence), 1), egress.MaxAhead)
	until := from.Add(time.Duration(numbers)*packetCost + time.Duration(p.Size)*byteCost)
	if until.After(p.Arrival) {
		return false
	}
	s.paced, s.sequence = until, p.Sequence
	return true
}

// resend sends packets of a listener's slot again.
func (f *forwarder) resend(s *session, slot int, seqs []uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.hears != nil {
		s.hears.out.Resend(f.outbox, slot, seqs)
		f.outbox.Flush()
	}
}

// protect makes packets to a session carry earlier frames too, as many as it is told.
func (f *forwarder) protect(s *session, redundancy int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.hears != nil {
		s.hears.out.SetRedundancy(redundancy)
	}
}

// hush plays silence for talkers that stopped sending without a word.
func (f *forwarder) hush(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hushed := false
	for _, t := range f.byRank {
		if t.heard.IsZero() || t.dtx || now.Sub(t.heard) < quietAfter {
			continue
		}
		t.heard = time.Time{}
		for _, l := range f.listeners {
			if i := l.hears(t); i >= 0 {
				l.out.Silence(i, now)
				hushed = true
			}
		}
	}
	if hushed {
		f.deliver()
	}
}

func (f *forwarder) counted() forwardStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	stats, flood := f.stats, f.flood.Load()
	stats.in, stats.flood = stats.in+flood, stats.flood+flood
	stats.late = f.outbox.Late()
	for _, s := range f.shards {
		stats.late += s.outbox.Late()
	}
	return stats
}
