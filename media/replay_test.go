package media_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/media"
	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// credential is a session of somebody, and the room token that was minted for it.
type credential struct{ session, token string }

// replay is what became of credentials that were tried again.
type replay struct {
	*pod
	subject  string
	others   string // a session of somebody else
	epoch    uint64
	out      room.Code // why the subject gets no place
	tried    int
	admitted []string
}

func (r *replay) try(what string, err error) {
	r.t.Helper()
	r.tried++
	if err == nil {
		r.admitted = append(r.admitted, what)
	} else if code := mediaapi.NewProblem(err).Code; code == mediaapi.Internal {
		r.t.Errorf("%s failed, and was not refused: %v", what, err)
	}
}

func (r *replay) reserve(what string, place room.Reserve) {
	r.t.Helper()
	place.Subject, place.Session = r.subject, rand.Text()
	_, err := r.gateway.Reserve(r.t.Context(), mediaapi.ReserveRequest{Epoch: r.epoch, Reserve: place})
	r.try(what, err)
	wantCode(r.t, err, r.out)
}

// places asks for a place in every way that does not lift a kick.
func (r *replay) places(invited time.Time) {
	r.t.Helper()
	r.reserve("a place", room.Reserve{})
	r.reserve("a place for a former co-host", room.Reserve{Role: room.CoHost})
	r.reserve("a place by an invitation from before", room.Reserve{InvitedAt: invited})
	until := r.clock.now().Add(time.Hour)
	for _, named := range []bool{false, true} {
		r.reserve("a place by a link from before", room.Reserve{InvitedAt: invited, Invite: &room.Invite{ID: "link", Until: until, Named: named}})
	}
	r.reserve("a place by a link for anybody", room.Reserve{InvitedAt: until, Invite: &room.Invite{ID: "later", Until: until}})
}

// spend gives the pod a credential in every way that takes one.
func (r *replay) spend(c credential) {
	r.t.Helper()
	ctx := r.t.Context()
	request := mediaapi.SignalRequest{Epoch: r.epoch, Token: c.token, Offer: string(transporttest.New(r.t, voice).Offer()), IfMatch: "*"}
	_, err := r.gateway.Signal(ctx, request)
	r.try("an offer", err)
	for _, session := range []string{c.session, r.others} {
		_, err := r.gateway.Restart(ctx, session, request)
		r.try("an ICE restart", err)
		r.try("a hangup", r.gateway.Hangup(ctx, session, mediaapi.HangupRequest{Epoch: r.epoch, Token: c.token}))
	}
	for _, command := range []room.Command{room.TakeMic{Index: -1}, room.Mute{}, room.RaiseHand{Raised: true}, room.Rename{Name: "me"}} {
		_, err := r.gateway.Command(ctx, r.epoch, c.session, command)
		r.try("a command", err)
	}
	_, err = r.gateway.Command(ctx, r.epoch, "", room.Enter{Session: c.session})
	r.try("a confirmation", err)
	_, err = r.gateway.Session(ctx, r.epoch, c.session)
	r.try("a look at the session", err)
	r.reserve("a place that resumes", room.Reserve{Resumes: c.session})
}

// successor starts the pod that replaces another one, with its keys and its last state as seed.
func (p *pod) successor(epoch uint64) *pod {
	p.t.Helper()
	const uid = "the next pod"
	next := newPod(p.t, func(c *media.Config) { c.PodUID, c.KeysDir = uid, p.keysDir })
	next.tokens, next.operatorKey, next.gatewayKey = p.tokens, p.operatorKey, p.gatewayKey
	next.operator = next.dial(token.CallerOperator, p.operatorKey, uid)
	next.gateway = next.dial(token.CallerGateway, p.gatewayKey, uid)
	next.put(func(r *mediaapi.PutRequest) { r.Epoch, r.Seed = epoch, p.state() })
	return next
}

// Whatever somebody had before it was thrown out: none of it opens anything again, on this pod
// or on the one that replaces it. Nor does what the control plane had for the one pod on the other.
func TestReplay(t *testing.T) {
	t.Parallel()
	const bobs = "key:shop:bob"
	for out, ban := range map[room.Code]bool{room.IsKicked: false, room.IsBanned: true} {
		t.Run(string(out), func(t *testing.T) {
			t.Parallel()
			p := newPod(t)
			p.put()
			ann := p.join(owner, voice)
			invited := p.clock.now()
			old := p.join(bobs, voice)      // whose connection is replaced
			bob := p.associate(bobs, voice) // who is here
			old.await("bye", nil)
			_, unused := p.reserve(bobs, "unused")
			p.clock.advance(time.Second)
			p.command(ann.session, room.Kick{Member: bob.member, Ban: ban})
			bob.await("bye", nil)

			credentials := []credential{{old.session, old.token}, {bob.session, bob.token}, {"unused", unused}, {"never", p.token(bobs, "never")}}
			check := func(p *pod, epoch uint64, out room.Code) {
				t.Helper()
				r := &replay{pod: p, subject: bobs, others: ann.session, epoch: epoch, out: out}
				before := p.state()
				r.places(invited)
				for _, c := range credentials {
					r.spend(c)
				}
				t.Logf("epoch %d: %d replays, %d admitted", epoch, r.tried, len(r.admitted))
				if len(r.admitted) > 0 {
					t.Errorf("let in by %q", r.admitted)
				}
				if diff := cmp.Diff(before, p.state()); diff != "" {
					t.Errorf("the room changed:\n%s", diff)
				}
			}
			check(p, 1, out)
			next := p.successor(2)
			check(next, 1, room.StaleEpoch) // as it was issued
			check(next, 2, out)             // as the gateway would pass it on now

			for name, key := range map[string]*signer{token.CallerGateway: p.gatewayKey, token.CallerOperator: p.operatorKey} {
				_, err := next.dial(name, key, podUID).Get(t.Context(), 0)
				wantCode(t, err, mediaapi.Unauthenticated)
			}
		})
	}
}
