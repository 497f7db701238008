package controllers_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// podOf returns the pod that a room claims.
func podOf(t *testing.T, vr *v1alpha1.VoiceRoom) *corev1.Pod {
	t.Helper()
	var pod corev1.Pod
	must(t, cluster.Get(t.Context(), client.ObjectKey{Namespace: mediaNamespace, Name: vr.Status.Media.Pod}, &pod))
	return &pod
}

func inPool(name string) func(*v1alpha1.VoiceRoom) {
	return func(vr *v1alpha1.VoiceRoom) { vr.Spec.Media.Pool = name }
}

func TestRoomBecomesReady(t *testing.T) {
	startOperator(t, nil)
	vr := newRoom(t, "ready")
	waitReady(t, vr)

	if vr.Status.Phase != v1alpha1.RoomReady || vr.Status.JoinURL != "https://voice.example.org/r/default/ready" || vr.Status.EffectiveMaxMembers != 50 {
		t.Errorf("status %+v", vr.Status)
	}
	if c := meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionActivated); c == nil || c.Status != metav1.ConditionFalse {
		t.Errorf("Activated is %v before anybody came", c)
	}
	pod := podOf(t, vr)
	want := map[string]string{v1alpha1.LabelRoomNamespace: "default", v1alpha1.LabelRoomName: "ready", v1alpha1.LabelRoomUID: string(vr.UID)}
	for label, value := range want {
		if pod.Labels[label] != value {
			t.Errorf("pod label %s is %q, want %q", label, pod.Labels[label], value)
		}
	}
	if string(pod.UID) != vr.Status.Media.PodUID || pod.Annotations[v1alpha1.AnnotationEpoch] != "1" || len(pod.OwnerReferences) != 0 {
		t.Errorf("pod %s with annotations %v and owners %v does not match the claim %+v", pod.UID, pod.Annotations, pod.OwnerReferences, vr.Status.Media)
	}
	group, err := groups.Group(t.Context(), vr.Status.GroupID)
	must(t, err)
	if group.State != chat.Invalid || group.Owner != "key:test:ann" || group.Members != 0 || group.MaxMembers != 50 {
		t.Errorf("group %+v", group)
	}
	checkTicket(t, vr)
	removeRoom(t, vr)
}

// checkTicket verifies the host's ticket as the gateway does.
func checkTicket(t *testing.T, vr *v1alpha1.VoiceRoom) {
	t.Helper()
	var published corev1.ConfigMap
	must(t, cluster.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: v1alpha1.PublicKeysConfigMap}, &published))
	keys, err := token.ParsePublicSet([]byte(published.Data[mediaapi.TokensFile]))
	must(t, err)
	var secret corev1.Secret
	must(t, cluster.Get(t.Context(), client.ObjectKey{Namespace: vr.Namespace, Name: vr.Status.HostTicketSecret}, &secret))
	got, err := token.NewVerifier(func() *token.PublicSet { return keys }, time.Now).Ticket(string(secret.Data[v1alpha1.TicketKey]))
	must(t, err)
	want := token.Ticket{ID: got.ID, IssuedAt: got.IssuedAt, ExpiresAt: got.ExpiresAt, Purpose: token.PurposeHost, Subject: "key:test:ann",
		Room: "default/" + vr.Name, RoomUID: string(vr.UID), Role: string(room.Host), Key: vr.Status.HostTicketKey}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ticket (-want +got):\n%s", diff)
	}
	if vr.Status.HostTicketExpiresAt == nil || !vr.Status.HostTicketExpiresAt.Time.Equal(got.ExpiresAt) {
		t.Errorf("the ticket expires at %v, the status says %v", got.ExpiresAt, vr.Status.HostTicketExpiresAt)
	}
}

// writes counts an operator's requests that write, by kind of target.
type writes struct {
	http.RoundTripper
	mu   sync.Mutex
	seen map[string]int
}

func (w *writes) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
		i := slices.IndexFunc(parts, func(p string) bool { return p == "namespaces" })
		what := r.Method + " " + strings.Join(parts[i+2:], "/")
		w.mu.Lock()
		w.seen[what]++
		w.mu.Unlock()
	}
	return w.RoundTripper.RoundTrip(r)
}

