package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/bot"
)

// newRoom makes a room until the test ends.
func newRoom(t *testing.T, name string, change ...func(*v1alpha1.VoiceRoomSpec)) *v1alpha1.VoiceRoom {
	t.Helper()
	r := &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: v1alpha1.VoiceRoomSpec{Owner: "key:e2e:ann", MaxMembers: 10, MaxMics: 2}}
	for _, c := range change {
		c(&r.Spec)
	}
	create(t, r)
	return r
}

// ticket waits until the room waits for its owner, and returns the owner's ticket.
func ticket(t *testing.T, r *v1alpha1.VoiceRoom) string {
	t.Helper()
	await(t, r, "the room is there", func() bool {
		return meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionMediaReady) && r.Status.HostTicketSecret != ""
	})
	var s corev1.Secret
	must(t, world.client.Get(t.Context(), client.ObjectKey{Namespace: r.Namespace, Name: r.Status.HostTicketSecret}, &s))
	return string(s.Data[v1alpha1.TicketKey])
}

// stay lets somebody in who comes back by itself.
func stay(t *testing.T, r *v1alpha1.VoiceRoom, name, credential string) *bot.Member {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := bot.Stay(ctx, bot.Config{Gateway: world.gateway, Room: r.Namespace + "/" + r.Name, Credential: credential, Name: name})
	if err != nil {
		t.Fatalf("%s comes in: %v", name, err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// guest makes a guest's ticket.
func guest(t *testing.T, name string) string {
	t.Helper()
	g, err := bot.Guest(t.Context(), world.gateway, name)
	must(t, err)
	return g
}

// call makes a room with two people in it, both on a microphone.
func call(t *testing.T, name string, change ...func(*v1alpha1.VoiceRoomSpec)) (r *v1alpha1.VoiceRoom, ann, bob *bot.Member) {
	t.Helper()
	r = newRoom(t, name, change...)
	ann = stay(t, r, "Ann", ticket(t, r))
	bob = stay(t, r, "Bob", guest(t, "Bob"))
	if ann.Entered.Mic == nil || bob.Entered.Mic == nil {
		t.Fatalf("Ann entered with %+v, Bob with %+v: both get a microphone", ann.Entered, bob.Entered)
	}
	await(t, r, "status counts both", func() bool { return r.Status.Members == 2 && r.Status.Media != nil })
	return r, ann, bob
}

// ended waits until somebody is out of the room for good.
func ended(t *testing.T, m *bot.Member) {
	t.Helper()
	until(t, "the call has ended", func() (bool, error) {
		select {
		case <-m.Ended():
			return true, nil
		default:
			return false, nil
		}
	})
}

// code is the code of a typed refusal.
func code(err error) string {
	if p, ok := errors.AsType[*bot.ProblemError](err); ok {
		return p.Code
	}
	return ""
}

// speech plays a recording from one to the other, who has not heard anybody yet, and
// compares every bit.
func speech(t *testing.T, from, to *bot.Member) {
	t.Helper()
	frames, err := bot.Speech()
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var playing sync.WaitGroup
	playing.Go(func() { _ = from.Play(ctx, frames) })
	defer playing.Wait()
	defer cancel()
	for i := range frames {
		select {
		case f := <-to.Frames():
			if f.Member != from.Entered.Member || !bytes.Equal(f.Payload, frames[i]) {
				t.Fatalf("frame %d of %d: %d bytes of member %d, want %d of %d", i, len(frames), len(f.Payload), f.Member, len(frames[i]), from.Entered.Member)
			}
		case <-ctx.Done():
			t.Fatalf("frame %d of %d was not heard", i, len(frames))
		}
	}
}

// stream is somebody who speaks numbered frames and somebody who listens, until stop.
type stream struct {
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	sent  uint32
	heard map[uint32]time.Time
	epoch uint64 // of the frame heard last
}

// opus begins the payload of a frame: nobody on the way reads further than this.
const opus = 0xf8

func speak(t *testing.T, from, to *bot.Member) *stream {
	ctx, cancel := context.WithCancel(t.Context())
	s := &stream{cancel: cancel, heard: map[uint32]time.Time{}}
	s.running.Go(func() {
		tick := time.NewTicker(bot.FrameDuration)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.mu.Lock()
				n := s.sent
				s.sent++
				s.mu.Unlock()
				frame := make([]byte, 80)
				frame[0] = opus
				binary.BigEndian.PutUint32(frame[1:], n)
				from.Say(frame)
			case <-ctx.Done():
				return
			}
		}
	})
	s.running.Go(func() {
		for {
			select {
			case f := <-to.Frames():
				if f.Member == from.Entered.Member && len(f.Payload) == 80 {
					s.mu.Lock()
					s.heard[binary.BigEndian.Uint32(f.Payload[1:])], s.epoch = f.At, f.Epoch
					s.mu.Unlock()
				}
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *stream) stop() {
	s.cancel()
	s.running.Wait()
}

// goesOn waits until a good second of new frames was heard in epoch or a later one.
func (s *stream) goesOn(t *testing.T, epoch int64) {
	t.Helper()
	s.mu.Lock()
	from := s.sent
	s.mu.Unlock()
	until(t, "a second of speech is heard", func() (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := 0
		for frame := range s.heard {
			if frame >= from {
				n++
			}
		}
		return n > 50 && int64(s.epoch) >= epoch, nil
	})
}

// report stops the stream and returns how many frames between the first and the last one
// that was heard were not, and the longest time between two that were.
func (s *stream) report() (heard, lost int, gap time.Duration) {
	s.stop()
	var last time.Time
	for n := range s.sent {
		at, ok := s.heard[n]
		switch {
		case ok && !last.IsZero():
			gap = max(gap, at.Sub(last))
			fallthrough
		case ok:
			heard, last = heard+1, at
		case heard > 0:
			lost++
		}
	}
	for n := s.sent; n > 0 && s.heard[n-1].IsZero(); n-- { // still on their way
		lost--
	}
	return heard, max(lost, 0), gap
}
