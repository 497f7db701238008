package voiceroom

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// sharing is a room that is so many seconds younger than the first. It has caps if its pod
// said so.
func sharing(name string, age int, wish, has caps) v1alpha1.VoiceRoom {
	vr := v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name),
		CreationTimestamp: metav1.NewTime(epochZero.Add(time.Duration(age) * time.Second))}}
	vr.Spec.Media.Pool, vr.Spec.MaxMembers, vr.Spec.MaxMics = "default", wish.members, wish.mics
	vr.Status.EffectiveMaxMembers, vr.Status.EffectiveMaxMics = has.members, has.mics
	return vr
}

func TestQuota(t *testing.T) {
	quota := v1alpha1.NamespaceQuota{MaxMembers: ptr.To[int32](100), MaxMics: ptr.To[int32](10)}
	ended := sharing("ended", 0, caps{90, 1}, caps{90, 1})
	ended.Status.ClosedAt = &metav1.Time{Time: epochZero}
	sleeping := sharing("sleeping", 0, caps{90, 1}, caps{})
	sleeping.Status.Phase = v1alpha1.RoomAsleep
	claimed := sharing("claimed", 9, caps{60, 1}, caps{})
	claimed.Status.Media = &v1alpha1.RoomMediaStatus{PodUID: "pod", Epoch: 1}
	tests := []struct {
		name  string
		asks  v1alpha1.VoiceRoom
		rooms []v1alpha1.VoiceRoom
		want  string // what of the refusal; empty: admitted
	}{
		{"alone", sharing("a", 0, caps{100, 10}, caps{}), nil, ""},
		{"too large alone", sharing("a", 0, caps{101, 1}, caps{}), nil, "wants 101, and the rooms of namespace default have 0 of the 100"},
		{"too many microphones", sharing("a", 0, caps{1, 11}, caps{}), nil, "namespaceQuota.maxMics"},
		{"beside one that has caps", sharing("a", 0, caps{50, 1}, caps{}), []v1alpha1.VoiceRoom{sharing("b", 5, caps{60, 1}, caps{60, 1})}, "have 60 of the 100"},
		{"beside one whose pod has not said yet", sharing("a", 0, caps{50, 1}, caps{}), []v1alpha1.VoiceRoom{claimed}, "have 60 of the 100"},
		{"what ended or sleeps takes nothing", sharing("a", 9, caps{50, 1}, caps{}), []v1alpha1.VoiceRoom{ended, sleeping}, ""},
		{"after an older one that waits", sharing("a", 1, caps{50, 1}, caps{}), []v1alpha1.VoiceRoom{sharing("b", 0, caps{60, 1}, caps{})}, "have 60 of the 100"},
		{"before a younger one that waits", sharing("a", 0, caps{50, 1}, caps{}), []v1alpha1.VoiceRoom{sharing("b", 1, caps{60, 1}, caps{})}, ""},
		{"of the same age, by UID", sharing("a", 0, caps{50, 1}, caps{}), []v1alpha1.VoiceRoom{sharing("b", 0, caps{60, 1}, caps{})}, ""},
		{"an older one that is too large is passed over", sharing("a", 1, caps{50, 1}, caps{}), []v1alpha1.VoiceRoom{sharing("b", 0, caps{101, 1}, caps{})}, ""},
		{"an edit counts its own caps once", sharing("a", 0, caps{80, 1}, caps{50, 1}), []v1alpha1.VoiceRoom{sharing("b", 1, caps{20, 1}, caps{20, 1})}, ""},
		{"an edit that is too much", sharing("a", 0, caps{81, 1}, caps{50, 1}), []v1alpha1.VoiceRoom{sharing("b", 1, caps{20, 1}, caps{20, 1})}, "have 20 of the 100"},
		{"a lower cap frees nothing before the pod has taken it", sharing("a", 0, caps{50, 1}, caps{}), []v1alpha1.VoiceRoom{sharing("b", 1, caps{10, 1}, caps{60, 1})}, "have 60"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var q quotas
			short, err := q.admit(&tt.asks, quota, func() ([]v1alpha1.VoiceRoom, error) { return append(tt.rooms, tt.asks), nil })
			switch {
			case err != nil:
				t.Fatal(err)
			case tt.want == "" && short != nil:
				t.Errorf("refused: %s", short.message)
			case tt.want != "" && (short == nil || short.reason != v1alpha1.ReasonQuotaExceeded || !strings.Contains(short.message, tt.want)):
				t.Errorf("%+v, want a refusal with %q", short, tt.want)
			}
		})
	}
}

