package voiceroom

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/fleet"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

const (
	// departureTime is how long it is remembered what a pod was told: longer than it lives,
	// if its node lives.
	departureTime = time.Hour
	// departureCalls that fail, one after the other, are enough.
	departureCalls = 5
)

// departure is what a pod that its room has left was told. It is only touched by who
// reconciles the room.
type departure struct {
	since   time.Time
	asked   bool      // for its talkers
	talkers []uint32  // whose audio it forwarded when it was sealed
	to      uint64    // the epoch that it was told; 0: none
	silent  []uint32  // whom it was told to forward no more
	failed  int       // calls in a row
	retry   time.Time // not before
}

// mute says whether the pod is not called any more: those that wait for their rooms to be
// looked at would pay for it.
func (d *departure) mute() bool { return d.failed >= departureCalls }

// departures are by pod. The zero value is ready to use. Safe for concurrent use.
type departures struct {
	mu    sync.Mutex
	byPod map[types.UID]*departure
}

// of returns what a pod was told, and forgets what is old.
func (d *departures) of(pod types.UID, now time.Time) *departure {
	d.mu.Lock()
	defer d.mu.Unlock()
	if one := d.byPod[pod]; one != nil {
		return one
	}
	if d.byPod == nil {
		d.byPod = map[types.UID]*departure{}
	}
	maps.DeleteFunc(d.byPod, func(_ types.UID, one *departure) bool { return now.Sub(one.since) > departureTime })
	d.byPod[pod] = &departure{since: now}
	return d.byPod[pod]
}

// usher keeps the pods that the room has left in step with the one that holds it: they send
// their clients there, and forward nobody whom the room does not let be heard any more. state
// is the room as it is now.
func (r *Reconciler) usher(ctx context.Context, vr *v1alpha1.VoiceRoom, state *room.State, pods []corev1.Pod) ctrl.Result {
	var result ctrl.Result
	for i := range pods {
		pod, d := &pods[i], r.departures.of(pods[i].UID, r.Clock.Now())
		if d.mute() {
			continue
		}
		if left := d.retry.Sub(r.Clock.Now()); left > 0 {
			result = sooner(result, after(left))
			continue
		}
		err := r.tell(ctx, pod, d, state)
		if err == nil || refused(err) {
			d.failed = 0 // what refuses, one of an earlier version or one that is about to end, is left to the sweeper
			continue
		}
		ctrl.LoggerFrom(ctx).V(1).Info("an earlier pod of the room does not hear that it has moved", "room", vr.Name, "pod", pod.Name, "reason", err.Error())
		wait := sealRetry << d.failed
		d.failed, d.retry = d.failed+1, r.Clock.Now().Add(wait)
		result = sooner(result, after(wait))
	}
	return result
}

// tell puts to a pod what it does not know yet.
func (r *Reconciler) tell(ctx context.Context, pod *corev1.Pod, d *departure, state *room.State) error {
	e, err := epochOf(pod)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sealTimeout)
	defer cancel()
	media := r.Dialer.Pod(fleet.Endpoint(pod), string(pod.UID))
	if !d.asked {
		old, err := seal(ctx, media, e)
		if err != nil {
			return err
		}
		d.asked, d.talkers = true, talkersOf(old)
	}
	silent := slices.DeleteFunc(slices.Clone(d.talkers), func(member uint32) bool {
		mic, _ := state.Mic(member)
		return mic.Live()
	})
	if d.to == state.Epoch && slices.Equal(silent, d.silent) {
		return nil
	}
	err = media.Moved(ctx, mediaapi.MovedRequest{Epoch: e, To: state.Epoch, Silent: silent})
	if err == nil || refused(err) {
		d.to, d.silent = state.Epoch, silent
	}
	return err
}

// refused says whether a pod has answered that it does not do what it was asked.
func refused(err error) bool {
	_, ok := errors.AsType[*room.Error](err)
	return ok
}

// talkersOf are the members whose audio a room forwards.
func talkersOf(s *room.State) []uint32 {
	var talkers []uint32
	for _, mic := range s.Mics {
		if mic.Live() {
			talkers = append(talkers, mic.Member)
		}
	}
	return talkers
}