// TestWritesUntilReady holds the number of writes that a room costs.
func TestWritesUntilReady(t *testing.T) {
	w := &writes{seen: map[string]int{}}
	startOperator(t, func(rt http.RoundTripper) http.RoundTripper { w.RoundTripper = rt; return w })
	waitWarm(t, "default")
	vr := newRoom(t, "frugal")
	waitReady(t, vr)
	pod := vr.Status.Media.Pod
	w.mu.Lock()
	seen := maps.Clone(w.seen)
	w.mu.Unlock()
	got := map[string]int{}
	for what, n := range seen {
		if strings.Contains(what, "frugal") || strings.HasSuffix(what, pod) || what == "POST groupchats" {
			got[what] = n
		}
	}
	want := map[string]int{"POST groupchats": 1, "PATCH groupchats/frugal/status": 1, "PATCH secrets/frugal-host-ticket": 1,
		"PATCH pods/" + pod: 1, "PATCH voicerooms/frugal/status": got["PATCH voicerooms/frugal/status"]}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if n := got["PATCH voicerooms/frugal/status"]; n > 2 {
		t.Errorf("%d writes of the room's status, want at most 2: claim, ready (of %v)", n, slices.Sorted(maps.Keys(seen)))
	}
	removeRoom(t, vr)
}

func waitWarm(t *testing.T, pool string) {
	t.Helper()
	until(t, "pool "+pool+" is warm", func() (bool, error) {
		var mp v1alpha1.MediaPool
		err := cluster.Get(t.Context(), client.ObjectKey{Name: pool}, &mp)
		return meta.IsStatusConditionTrue(mp.Status.Conditions, v1alpha1.ConditionReady), err
	})
}

func TestUnknownNames(t *testing.T) {
	startOperator(t, nil)
	noPool := newRoom(t, "no-pool", inPool("nowhere"))
	if c := waitCondition(t, noPool, v1alpha1.ConditionMediaReady, metav1.ConditionFalse, v1alpha1.ReasonPoolNotFound); !strings.Contains(c.Message, "media.pool") {
		t.Errorf("message %q does not name the field", c.Message)
	}
	noProvider := newRoom(t, "no-provider", func(vr *v1alpha1.VoiceRoom) { vr.Spec.Chat.Provider = "nowhere" })
	waitCondition(t, noProvider, v1alpha1.ConditionChatReady, metav1.ConditionFalse, v1alpha1.ReasonProviderNotFound)

	private := newPool("private", 1, 2, 21000)
	private.Spec.AllowedNamespaces = []string{"elsewhere"}
	must(t, cluster.Create(t.Context(), private))
	refused := newRoom(t, "refused", inPool("private"))
	waitCondition(t, refused, v1alpha1.ConditionMediaReady, metav1.ConditionFalse, v1alpha1.ReasonPoolNotAllowed)
	// What was missing comes, and each room goes on by itself.
	must(t, cluster.Create(t.Context(), newPool("nowhere", 1, 2, 21300)))
	waitReady(t, noPool)
	stored := private.DeepCopy()
	private.Spec.AllowedNamespaces = []string{"default"}
	must(t, cluster.Patch(t.Context(), private, client.MergeFrom(stored)))
	waitReady(t, refused)
	for _, vr := range []*v1alpha1.VoiceRoom{noPool, noProvider, refused} {
		removeRoom(t, vr)
	}
}

// TestPoolWithoutWarmPods makes one when a room waits for it.
func TestPoolWithoutWarmPods(t *testing.T) {
	startOperator(t, nil)
	must(t, cluster.Create(t.Context(), newPool("cold", 0, 2, 22200)))
	vr := newRoom(t, "cold", inPool("cold"))
	waitReady(t, vr)
	removeRoom(t, vr)
}

// TestOneGroupTwoRooms: one has it, the other says so, and has it when the first is gone.
func TestOneGroupTwoRooms(t *testing.T) {
	startOperator(t, nil)
	gc := &v1alpha1.GroupChat{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shared"}, Spec: v1alpha1.GroupChatSpec{Owner: "key:test:ann"}}
	must(t, cluster.Create(t.Context(), gc))
	refer := func(vr *v1alpha1.VoiceRoom) { vr.Spec.Chat.GroupChatRef = &v1alpha1.LocalReference{Name: "shared"} }
	holder := newRoom(t, "holder", refer)
	waitReady(t, holder)
	next := newRoom(t, "next", refer)
	if c := waitCondition(t, next, v1alpha1.ConditionChatReady, metav1.ConditionFalse, v1alpha1.ReasonGroupConflict); !strings.Contains(c.Message, "room holder") {
		t.Errorf("message %q does not name the room that has it", c.Message)
	}
	namesake := newRoom(t, "shared") // wants to make a group of this name
	waitCondition(t, namesake, v1alpha1.ConditionChatReady, metav1.ConditionFalse, v1alpha1.ReasonGroupConflict)
	must(t, cluster.Delete(t.Context(), holder))
	waitReady(t, next)
	must(t, cluster.Delete(t.Context(), next))
	must(t, cluster.Delete(t.Context(), gc))
	waitReady(t, namesake)
	for _, vr := range []*v1alpha1.VoiceRoom{holder, next, namesake} {
		removeRoom(t, vr)
	}
}

// TestTwoRoomsOnePod: one gets it, the other says so with numbers and goes on when
// the first is gone, on another pod.
func TestTwoRoomsOnePod(t *testing.T) {
	startOperator(t, nil)
	must(t, cluster.Create(t.Context(), newPool("single", 1, 1, 21600)))
	waitWarm(t, "single")
	rooms := []*v1alpha1.VoiceRoom{newRoom(t, "first", inPool("single")), newRoom(t, "second", inPool("single"))}
	var winner, loser *v1alpha1.VoiceRoom
	until(t, "one of two rooms has the pod and the other says why not", func() (bool, error) {
		winner, loser = nil, nil
		for _, vr := range rooms {
			if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr); err != nil {
				return false, err
			}
			switch c := meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionMediaReady); {
			case c == nil:
			case c.Status == metav1.ConditionTrue:
				winner = vr
			case c.Reason == v1alpha1.ReasonPoolExhausted && strings.Contains(c.Message, "1 assigned") && strings.Contains(c.Message, "1 of at most 1"):
				loser = vr
			}
		}
		return winner != nil && loser != nil, nil
	})
	used := winner.Status.Media.PodUID
	removeRoom(t, winner)
	waitReady(t, loser)
	if loser.Status.Media.PodUID == used {
		t.Errorf("pod %s was used twice", used)
	}
	removeRoom(t, loser)
}

