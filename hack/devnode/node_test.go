package devnode_test

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"voiceroom.dev/voiceroom/hack/devnode"
)

func TestNodeIsRegisteredAndAlive(t *testing.T) {
	h := newHarness(t, func(o *devnode.Options) { o.Labels = map[string]string{"zone": "here"} })
	node := &corev1.Node{}
	h.eventually("the node is registered without a taint", func() bool {
		err := h.client.Get(t.Context(), client.ObjectKey{Name: h.namespace}, node)
		return err == nil && len(node.Spec.Taints) == 0
	})
	want := []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}, {Type: corev1.NodeHostName, Address: h.namespace}}
	if diff := cmp.Diff(want, node.Status.Addresses); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	if c := node.Status.Conditions[0]; c.Type != corev1.NodeReady || c.Status != corev1.ConditionTrue {
		t.Errorf("condition %v, want Ready", c)
	}
	if node.Labels["zone"] != "here" || node.Labels[corev1.LabelHostname] != h.namespace {
		t.Errorf("labels %v", node.Labels)
	}
	lease := &coordinationv1.Lease{}
	if err := h.client.Get(t.Context(), client.ObjectKey{Namespace: corev1.NamespaceNodeLease, Name: h.namespace}, lease); err != nil {
		t.Fatal(err)
	}
	if since := time.Since(lease.Spec.RenewTime.Time); since > time.Duration(*lease.Spec.LeaseDurationSeconds)*time.Second {
		t.Errorf("the lease ran out %s ago", since)
	}
}

func TestPodRunsAsItsSpecSays(t *testing.T) {
	h := newHarness(t, nil)
	keys := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "keys", Namespace: h.namespace}, Data: map[string]string{"jwks": "one"}}
	h.create(keys, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "tls", Namespace: h.namespace},
		StringData: map[string]string{"tls.key": "private", "password": "hunter2"},
	}, h.richPod("pod"))

	running := h.untilReady("pod")
	me := h.self(running)
	keysDir := strings.TrimPrefix(me.Args[0], "--keys=")
	wantArgs := []string{"--keys=" + keysDir, "--listen=" + running.Status.PodIP + ":8080", "$(UNKNOWN)", "$(POD_IP)"}
	if diff := cmp.Diff(wantArgs, me.Args); diff != "" || !filepath.IsAbs(keysDir) {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{
		"UID": string(running.UID), "HOST_IP": "127.0.0.1", "PASSWORD": "hunter2", "HOSTNAME": "pod",
	} {
		if got := me.lookup(name); got != want {
			t.Errorf("%s=%q, want %q", name, got, want)
		}
	}
	if filepath.Base(me.Dir) != "scratch" {
		t.Errorf("working directory %s, want the volume's", me.Dir)
	}
	file := func(path string) string { return h.ask(running, "/file", url.Values{"path": {path}}) }
	if got := file(me.lookup("KEY_FILE")); got != "private" {
		t.Errorf("the projected secret holds %q", got)
	}
	if h.output.String() != h.namespace+"/pod | pod program starts\n" {
		t.Errorf("output %q", h.output.String())
	}

	keys.Data["jwks"] = "two"
	if err := h.client.Update(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	h.eventually("the new key reached the file", func() bool { return file(keysDir+"/jwks") == "two" })
	patch := client.MergeFrom(running.DeepCopy())
	running.Labels["role"] = "claimed"
	if err := h.client.Patch(t.Context(), running, patch); err != nil {
		t.Fatal(err)
	}
	labels := filepath.Join(filepath.Dir(me.lookup("KEY_FILE")), "..", "labels")
	h.eventually("the new label reached the file", func() bool { return file(labels) == `role="claimed"` })
}

// richPod returns a pod that uses everything a pod can have here: ConfigMap keys and Secret tls are projected.
func (h *harness) richPod(name string) *corev1.Pod {
	pod := h.pod(name)
	pod.Labels = map[string]string{"role": "idle"}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "keys", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "keys"},
		}}},
		{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{Secret: &corev1.SecretProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: "tls"},
				Items:                []corev1.KeyToPath{{Key: "tls.key", Path: "server/key.pem"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
			}}},
		}}}},
		{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	}
	container := &pod.Spec.Containers[0]
	container.VolumeMounts = []corev1.VolumeMount{
		{Name: "keys", MountPath: "/etc/keys"}, {Name: "all", MountPath: "/etc/all/"}, {Name: "scratch", MountPath: "/scratch"},
	}
	container.Command = []string{"/media", "--keys=/etc/keys"}
	container.Args = []string{"--listen=$(POD_IP):8080", "$(UNKNOWN)", "$$(POD_IP)"}
	container.WorkingDir = "/scratch"
	container.Env = append(container.Env,
		corev1.EnvVar{Name: "UID", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.uid"}}},
		corev1.EnvVar{Name: "HOST_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.hostIP"}}},
		corev1.EnvVar{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "tls"}, Key: "password",
		}}},
		corev1.EnvVar{Name: "KEY_FILE", Value: "/etc/all/server/key.pem"},
	)
	return pod
}

