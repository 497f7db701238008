package e2e

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// scale: kubectl scale sets how many pods are warm.
func scale(t *testing.T) {
	for _, n := range []string{"4", "2"} {
		kubectl(t, "scale", "mediapool", "default", "--replicas", n)
		await(t, pool, n+" pods are warm", func() bool {
			return resource.NewQuantity(int64(pool.Status.Ready), resource.DecimalSI).String() == n && pool.Status.Starting == 0
		})
	}
}

// poolInUse: the API server refuses to delete a pool whose pods hold rooms, and says what to do.
func poolInUse(t *testing.T) {
	call(t, "in-use")
	await(t, pool, "the pool counts the room", func() bool { return pool.Status.Assigned >= 1 })
	out, err := command(t, world.kubectl, "delete", "mediapool", "default")
	if err == nil || !strings.Contains(out, "Delete these rooms") {
		t.Errorf("kubectl delete mediapool: %v\n%s", err, out)
	}
}

// newPool makes a pool with ports of its own.
func newPool(t *testing.T, name string, first, last int32, change func(*v1alpha1.MediaPoolSpec)) *v1alpha1.MediaPool {
	t.Helper()
	p := &v1alpha1.MediaPool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.MediaPoolSpec{Warm: 1, MaxPods: 5,
		Network: v1alpha1.PoolNetwork{PortRange: v1alpha1.PortRange{Min: first, Max: last}}}}
	change(&p.Spec)
	create(t, p)
	return p
}

// says waits until a condition of the pool gives a reason, and checks what its message and
// its Event name.
func says(t *testing.T, p *v1alpha1.MediaPool, reason string, names ...string) {
	t.Helper()
	var c metav1.Condition
	await(t, p, "the pool says "+reason, func() bool {
		i := slices.IndexFunc(p.Status.Conditions, func(c metav1.Condition) bool { return c.Reason == reason })
		if i >= 0 {
			c = p.Status.Conditions[i]
		}
		return i >= 0
	})
	note := told(t, p, reason)
	for _, name := range names {
		if !strings.Contains(c.Message, name) || !strings.Contains(note, name) {
			t.Errorf("the condition and the Event name %s: %q, %q", name, c.Message, note)
		}
	}
	t.Logf("%s: %s", reason, c.Message)
}

func portsExhausted(t *testing.T) {
	p := newPool(t, "narrow", 21000, 21000, func(s *v1alpha1.MediaPoolSpec) { s.Warm = 2 })
	says(t, p, v1alpha1.ReasonPortsExhausted, "21000", "portRange")
}

func noSuchImage(t *testing.T) {
	const image = "localhost/voiceroom-media:no-such-tag"
	p := newPool(t, "imageless", 21100, 21110, func(s *v1alpha1.MediaPoolSpec) { s.Template.Image = image })
	says(t, p, v1alpha1.ReasonImageUnavailable, image, "template.image")
}

// quotaExceeded: a pool's quota for a namespace, and a namespace's own for rooms.
func quotaExceeded(t *testing.T) {
	newPool(t, "small", 21200, 21210, func(s *v1alpha1.MediaPoolSpec) { s.NamespaceQuota.MaxMembers = ptr.To[int32](5) })
	r := newRoom(t, "too-large", func(s *v1alpha1.VoiceRoomSpec) { s.Media.Pool = "small" })
	var c metav1.Condition
	await(t, r, "the room says that the quota is exceeded", func() bool {
		c = condition(r.Status.Conditions, v1alpha1.ConditionMediaReady)
		return c.Reason == v1alpha1.ReasonQuotaExceeded
	})
	note := told(t, r, v1alpha1.ReasonQuotaExceeded)
	if !strings.Contains(c.Message, "10") || !strings.Contains(c.Message, "5") || !strings.Contains(note, "small") {
		t.Errorf("the condition and the Event lack the numbers: %q, %q", c.Message, note)
	}
	t.Logf("%s: %s", c.Reason, c.Message)
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "rooms"},
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/voicerooms.voiceroom.dev": resource.MustParse("1")}}}
	create(t, quota)
	await(t, quota, "the quota counts", func() bool { return len(quota.Status.Used) > 0 })
	second := &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "one-too-many"}, Spec: v1alpha1.VoiceRoomSpec{Owner: "key:e2e:ann"}}
	if err := world.client.Create(t.Context(), second); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "count/voicerooms.voiceroom.dev=1") {
		t.Errorf("a room more than the ResourceQuota allows: %v", err)
	}
}
