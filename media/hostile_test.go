package media_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// arrival is an audio packet at a listener's socket. Its header is not encrypted.
type arrival struct {
	member uint32 // 0: silence
	ssrc   uint32
	seq    uint16
	at     time.Time
}

// wiretap logs what arrives at a listener's socket, in order.
type wiretap struct {
	mu  sync.Mutex
	log []arrival
}

func (w *wiretap) hear(b []byte) {
	if len(b) < 16 || b[0]>>6 != 2 || b[1] >= 192 && b[1] <= 223 { // RTP and not RTCP: RFC 7983, RFC 5761
		return
	}
	a := arrival{seq: binary.BigEndian.Uint16(b[2:]), ssrc: binary.BigEndian.Uint32(b[8:]), at: time.Now()}
	if b[0]&0x0f == 1 {
		a.member = binary.BigEndian.Uint32(b[12:])
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, a)
}

// of are a member's packets from a place in the log on.
func (w *wiretap) of(member uint32, from int) []arrival {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []arrival
	for _, a := range w.log[from:] {
		if a.member == member {
			found = append(found, a)
		}
	}
	return found
}

// place is what came at a place in the log.
func (w *wiretap) place(n int) arrival {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log[n]
}

func (w *wiretap) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.log)
}

// await waits until the log has a packet like this one, from a place on, and returns the next place.
func (w *wiretap) await(t testing.TB, what string, from int, like func(arrival) bool) (next int) {
	t.Helper()
	eventually(t, what, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		i := slices.IndexFunc(w.log[from:], like)
		next = from + i + 1
		return i >= 0
	})
	return next
}

// hostile is a client that ignores every signal. It never stops sending: new packets, packets of
// another source, and old numbers again. Each payload says how many were sent before it.
type hostile struct {
	*peer
	sent atomic.Int64
}

func (c *peer) turnHostile(every time.Duration) *hostile {
	h := &hostile{peer: c}
	forger := c.Forge()
	stop := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for n := uint16(1); ; n++ {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			source, seq := uint32(0), n
			switch n % 8 {
			case 3:
				source = 1
			case 5:
				seq = n - 2
			}
			payload := fmt.Appendf(nil, "\xfc%d", h.sent.Load()+1)
			if forger.Send(source, seq, uint32(seq)*960, 10, payload) != nil {
				return
			}
			h.sent.Add(1)
		}
	})
	c.pod.t.Cleanup(func() { close(stop); sending.Wait() })
	return h
}

// sends waits until the hostile client has sent more, and the server has seen it.
func (h *hostile) sends() {
	h.pod.t.Helper()
	const more = 100
	seen, sent := h.pod.arrivals(), h.sent.Load()
	eventually(h.pod.t, "the hostile client goes on sending", func() bool {
		return h.sent.Load() >= sent+more && h.pod.arrivals() >= seen+more
	})
}

// arrivals counts the packets that reached the server, whatever became of them.
func (p *pod) arrivals() int {
	p.t.Helper()
	n := p.metric(`packets_total{direction="in"}`)
	for _, event := range []string{"dropped_unverified", "dropped_unexpected", "dropped_early", "srtp_auth_failed"} {
		n += p.metric(`transport_events_total{event="` + event + `"}`)
	}
	return n
}

// restart tries to restart ICE.
func (c *peer) restart() error {
	answer, err := c.pod.gateway.Restart(c.pod.t.Context(), c.session,
		mediaapi.SignalRequest{Epoch: 1, Token: c.token, Offer: string(c.RestartOffer()), IfMatch: c.etag})
	if err == nil {
		c.etag = answer.ETag
		c.Answer([]byte(answer.Answer))
	}
	return err
}

// union is a key set of several signers.
func union(signers ...*signer) *token.PublicSet {
	all := &token.PublicSet{}
	for _, s := range signers {
		all.Keys = append(all.Keys, s.ring.Public().Keys...)
	}
	return all
}