func TestReadinessFollowsTheProbe(t *testing.T) {
	h := newHarness(t, nil)
	h.create(h.pod("pod"))
	pod := h.untilReady("pod")
	h.ask(pod, "/ready", url.Values{"set": {"bad"}})
	unready := h.until("pod", "unready", func(pod *corev1.Pod) bool { return !isReady(pod) })
	if got := condition(unready, corev1.PodReady).Reason; got != "ContainersNotReady" || unready.Status.Phase != corev1.PodRunning {
		t.Errorf("reason %q in phase %s", got, unready.Status.Phase)
	}
	h.ask(pod, "/ready", url.Values{"set": {"ok"}})
	h.untilReady("pod")
}

func TestOutcomeIsReported(t *testing.T) {
	h := newHarness(t, func(o *devnode.Options) { o.Binaries["broken:dev"] = "/does/not/exist" })
	for name, test := range map[string]struct {
		change  func(*corev1.Pod)
		action  string
		query   url.Values
		phase   corev1.PodPhase
		code    int32
		reason  string
		message string
	}{
		"success": {action: "/exit", query: url.Values{"code": {"0"}}, phase: corev1.PodSucceeded, reason: "Completed"},
		"failure": {action: "/exit", query: url.Values{"code": {"3"}}, phase: corev1.PodFailed, code: 3, reason: "Error"},
		"last words": {
			change: func(pod *corev1.Pod) {
				pod.Spec.Containers[0].TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
			},
			action: "/exit", query: url.Values{"code": {"1"}},
			phase: corev1.PodFailed, code: 1, reason: "Error", message: "pod program starts\n",
		},
		"unhealthy": {
			change: func(pod *corev1.Pod) {
				pod.Spec.Containers[0].LivenessProbe = pod.Spec.Containers[0].ReadinessProbe.DeepCopy()
				pod.Spec.Containers[0].LivenessProbe.HTTPGet.Path = "/live"
				pod.Spec.Containers[0].StartupProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
					TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8080)},
				}}
				pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: "STUBBORN", Value: "1"})
				pod.Spec.TerminationGracePeriodSeconds = new(int64)
			},
			action: "/live", query: url.Values{"set": {"bad"}},
			phase: corev1.PodFailed, code: 137, reason: "Error", message: "liveness probe failed: HTTP probe: 503 Service Unavailable",
		},
		"unstartable": {
			change: func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = "broken:dev" },
			phase:  corev1.PodFailed, code: 128, reason: "StartError", message: "no such file",
		},
	} {
		t.Run(name, func(t *testing.T) {
			name = strings.ReplaceAll(name, " ", "-")
			pod := h.pod(name)
			if test.change != nil {
				test.change(pod)
			}
			h.create(pod)
			if test.action != "" {
				h.ask(h.untilReady(name), test.action, test.query)
			}
			ended := h.untilPhase(name, test.phase)
			state := terminated(ended)
			if state.ExitCode != test.code || state.Reason != test.reason || !strings.Contains(state.Message, test.message) {
				t.Errorf("terminated with %+v", state)
			}
			if isReady(ended) {
				t.Error("it is still Ready")
			}
		})
	}
}

func TestDeletionWaitsForTheProcess(t *testing.T) {
	h := newHarness(t, nil)
	for name, test := range map[string]struct {
		env   []corev1.EnvVar
		grace int64
	}{
		"heeds SIGTERM":   {grace: 600},
		"ignores SIGTERM": {env: []corev1.EnvVar{{Name: "STUBBORN", Value: "1"}}, grace: 1},
	} {
		t.Run(name, func(t *testing.T) {
			pod := h.pod(strings.ToLower(strings.ReplaceAll(name, " ", "-")))
			pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, test.env...)
			h.create(pod)
			running := h.untilReady(pod.Name)
			if err := h.client.Delete(t.Context(), pod, client.GracePeriodSeconds(test.grace)); err != nil {
				t.Fatal(err)
			}
			h.untilGone(pod)
			if h.alive(running) {
				t.Error("the object is gone but the process is not")
			}
			if !strings.Contains(h.output.String(), pod.Name+" | SIGTERM\n") {
				t.Errorf("the process saw no SIGTERM; output:\n%s", h.output.String())
			}
		})
	}
}

func TestForcedDeletionKills(t *testing.T) {
	h := newHarness(t, nil)
	pod := h.pod("pod")
	h.create(pod)
	running := h.untilReady("pod")
	if err := h.client.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	h.create(h.pod("pod")) // a successor must not be taken for it
	h.eventually("the process is gone", func() bool { return !h.alive(running) })
	if successor := h.untilReady("pod"); successor.UID == running.UID {
		t.Error("the old pod is still there")
	}
}

