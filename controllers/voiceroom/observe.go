package voiceroom

import (
	"context"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
)

// observe takes what the room's pod says into the status.
func (r *Reconciler) observe(_ context.Context, vr *v1alpha1.VoiceRoom) (ctrl.Result, error) {
	if replica := r.Fleet.Replica(vr.UID); !closed(vr) && live(vr, replica) {
		summarize(vr, replica.State)
	}
	return ctrl.Result{}, nil
}

// summarize copies a room's state into the status. StartedAt is a latch.
func summarize(vr *v1alpha1.VoiceRoom, s *room.State) {
	subjects, here := make(map[uint32]string, len(s.Members)), make(map[uint32]bool, len(s.Members))
	members := int32(0)
	for _, m := range s.Members {
		subjects[m.ID] = m.Subject
		if m.Status == room.Entered || m.Status == room.Away {
			members++
			here[m.ID] = true
		}
	}
	vr.Status.Members, vr.Status.Mics = members, nil
	holders := make([]string, 0, len(s.Mics))
	for _, m := range s.Mics {
		if here[m.Member] { // not a place that is held for somebody since a fail-over
			holders = append(holders, subjects[m.Member])
		}
		vr.Status.Mics = append(vr.Status.Mics, v1alpha1.MicStatus{Index: int32(m.Index), Holder: subjects[m.Member], Muted: m.Muted || m.ModMuted})
	}
	vr.Status.OnMic = strings.Join(holders, ",")
	remember(&vr.Status, &vr.Spec, s)
	vr.Status.EffectiveMaxMembers, vr.Status.EffectiveMaxMics = int32(s.Settings.MaxMembers), int32(s.Settings.MaxMics)
	vr.Status.EmptySince = seconds(s.EmptySince)
	if s.ActivatedAt != nil && vr.Status.StartedAt == nil {
		vr.Status.StartedAt = seconds(s.ActivatedAt)
	}
}

// seconds is t as the API server keeps it.
func seconds(t *time.Time) *metav1.Time {
	if t == nil {
		return nil
	}
	s := metav1.NewTime(t.Truncate(time.Second))
	return &s
}