func TestUnclaimedRoomIsDissolved(t *testing.T) {
	startOperator(t, nil)
	vr := newRoom(t, "unclaimed", func(vr *v1alpha1.VoiceRoom) {
		vr.Spec.Lifecycle.UnclaimedTimeout = &metav1.Duration{Duration: 2 * time.Second}
	})
	waitCondition(t, vr, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonClosed)
	if vr.Status.CloseReason != v1alpha1.CloseUnclaimed || vr.Status.Phase != v1alpha1.RoomClosed || vr.Status.Media != nil {
		t.Errorf("status %+v", vr.Status)
	}
	until(t, "its group and pod are gone while the room still tells why", func() (bool, error) {
		left, err := groupsOf(t.Context(), vr.Name)
		if err != nil || len(left) > 0 {
			return false, err
		}
		pods, err := podsOf(t.Context(), vr)
		return len(pods) == 0, err
	})
	// A time to live, given later, takes the resource too.
	stored := vr.DeepCopy()
	vr.Spec.Lifecycle.TTLSecondsAfterClosed = ptr.To[int32](0)
	must(t, cluster.Patch(t.Context(), vr, client.MergeFrom(stored)))
	until(t, "the room is gone", func() (bool, error) {
		err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	removeRoom(t, vr)
}

func TestSpecReachesThePod(t *testing.T) {
	startOperator(t, nil)
	vr := newRoom(t, "edited")
	waitReady(t, vr)
	stored := vr.DeepCopy()
	vr.Spec.MaxMembers, vr.Spec.MaxMics = 7, 3
	must(t, cluster.Patch(t.Context(), vr, client.MergeFrom(stored)))
	until(t, "the pod acknowledged the new caps and the group has them", func() (bool, error) {
		if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr); err != nil {
			return false, err
		}
		group, err := groups.Group(t.Context(), vr.Status.GroupID)
		return vr.Status.EffectiveMaxMembers == 7 && vr.Status.EffectiveMaxMics == 3 && group.MaxMembers == 7 && group.MaxMics == 3, err
	})
	removeRoom(t, vr)
}

func TestLostPodIsReplaced(t *testing.T) {
	startOperator(t, nil)
	vr := newRoom(t, "lost")
	waitReady(t, vr)
	before := *vr.Status.Media
	must(t, cluster.Delete(t.Context(), podOf(t, vr)))
	until(t, "another pod holds the room under the next epoch", func() (bool, error) {
		err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr)
		m := vr.Status.Media
		return m != nil && m.Epoch == 2 && m.PodUID != before.PodUID && meta.IsStatusConditionTrue(vr.Status.Conditions, v1alpha1.ConditionReady), err
	})
	removeRoom(t, vr)
}

func TestFailingPodsAreTold(t *testing.T) {
	startOperator(t, nil)
	broken := newPool("broken", 1, 5, 21900)
	broken.Spec.Template.Image = brokenImage
	must(t, cluster.Create(t.Context(), broken))
	until(t, "the pool tells how its pods end", func() (bool, error) {
		err := cluster.Get(t.Context(), client.ObjectKeyFromObject(broken), broken)
		c := meta.FindStatusCondition(broken.Status.Conditions, v1alpha1.ConditionReady)
		return c != nil && c.Reason == v1alpha1.ReasonPodFailed && strings.Contains(c.Message, "exit code 1"), err
	})
	must(t, cluster.Delete(t.Context(), broken))
}
