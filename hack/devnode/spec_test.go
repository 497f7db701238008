package devnode

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestFacts(t *testing.T) {
	f := facts{
		pod: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: "pod", Namespace: "ns", UID: "u-1",
				Labels: map[string]string{"b": "2", "a/b": `say "hi"`}, Annotations: map[string]string{"note": "x\ny"},
			},
			Spec: corev1.PodSpec{NodeName: "dev", ServiceAccountName: "default"},
		},
		hostIP: netip.MustParseAddr("127.0.0.1"), podIP: netip.MustParseAddr("127.4.5.6"),
	}
	for path, want := range map[string]string{
		"metadata.name": "pod", "metadata.namespace": "ns", "metadata.uid": "u-1",
		"metadata.labels": "a/b=\"say \\\"hi\\\"\"\nb=\"2\"", "metadata.labels['a/b']": `say "hi"`,
		"metadata.labels['none']": "", "metadata.annotations": `note="x\ny"`, "metadata.annotations['note']": "x\ny",
		"spec.nodeName": "dev", "spec.serviceAccountName": "default",
		"status.hostIP": "127.0.0.1", "status.podIP": "127.4.5.6",
	} {
		if got, err := f.field(path); err != nil || got != want {
			t.Errorf("%s = %q, %v, want %q", path, got, err, want)
		}
	}
	if _, err := f.field("spec.priority"); err == nil || !strings.Contains(err.Error(), "spec.priority") {
		t.Errorf("got %v for an unknown field", err)
	}
}

func TestFactsOfResources(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m")},
	}}}}}
	for _, test := range []struct{ name, divisor, want string }{
		{"limits.cpu", "0", "2"}, {"limits.cpu", "1m", "1500"}, {"requests.cpu", "1", "1"},
		{"limits.memory", "0", "67108864"}, {"limits.memory", "1Mi", "64"}, {"limits.memory", "1G", "1"},
	} {
		ref := &corev1.ResourceFieldSelector{Resource: test.name, Divisor: resource.MustParse(test.divisor)}
		if got, err := (facts{pod: pod}).value(nil, ref); err != nil || got != test.want {
			t.Errorf("%s by %s = %q, %v, want %s", test.name, test.divisor, got, err, test.want)
		}
	}
	_, err := facts{pod: pod}.value(nil, &corev1.ResourceFieldSelector{Resource: "requests.memory"})
	if want := (*wanting)(nil); !errors.As(err, &want) {
		t.Errorf("got %v for a request that is not set", err)
	}
}

func TestUnsupportedNamesWhatItIs(t *testing.T) {
	seconds := int64(5)
	main := func(s *corev1.PodSpec) *corev1.Container { return &s.Containers[0] }
	volume := func(source corev1.VolumeSource) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) { s.Volumes = []corev1.Volume{{Name: "v", VolumeSource: source}} }
	}
	projected := func(p corev1.VolumeProjection) func(*corev1.PodSpec) {
		return volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{p}}})
	}
	for want, change := range map[string]func(*corev1.PodSpec){
		"":                 func(*corev1.PodSpec) {},
		"restartPolicy":    func(s *corev1.PodSpec) { s.RestartPolicy = corev1.RestartPolicyOnFailure },
		"init containers":  func(s *corev1.PodSpec) { s.InitContainers = s.Containers },
		"2 containers":     func(s *corev1.PodSpec) { s.Containers = append(s.Containers, s.Containers[0]) },
		"hostNetwork":      func(s *corev1.PodSpec) { s.HostNetwork = true },
		"activeDeadline":   func(s *corev1.PodSpec) { s.ActiveDeadlineSeconds = &seconds },
		"volume v: only":   volume(corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}),
		"can be projected": projected(corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{}}),
		"envFrom":          func(s *corev1.PodSpec) { main(s).EnvFrom = []corev1.EnvFromSource{{}} },
		"variable LIMIT": func(s *corev1.PodSpec) {
			main(s).Env = []corev1.EnvVar{{Name: "LIMIT", ValueFrom: &corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{}}}}
		},
		"subPath":        func(s *corev1.PodSpec) { main(s).VolumeMounts = []corev1.VolumeMount{{Name: "v", SubPath: "x"}} },
		"hostPort 1 of":  func(s *corev1.PodSpec) { main(s).Ports = []corev1.ContainerPort{{HostPort: 1, ContainerPort: 2}} },
		"probes other":   func(s *corev1.PodSpec) { main(s).LivenessProbe = &corev1.Probe{} },
		"lifecycle hook": func(s *corev1.PodSpec) { main(s).Lifecycle = &corev1.Lifecycle{} },
	} {
		spec := &corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "main"}}}
		change(spec)
		if got := unsupported(spec); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestPutStaysInsideTheVolume(t *testing.T) {
	for _, path := range []string{"/etc/passwd", "../up", "a/../../up", ".."} {
		if err := put(payload{}, path, nil, nil, nil); err == nil {
			t.Errorf("%s was taken", path)
		}
	}
}

func TestOutputKeepsLinesWhole(t *testing.T) {
	var out bytes.Buffer
	mux := &outputMux{w: &out}
	a, b := &podOutput{mux: mux, prefix: "a | "}, &podOutput{mux: mux, prefix: "b | "}
	for _, write := range []struct {
		to   *podOutput
		text string
	}{{a, "one\ntw"}, {b, "eins\n"}, {a, "o\n\nrest"}, {b, strings.Repeat("x", longestLine+1)}} {
		if n, err := write.to.Write([]byte(write.text)); n != len(write.text) || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
	}
	a.flushRest()
	b.flushRest()
	want := "a | one\nb | eins\na | two\na | \nb | " + strings.Repeat("x", longestLine+1) + "\na | rest\n"
	if out.String() != want {
		t.Errorf("got %q", out.String())
	}
	if got := string(a.last); got != "one\ntwo\n\nrest\n" || len(b.last) != lastWords {
		t.Errorf("last words %q, and %d bytes", got, len(b.last))
	}
}
