package mediapool

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

func hashOf(t *testing.T, mp *v1alpha1.MediaPool, image string) string {
	t.Helper()
	hash, err := templateHash(mp, image)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// TestTemplateHash: a change of this constant is a change of the pods of every pool, which
// an upgrade of the operator then replaces. It must not change by itself.
func TestTemplateHash(t *testing.T) {
	mp := pool(1, 2)
	const want = "36ce2affa0"
	if got := hashOf(t, mp, "media:v1"); got != want {
		t.Errorf("hash %s, want %s: are media pods meant to be replaced?", got, want)
	}
	for name, change := range map[string]func(*v1alpha1.MediaPool){
		"warm":      func(mp *v1alpha1.MediaPool) { mp.Spec.Warm = 7 },
		"maxPods":   func(mp *v1alpha1.MediaPool) { mp.Spec.MaxPods = 7 },
		"ports":     func(mp *v1alpha1.MediaPool) { mp.Spec.Network.PortRange.Min = 30000 },
		"deadline":  func(mp *v1alpha1.MediaPool) { mp.Spec.Update.Deadline = &metav1.Duration{} },
		"another's": func(mp *v1alpha1.MediaPool) { mp.UID = "made anew" },
	} {
		changed := pool(1, 2)
		change(changed)
		if hashOf(t, changed, "media:v1") != want {
			t.Errorf("%s changes the hash: it does not change a pod", name)
		}
	}
	for name, change := range map[string]func(*v1alpha1.PodParts){
		"image":     func(p *v1alpha1.PodParts) { p.Image = "own:v2" },
		"selector":  func(p *v1alpha1.PodParts) { p.NodeSelector = map[string]string{"edge": "yes"} },
		"priority":  func(p *v1alpha1.PodParts) { p.PriorityClassName = "voice" },
		"tolerance": func(p *v1alpha1.PodParts) { p.Tolerations = []corev1.Toleration{{Key: "edge"}} },
		"resources": func(p *v1alpha1.PodParts) {
			p.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
		},
	} {
		changed := pool(1, 2)
		change(&changed.Spec.Template)
		if hashOf(t, changed, "media:v1") == want {
			t.Errorf("%s does not change the hash", name)
		}
	}
	if hashOf(t, mp, "media:v2") == want {
		t.Error("the operator's image does not change the hash")
	}
}

// TestTemplateHashOfEqualQuantities: 1000m is 1.
func TestTemplateHashOfEqualQuantities(t *testing.T) {
	a, b := pool(1, 2), pool(1, 2)
	a.Spec.Template.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1000m")}
	b.Spec.Template.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
	if hashOf(t, a, "media:v1") != hashOf(t, b, "media:v1") {
		t.Error("equal quantities make other hashes")
	}
}

// TestUpdateTemplate: the time is that of the change, and stays.
func TestUpdateTemplate(t *testing.T) {
	mp := pool(1, 2)
	mp.Status.Template = v1alpha1.TemplateStatus{}
	first, second := metav1.NewTime(now), metav1.NewTime(now.Add(1))
	for _, at := range []metav1.Time{first, second} {
		if err := updateTemplate(mp, "media:v1", at); err != nil {
			t.Fatal(err)
		}
	}
	if got := mp.Status.Template.Since; got == nil || !got.Equal(&first) {
		t.Errorf("since %v, want %v", got, first)
	}
	hash := mp.Status.Template.Hash
	if err := updateTemplate(mp, "media:v2", second); err != nil {
		t.Fatal(err)
	}
	if got := mp.Status.Template; got.Hash == hash || !got.Since.Equal(&second) {
		t.Errorf("after a change: %+v", got)
	}
}