// Whatever a client that ignores all signals goes on sending: of what it sends after a command
// that silences it was answered, listeners get nothing, and what they got before they cannot get again.
func TestHostileClient(t *testing.T) {
	t.Parallel()
	const turn = 30
	tests := []struct {
		name   string
		revoke func(p *pod, ann, bob *peer)
		gone   room.Code // how an ICE restart is refused; empty: it is not
	}{
		{"muted by itself", func(p *pod, _, bob *peer) { p.command(bob.session, room.Mute{Muted: true}) }, ""},
		{"muted by a moderator", func(p *pod, ann, bob *peer) { p.command(ann.session, room.MuteMember{Member: bob.member, Muted: true}) }, ""},
		{"all are muted", func(p *pod, ann, _ *peer) { p.command(ann.session, room.MuteAll{Muted: true}) }, ""},
		{"pulled down", func(p *pod, ann, bob *peer) { p.command(ann.session, room.PullMic{Member: bob.member}) }, ""},
		{"evicted by a lock", func(p *pod, ann, _ *peer) { p.command(ann.session, room.LockMic{Index: 1, Locked: true}) }, ""},
		{"its turn is over", func(p *pod, ann, _ *peer) {
			p.clock.advance((turn + 1) * time.Second)
			p.command(ann.session, room.ClearHands{}) // anything: the room looks at its clock
		}, ""},
		{"left", func(p *pod, _, bob *peer) { p.command(bob.session, room.Leave{}) }, room.UnknownSession},
		{"kicked", func(p *pod, ann, bob *peer) { p.command(ann.session, room.Kick{Member: bob.member}) }, room.UnknownSession},
		{"banned", func(p *pod, ann, bob *peer) { p.command(ann.session, room.Kick{Member: bob.member, Ban: true}) }, room.UnknownSession},
		{"its key is revoked", func(p *pod, _, _ *peer) { p.push(p.tokens) }, mediaapi.TokenUnknownKey},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t)
			p.put(func(r *mediaapi.PutRequest) { r.Spec.MaxMics, r.Spec.SpeakingSeconds = 2, turn })
			tap := &wiretap{}
			ann := p.join(owner, voice)
			bob := p.joinUnder(newSigner(t, p.clock.now), "key:shop:bob", transporttest.Options{Uplink: true, Slots: 1, Data: true, Deaf: true}).turnHostile(2 * time.Millisecond)
			cy := p.join("key:shop:cy", transporttest.Options{Slots: 4, Data: true, NACK: true, Tap: tap.hear})

			// Before: bob is heard, and what he said can be had again.
			ofBob := func(a arrival) bool { return a.member == bob.member }
			eventually(t, "bob is heard", func() bool { return len(tap.of(bob.member, 0)) >= 50 })
			heard := tap.of(bob.member, 0)
			last := heard[len(heard)-1]
			from := tap.len()
			cy.Ask(last.ssrc, last.seq)
			tap.await(t, "bob's packet comes again", from, func(a arrival) bool { return a.ssrc == last.ssrc && a.seq == last.seq })

			test.revoke(p, ann, bob.peer)
			fence := bob.sent.Load()

			// A packet of ann that passed the same socket: what comes of bob behind it is a leak.
			from = tap.len()
			ann.say("behind this", 30)
			behind := tap.await(t, "ann is heard", from, func(a arrival) bool { return a.member == ann.member })
			ofAnn := tap.of(ann.member, 0)[0]
			bob.sends()
			for _, a := range tap.of(bob.member, 0) {
				cy.Ask(a.ssrc, a.seq)
			}
			from = tap.len()
			cy.Ask(ofAnn.ssrc, ofAnn.seq) // is answered once those before it were
			tap.await(t, "ann's packet comes again", from, func(a arrival) bool { return a.ssrc == ofAnn.ssrc && a.seq == ofAnn.seq })
			if err := bob.restart(); test.gone != "" {
				wantCode(t, err, test.gone)
			} else if err != nil {
				t.Errorf("restarting ICE: %v", err)
			} else {
				bob.sends()
			}
			from = tap.len()
			ann.say("and before this", 30)
			tap.await(t, "ann is heard again", from, func(a arrival) bool { return a.member == ann.member })

			tap.mu.Lock()
			if slices.ContainsFunc(tap.log[behind:], ofBob) {
				t.Error("packets of bob came after he was silenced")
			}
			tap.mu.Unlock()
			if sent := cy.lastOf(bob, tap); sent > fence {
				t.Errorf("packet %d of bob was heard; he was silenced at %d", sent, fence)
			}
		})
	}
}

// lastOf is the newest packet of a hostile client that a listener could decode, of all that
// reached its socket.
func (c *peer) lastOf(h *hostile, tap *wiretap) (newest int64) {
	c.pod.t.Helper()
	arrived := map[arrival]bool{}
	for _, a := range tap.of(h.member, 0) {
		arrived[arrival{ssrc: a.ssrc, seq: a.seq}] = true // what comes twice is decoded once
	}
	decoded := 0
	eventually(c.pod.t, "all that arrived is decoded", func() bool {
		for _, mid := range mids(0, 4) {
			for c.Pending(mid) > 0 {
				p := c.Packet(mid)
				if len(p.CSRC) == 0 || p.CSRC[0] != h.member {
					continue
				}
				var n int64
				if _, err := fmt.Sscanf(string(p.Payload), "\xfc%d", &n); err != nil {
					c.pod.t.Fatalf("bob's packet says %q", p.Payload)
				}
				decoded++
				newest = max(newest, n)
			}
		}
		return decoded >= len(arrived)
	})
	return newest
}
