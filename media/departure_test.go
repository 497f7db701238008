package media_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/media"
	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// What is not a move to a later epoch of this very room is refused.
func TestMovedRefusals(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	wantCode(t, p.operator.Moved(t.Context(), mediaapi.MovedRequest{Epoch: 1, To: 2}), mediaapi.NoRoom)
	p.put()
	p.join(owner, voice)
	wantCode(t, p.gateway.Moved(t.Context(), mediaapi.MovedRequest{Epoch: 1, To: 2}), mediaapi.Forbidden)
	wantCode(t, p.operator.Moved(t.Context(), mediaapi.MovedRequest{Epoch: 1, To: 1}), mediaapi.BadRequest)
	wantCode(t, p.operator.Moved(t.Context(), mediaapi.MovedRequest{To: 2}), room.StaleEpoch)
	if phase := p.state().Phase; phase != room.Opened {
		t.Errorf("the room is %s by what was refused", phase)
	}
	if err := p.operator.Moved(t.Context(), mediaapi.MovedRequest{Epoch: 1, To: 2}); err != nil {
		t.Error(err)
	}
	if phase := p.state().Phase; phase != room.Sealed {
		t.Errorf("a room that has moved is %s", phase)
	}
}

// moveTo tells the pod that its room has moved.
func (p *pod) moveTo(epoch uint64, silent ...uint32) {
	p.t.Helper()
	if err := p.operator.Moved(p.t.Context(), mediaapi.MovedRequest{Epoch: 1, To: epoch, Silent: silent}); err != nil {
		p.t.Fatal(err)
	}
}

// arrive says that the client is connected to the next pod.
func (c *peer) arrive() {
	c.pod.t.Helper()
	if err := c.Channel.SendText(`{"id":"arrived","type":"arrived"}`); err != nil {
		c.pod.t.Fatal(err)
	}
}

// told waits until the client is sent away, or to another epoch.
func (c *peer) told(kind string) message {
	c.pod.t.Helper()
	return c.await(kind, nil)
}

// wasTold says whether a message of this kind is among those that came.
func (c *peer) wasTold(kind string) bool {
	for len(c.Messages) > 0 {
		if strings.Contains(<-c.Messages, `"type":"`+kind+`"`) {
			return true
		}
	}
	return false
}

// barrier returns once the client has what the pod has sent it.
func (c *peer) barrier() {
	c.pod.t.Helper()
	if err := c.Channel.SendText(`{"id":"barrier","type":"resync"}`); err != nil {
		c.pod.t.Fatal(err)
	}
	c.await("reply", func(m message) bool { return m.ID == "barrier" })
}

// newStoppablePod starts a pod whose clock can be stopped.
func newStoppablePod(t *testing.T) (p *pod, stopClock func()) {
	var stopped atomic.Pointer[time.Time]
	p = newPod(t, func(c *media.Config) {
		c.Now = func() time.Time {
			if at := stopped.Load(); at != nil {
				return *at
			}
			return time.Now()
		}
	})
	return p, func() { now := time.Now(); stopped.Store(&now) }
}

// Talkers are sent ahead, and stay until everybody is where they are; the audience follows when they
// have arrived, and goes as it arrives. Then the pod has ended.
func TestTalkersGoFirst(t *testing.T) {
	t.Parallel()
	p, stopClock := newStoppablePod(t)
	p.put(func(r *mediaapi.PutRequest) { r.Spec.MaxMics = 2 })
	ann, bob := p.join(owner, voice), p.join("key:shop:bob", voice)
	cyd, dan := p.join("key:shop:cyd", voice), p.join("key:shop:dan", voice)
	if got := cyd.ask("early", `{"id":"early","type":"arrived"}`); got.Error == nil || got.Error.Code != room.BadCommand {
		t.Errorf("arrived before the room moves: %+v", got)
	}
	stopClock() // the audience does not go by it
	p.moveTo(2)
	p.moveTo(2) // nobody is told twice
	for _, talker := range []*peer{ann, bob} {
		if got := talker.told("moved"); got.Epoch != 2 {
			t.Errorf("a talker is sent to epoch %d", got.Epoch)
		}
	}
	ann.arrive()
	ann.await("reply", func(m message) bool { return m.ID == "arrived" && m.OK })
	dan.arrive() // it heard of the move elsewhere
	dan.await("reply", func(m message) bool { return m.ID == "arrived" && m.OK })
	cyd.barrier()
	if cyd.wasTold("moved") {
		t.Error("the audience is told before the talkers have arrived")
	}
	ann.say("\xfcstill here", 30)
	if got, by := cyd.hear(); got != "\xfcstill here" || by != ann.member {
		t.Errorf("cyd hears %q of %d", got, by)
	}
	bob.arrive()
	if got := dan.told("bye"); got.Code != room.Moving {
		t.Errorf("dan's bye: %+v", got)
	}
	cyd.told("moved")
	ann.barrier()
	if ann.wasTold("bye") || ann.wasTold("moved") {
		t.Error("a talker is sent away before its audience, or told twice")
	}
	cyd.arrive()
	for _, last := range []*peer{cyd, ann, bob} {
		if got := last.told("bye"); got.Code != room.Moving {
			t.Errorf("bye: %+v", got)
		}
	}
	if err := p.exit(); err != nil {
		t.Errorf("the pod ended with %v", err)
	}
}