// TestQuotaBetweenCacheAndStatus: a room that was admitted counts before anybody can see it,
// also for an older one; and who was refused is told when something is freed.
func TestQuotaBetweenCacheAndStatus(t *testing.T) {
	quota := v1alpha1.NamespaceQuota{MaxMembers: ptr.To[int32](100)}
	var q quotas
	young, old := sharing("young", 5, caps{60, 1}, caps{}), sharing("old", 0, caps{60, 1}, caps{})
	admit := func(vr v1alpha1.VoiceRoom, seen ...v1alpha1.VoiceRoom) bool {
		short, err := q.admit(&vr, quota, func() ([]v1alpha1.VoiceRoom, error) { return seen, nil })
		if err != nil {
			t.Fatal(err)
		}
		return short == nil
	}
	if !admit(young, young) {
		t.Fatal("the first one was refused")
	}
	if admit(old, young, old) {
		t.Fatal("two rooms share what is enough for one")
	}
	if diff := cmp.Diff([]types.NamespacedName{{Namespace: "default", Name: "old"}}, q.waiting(shareOf(&old))); diff != "" {
		t.Errorf("waiting (-want +got):\n%s", diff)
	}
	young.Status.EffectiveMaxMembers, young.Status.EffectiveMaxMics = 60, 1
	if admit(old, young, old) {
		t.Error("admitted as soon as the promise was kept")
	}
	young.Status.EffectiveMaxMembers = 40
	if !admit(old, young, old) {
		t.Error("refused what was freed")
	}
	if left := q.waiting(shareOf(&old)); len(left) != 0 {
		t.Errorf("%v wait", left)
	}
}

// TestQuotaOfWhoWantsLess: what a room was promised and does not want any more is others',
// also if nobody asked while it had it.
func TestQuotaOfWhoWantsLess(t *testing.T) {
	quota := v1alpha1.NamespaceQuota{MaxMembers: ptr.To[int32](100)}
	var q quotas
	admit := func(vr v1alpha1.VoiceRoom, seen ...v1alpha1.VoiceRoom) bool {
		short, err := q.admit(&vr, quota, func() ([]v1alpha1.VoiceRoom, error) { return seen, nil })
		if err != nil {
			t.Fatal(err)
		}
		return short == nil
	}
	large, other := sharing("large", 0, caps{100, 1}, caps{}), sharing("other", 5, caps{60, 1}, caps{})
	if !admit(large, large) {
		t.Fatal("the first one was refused")
	}
	large = sharing("large", 0, caps{40, 1}, caps{100, 1}) // its pod had them; it wants less
	q.forget(types.NamespacedName{Namespace: "default", Name: "large"})
	if admit(other, large, other) {
		t.Error("admitted before the pod has let go of them")
	}
	large.Status.EffectiveMaxMembers = 40
	if !admit(other, large, other) {
		t.Error("refused what was freed")
	}
}

// TestQuotaOfWhoWakes: a room that was admitted counts also while the cache still shows it
// asleep.
func TestQuotaOfWhoWakes(t *testing.T) {
	quota := v1alpha1.NamespaceQuota{MaxMembers: ptr.To[int32](100)}
	var q quotas
	sleeper, other := sharing("sleeper", 0, caps{60, 1}, caps{}), sharing("other", 5, caps{60, 1}, caps{})
	sleeper.Status.Phase = v1alpha1.RoomAsleep
	seen := func() ([]v1alpha1.VoiceRoom, error) { return []v1alpha1.VoiceRoom{sleeper, other}, nil }
	for _, vr := range []*v1alpha1.VoiceRoom{&sleeper, &other} {
		short, err := q.admit(vr, quota, seen)
		if err != nil || (short != nil) != (vr == &other) {
			t.Errorf("%s: refusal %+v, error %v", vr.Name, short, err)
		}
	}
}
