package voiceroom

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
)

// These bound the lists of subjects in a status: what one room writes there must not weigh
// on the whole cluster.
const (
	mostBanned = 1024
	mostOthers = 256 // of each other list
)

// remember copies into the status what must survive the loss of both the pod and the
// operator's replica of it, or a sleep: who is the host, and what moderators decided
// about whom. See seedFromStatus.
func remember(s *v1alpha1.VoiceRoomStatus, spec *v1alpha1.VoiceRoomSpec, state *room.State) {
	s.Host, s.InvitesResetAt = state.Settings.Host, secondsUp(state.Settings.InvitesSince)
	banned := newest(state.Records, mostBanned, func(r room.Record) bool { return r.Banned && !slices.Contains(spec.Banned, r.Subject) })
	kicked := newest(state.Records, mostOthers, func(r room.Record) bool { return r.Kicked != nil && !r.Banned })
	muted := newest(state.Records, mostOthers, func(r room.Record) bool { return r.Muted })
	chatMuted := newest(state.Records, mostOthers, func(r room.Record) bool { return r.ChatMuted })
	s.Banned, s.Muted, s.ChatMuted, s.Kicked = subjects(banned), subjects(muted), subjects(chatMuted), nil
	for _, r := range kicked {
		s.Kicked = append(s.Kicked, v1alpha1.KickedStatus{Subject: r.Subject, At: *secondsUp(r.Kicked)})
	}
}

// newest are the records that are as asked, by subject: of those thrown out the latest, if
// there are more than most of them.
func newest(records []room.Record, most int, is func(room.Record) bool) []room.Record {
	found := slices.DeleteFunc(slices.Clone(records), func(r room.Record) bool { return !is(r) })
	if len(found) > most {
		slices.SortStableFunc(found, func(a, b room.Record) int { return thrownOut(b).Compare(thrownOut(a)) })
		found = found[:most]
		slices.SortFunc(found, func(a, b room.Record) int { return strings.Compare(a.Subject, b.Subject) })
	}
	return found
}

// thrownOut is when that was; the zero time: never.
func thrownOut(r room.Record) time.Time {
	if r.Kicked == nil {
		return time.Time{}
	}
	return *r.Kicked
}

func subjects(records []room.Record) []string {
	var list []string
	for _, r := range records {
		list = append(list, r.Subject)
	}
	return list
}

// secondsUp is t as the API server keeps it, rounded up: nothing that was issued before
// t may look as if it were younger.
func secondsUp(t *time.Time) *metav1.Time {
	if t == nil {
		return nil
	}
	up := t.Add(time.Second - time.Nanosecond)
	return seconds(&up)
}

// seedFromStatus is what the status has kept of a room that was activated. Nil for any
// other. What moderators set meanwhile and the status does not name is as the spec says.
func seedFromStatus(vr *v1alpha1.VoiceRoom) *room.State {
	s := &vr.Status
	if s.StartedAt == nil {
		return nil
	}
	started := s.StartedAt.Time
	seed := room.New(idOf(vr), uint64(max(epoch(vr)-1, 0)), specOf(vr), nil, started).State()
	seed.Phase, seed.ActivatedAt = room.Opened, &started
	seed.Settings.Host = cmp.Or(s.Host, seed.Settings.Host)
	if s.InvitesResetAt != nil {
		seed.Settings.InvitesSince = &s.InvitesResetAt.Time
	}
	seed.Records = recordsOf(s, seed.Records)
	return seed
}

// recall adds to an old replica what the status remembers. Another operator may have led
// meanwhile, and this one, which was frozen, does not know yet that it leads no more: a kick
// that it has not seen must not be undone. Without a seed the room would forget who is in it.
func recall(seed *room.State, s *v1alpha1.VoiceRoomStatus) {
	seed.Records = recordsOf(s, seed.Records)
	if s.StartedAt != nil && seed.ActivatedAt == nil {
		seed.Phase, seed.ActivatedAt = room.Opened, &s.StartedAt.Time
	}
}

// recordsOf adds what a status says of subjects to records. They come back in order.
func recordsOf(s *v1alpha1.VoiceRoomStatus, records []room.Record) []room.Record {
	of := map[string]*room.Record{}
	record := func(subject string) *room.Record {
		if of[subject] == nil {
			of[subject] = &room.Record{Subject: subject}
		}
		return of[subject]
	}
	for _, rec := range records {
		*record(rec.Subject) = rec
	}
	for _, subject := range s.Banned {
		record(subject).Banned = true
	}
	for _, k := range s.Kicked {
		record(k.Subject).Kicked = &k.At.Time
	}
	for _, subject := range s.Muted {
		record(subject).Muted = true
	}
	for _, subject := range s.ChatMuted {
		record(subject).ChatMuted = true
	}
	out := make([]room.Record, 0, len(of))
	for _, subject := range slices.Sorted(maps.Keys(of)) {
		out = append(out, *of[subject])
	}
	return out
}