// Nobody holds the others up: the audience is told after a second, and all are sent away after five.
func TestMoveDoesNotWait(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put(func(r *mediaapi.PutRequest) { r.Spec.MaxMics = 1 })
	ann, bob := p.join(owner, voice), p.join("key:shop:bob", voice)
	deaf := p.associate("key:shop:deaf", transporttest.Options{Slots: 1})
	eventually(t, "who has no data channel enters", func() bool {
		_, err := p.gateway.Command(t.Context(), 1, "", room.Enter{Session: deaf.session})
		return err == nil
	})
	p.moveTo(2)
	ann.told("moved")
	p.clock.advance(time.Second)
	bob.told("moved")
	transporttest.Receive(t, deaf.Ended, "the end of who cannot be told")
	p.moveTo(3) // the pod of epoch 2 was lost meanwhile
	wantCode(t, p.operator.Moved(t.Context(), mediaapi.MovedRequest{Epoch: 1, To: 2}), room.StaleEpoch)
	if got := ann.told("moved"); got.Epoch != 3 {
		t.Errorf("ann is sent to epoch %d", got.Epoch)
	}
	p.clock.advance(5 * time.Second)
	for _, c := range []*peer{ann, bob} {
		if got := c.told("bye"); got.Code != room.Moving {
			t.Errorf("bye: %+v", got)
		}
	}
	if err := p.exit(); err != nil {
		t.Errorf("the pod ended with %v", err)
	}
}

// Whoever may not be heard where the room is now is not heard here either once the call has
// returned, and is not waited for.
func TestSilentWhereTheRoomWas(t *testing.T) {
	t.Parallel()
	p, stopClock := newStoppablePod(t)
	p.put(func(r *mediaapi.PutRequest) { r.Spec.MaxMics = 2 })
	ann, bob, cyd := p.join(owner, voice), p.join("key:shop:bob", voice), p.join("key:shop:cyd", voice)
	bob.say("before", 30)
	if got, by := cyd.hear(); got != "before" || by != bob.member {
		t.Fatalf("cyd hears %q of %d", got, by)
	}
	stopClock()
	p.moveTo(2)
	p.moveTo(2, bob.member)
	for range 3 {
		if got, by := cyd.hear(); by != 0 {
			t.Errorf("cyd hears %q of %d where bob was, want silence", got, by)
		}
	}
	sent, refused := p.metric(`packets_total{direction="out"}`), p.metric(`packets_dropped_total{reason="no-grant"}`)
	const more = 50
	for range more {
		bob.say("after", 30)
	}
	eventually(t, "bob's packets are refused", func() bool { return p.metric(`packets_dropped_total{reason="no-grant"}`) == refused+more })
	if got := p.metric(`packets_total{direction="out"}`); got != sent {
		t.Errorf("%d packets of his were forwarded", got-sent)
	}
	p.moveTo(2) // he stays silent
	ann.say("\xfcon", 30)
	eventually(t, "ann is heard", func() bool { return p.metric(`packets_total{direction="out"}`) > sent })
	ann.arrive()
	cyd.told("moved")
}

// A pod that is to go serves on while somebody is in it, and says that it takes no other room.
func TestDrain(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann, bob := p.join(owner, voice), p.join("key:shop:bob", voice)
	p.server.Drain()
	p.server.Drain()
	resp, err := http.Get("http://" + p.server.HealthAddr() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	if text := drained(resp); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("ready while it is to go: %s", text)
	}
	ann.say("on", 30)
	if got, by := bob.hear(); got != "on" || by != ann.member {
		t.Errorf("bob hears %q of %d", got, by)
	}
	p.command(bob.session, room.Leave{})
	p.moveTo(2) // the operator is listened to
	ann.told("moved")
	ann.arrive()
	if got := ann.told("bye"); got.Code != room.Moving {
		t.Errorf("bye: %+v", got)
	}
	if err := p.exit(); err != nil {
		t.Errorf("the pod ended with %v", err)
	}
}

// A pod that is to go and has nobody in it ends at once.
func TestDrainIdle(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*pod){"without a room": func(*pod) {}, "with an empty one": func(p *pod) { p.put() }} {
		p := newPod(t)
		prepare(p)
		p.server.Drain()
		if err := p.exit(); err != nil {
			t.Errorf("%s: the pod ended with %v", name, err)
		}
	}
}

// A sealed pod that nobody tells where the room is does not go on for ever.
func TestSealedAndForgotten(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann := p.join(owner, voice)
	if _, err := p.operator.Command(t.Context(), 1, "", room.Seal{}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, p.operator.Renew(t.Context(), 1, 0), room.Moving)
	p.clock.advance(room.StopAfter)
	if got := ann.told("bye"); got.Code != room.Moving {
		t.Errorf("bye: %+v", got)
	}
	if err := p.exit(); err != nil {
		t.Errorf("the pod ended with %v", err)
	}
}