func TestDependentPodsGoWithTheirOwner(t *testing.T) {
	h := newHarness(t, nil)
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner", Namespace: h.namespace}}
	h.create(owner)
	pod := h.pod("pod")
	if err := controllerutil.SetControllerReference(owner, pod, h.client.Scheme()); err != nil {
		t.Fatal(err)
	}
	h.create(pod)
	running := h.untilReady("pod")
	if err := h.client.Delete(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	h.untilGone(pod)
	if h.alive(running) {
		t.Error("the object is gone but the process is not")
	}
}

func TestHostPortHasOneHolder(t *testing.T) {
	h := newHarness(t, nil)
	withPort := func(name string) *corev1.Pod {
		pod := h.pod(name)
		pod.Spec.Containers[0].Ports = append(pod.Spec.Containers[0].Ports,
			corev1.ContainerPort{ContainerPort: 40000, HostPort: 40000, Protocol: corev1.ProtocolUDP})
		return pod
	}
	first := withPort("first")
	h.create(first)
	h.untilReady("first")

	h.create(withPort("second"))
	waiting := h.until("second", "refused", func(pod *corev1.Pod) bool {
		return condition(pod, corev1.PodScheduled).Status == corev1.ConditionFalse
	})
	want := "host port 40000/UDP is held by pod " + h.namespace + "/first"
	if got := condition(waiting, corev1.PodScheduled); got.Reason != corev1.PodReasonUnschedulable || !strings.HasSuffix(got.Message, want) {
		t.Errorf("got %s: %s, want %s", got.Reason, got.Message, want)
	}
	forced := withPort("forced")
	forced.Spec.NodeName = h.namespace
	h.create(forced)
	if failed := h.untilPhase("forced", corev1.PodFailed); failed.Status.Reason != devnode.ReasonNodePorts || failed.Status.Message != want {
		t.Errorf("got %s: %s, want %s", failed.Status.Reason, failed.Status.Message, want)
	}
	if err := h.client.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	h.untilReady("second")
}

func TestPodWaitsForWhatIsMissing(t *testing.T) {
	h := newHarness(t, nil)
	pod := h.pod("pod")
	pod.Spec.Volumes = []corev1.Volume{{Name: "keys", VolumeSource: corev1.VolumeSource{
		ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "keys"}},
	}}}
	unknown := h.pod("unknown")
	unknown.Spec.Containers[0].Image = "nobody/knows:it"
	h.create(pod, unknown)
	for name, want := range map[string]string{
		"pod": `configmap "keys" not found`, "unknown": `no local binary for image "nobody/knows:it"`,
	} {
		h.until(name, "waiting", func(pod *corev1.Pod) bool {
			status := pod.Status.ContainerStatuses
			return len(status) == 1 && status[0].State.Waiting != nil && strings.Contains(status[0].State.Waiting.Message, want)
		})
	}
	h.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "keys", Namespace: h.namespace}})
	h.untilReady("pod")
}

func TestOnlyItsOwnPodsAreTaken(t *testing.T) {
	h := newNamespace(t)
	h.create(h.pod("early"))
	elsewhere := h.pod("elsewhere")
	elsewhere.Spec.NodeSelector = map[string]string{"zone": "there"}
	h.create(elsewhere)
	h.runNode(func(o *devnode.Options) { o.Name, o.Labels = h.namespace+"-a", map[string]string{"zone": "here"} })
	h.runNode(func(o *devnode.Options) { o.Name, o.Labels = h.namespace+"-b", map[string]string{"zone": "there"} })
	if pod := h.untilReady("elsewhere"); pod.Spec.NodeName != h.namespace+"-b" {
		t.Errorf("runs on %s, against its nodeSelector", pod.Spec.NodeName)
	}
	h.untilReady("early")
}

func TestCordonedNodeTakesNoPods(t *testing.T) {
	h := newHarness(t, nil)
	node := &corev1.Node{}
	h.eventually("the node is registered", func() bool {
		return h.client.Get(t.Context(), client.ObjectKey{Name: h.namespace}, node) == nil
	})
	cordon := func(on bool) {
		t.Helper()
		patch := client.MergeFrom(node.DeepCopy())
		node.Spec.Unschedulable = on
		if err := h.client.Patch(t.Context(), node, patch); err != nil {
			t.Fatal(err)
		}
	}
	cordon(true)
	refused := false
	for i := 0; !refused; i++ { // the node learns of the cordon in its own time
		name := "pod-" + string(rune('a'+i))
		h.create(h.pod(name))
		pod := h.until(name, "bound or refused", func(pod *corev1.Pod) bool { return condition(pod, corev1.PodScheduled).Status != "" })
		refused = pod.Spec.NodeName == ""
		if refused {
			cordon(false)
			h.untilReady(name)
		}
	}
}

func TestUnsupportedPodFailsWithTheReason(t *testing.T) {
	h := newHarness(t, nil)
	pod := h.pod("pod")
	pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	h.create(pod)
	failed := h.untilPhase("pod", corev1.PodFailed)
	if failed.Status.Reason != devnode.ReasonUnsupported || !strings.Contains(failed.Status.Message, "restartPolicy Always") {
		t.Errorf("got %s: %s", failed.Status.Reason, failed.Status.Message)
	}
}
