package v1alpha1_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/controlplane"
	"voiceroom.dev/voiceroom/hack/kubeassets/kubebin"
)

var server client.Client

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute) // it may have to be built first
	defer cancel()
	assets, err := kubebin.Ensure(ctx, os.Stderr, kubebin.ControlPlane()...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	plane, err := controlplane.Start(ctx, controlplane.Options{Assets: assets, CRDPaths: []string{"../../config/crd"}, WithoutControllers: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = plane.Stop() }()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, autoscalingv1.AddToScheme} {
		if err := add(scheme); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if server, err = client.New(plane.Config(), client.Options{Scheme: scheme}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// object is a resource with a spec given as YAML.
func object(t *testing.T, kind, name, spec string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetAPIVersion(v1alpha1.GroupVersion.String())
	o.SetKind(kind)
	o.SetName(name)
	if kind != "MediaPool" && kind != "ChatProvider" {
		o.SetNamespace("default")
	}
	var fields map[string]any
	if err := yaml.Unmarshal([]byte(spec), &fields); err != nil {
		t.Fatal(err)
	}
	o.Object["spec"] = fields
	return o
}

func TestRefusedOnCreate(t *testing.T) {
	long := strings.Repeat("x", 300)
	many := "[" + strings.Repeat("a, ", 100) + "b]"
	for _, tc := range []struct{ kind, spec, want string }{
		{"VoiceRoom", `{}`, "spec.owner"},
		{"VoiceRoom", `{owner: ""}`, "spec.owner"},
		{"VoiceRoom", `{owner: ` + long + `}`, "spec.owner"},
		{"VoiceRoom", `{owner: a, maxMembers: 2, maxMics: 3}`, "spec.maxMics: Invalid value: maxMics (8 unless set) must not exceed maxMembers"},
		{"VoiceRoom", `{owner: a, maxMembers: 2}`, "maxMics (8 unless set)"},
		{"VoiceRoom", `{owner: a, maxMembers: 0}`, "spec.maxMembers"},
		{"VoiceRoom", `{owner: a, maxMembers: -1}`, "spec.maxMembers"},
		{"VoiceRoom", `{owner: a, maxMembers: 10001}`, "spec.maxMembers"},
		{"VoiceRoom", `{owner: a, maxMembers: 99999999999}`, "spec.maxMembers"},
		{"VoiceRoom", `{owner: a, maxMics: 0}`, "spec.maxMics"},
		{"VoiceRoom", `{owner: a, maxMembers: 500, maxMics: 101}`, "spec.maxMics"},
		{"VoiceRoom", `{owner: a, access: Everyone}`, "spec.access"},
		{"VoiceRoom", `{owner: a, micPolicy: Loudest}`, "spec.micPolicy"},
		{"VoiceRoom", `{owner: a, displayName: ` + long + `}`, "spec.displayName"},
		{"VoiceRoom", `{owner: a, moderators: ` + many + `}`, "spec.moderators"},
		{"VoiceRoom", `{owner: a, moderators: [b, b]}`, "spec.moderators"},
		{"VoiceRoom", `{owner: a, banned: [""]}`, "spec.banned"},
		{"VoiceRoom", `{owner: a, moderators: [` + names(65) + `]}`, "spec.moderators: Too many"},
		{"VoiceRoom", `{owner: a, displayName: ` + strings.Repeat("声", 43) + `}`, "displayName is at most 128 bytes of printable text"},
		{"VoiceRoom", `{owner: a, displayName: "a\u202eb"}`, "displayName is at most 128 bytes of printable text"},
		{"VoiceRoom", `{owner: a, duplicates: Both}`, "spec.duplicates"},
		{"VoiceRoom", `{owner: a, audience: Loudest}`, "spec.audience"},
		{"VoiceRoom", `{owner: a, speakingSeconds: -1}`, "spec.speakingSeconds"},
		{"VoiceRoom", `{owner: a, speakingSeconds: 86401}`, "spec.speakingSeconds"},
		{"VoiceRoom", `{owner: a, speakingSeconds: 0.5}`, "spec.speakingSeconds"},
		{"VoiceRoom", `{owner: a, muteOnEntry: please}`, "spec.muteOnEntry"},
		{"VoiceRoom", `{owner: a, announcement: ` + strings.Repeat("声", 342) + `}`, "announcement is at most 1024 bytes of printable text"},
		{"VoiceRoom", `{owner: a, announcement: "a\tb"}`, "announcement is at most 1024 bytes of printable text"},
		{"VoiceRoom", `{owner: a, metadata: {` + pairs(17) + `}}`, "spec.metadata: Too many"},
		{"VoiceRoom", `{owner: a, metadata: {"": x}}`, "metadata has printable keys of 1 to 64 bytes and values of up to 256"},
		{"VoiceRoom", `{owner: a, metadata: {"a\nb": x}}`, "metadata has printable keys"},
		{"VoiceRoom", `{owner: a, metadata: {` + strings.Repeat("k", 65) + `: x}}`, "metadata has printable keys"},
		{"VoiceRoom", `{owner: a, metadata: {k: ` + long + `}}`, "values of up to 256"},
		{"VoiceRoom", `{owner: a, lifecycle: {emptyTimeout: 0s}}`, "must be between 1s and 720h"},
		{"VoiceRoom", `{owner: a, lifecycle: {maxDuration: 9000h}}`, "must be between 1s and 8760h"},
		{"VoiceRoom", `{owner: a, lifecycle: {unclaimedTimeout: soon}}`, "spec.lifecycle.unclaimedTimeout"},
		{"VoiceRoom", `{owner: a, lifecycle: {ttlSecondsAfterClosed: -1}}`, "ttlSecondsAfterClosed"},
		{"VoiceRoom", `{owner: a, media: {pool: ""}}`, "spec.media.pool"},
		{"VoiceRoom", `{owner: a, chat: {groupChatRef: {name: ""}}}`, "groupChatRef.name"},
		{"GroupChat", `{owner: a, maxMembers: 1, maxMics: 2}`, "maxMics (8 unless set) must not exceed maxMembers"},
		{"GroupChat", `{}`, "spec.owner"},
		{"JoinRequest", `{user: a}`, "spec.room"},
		{"JoinRequest", `{room: {name: r}}`, "spec.user"},
		{"JoinRequest", `{room: {name: r}, user: "guest:x"}`, "guest subjects are made by the gateway only"},
		{"JoinRequest", `{room: {name: r}, user: a, displayName: "a\u202eb"}`, "displayName is at most 128 bytes of printable text"},
		{"JoinRequest", `{room: {name: r}, user: a, role: Host}`, "spec.role"},
		{"JoinRequest", `{room: {name: r}, user: a, ticketSeconds: 5}`, "ticketSeconds"},
		{"MediaPool", `{warm: 5, maxPods: 4}`, "warm must not exceed maxPods"},
		{"MediaPool", `{network: {portRange: {min: 30000, max: 20000}}}`, "min must not exceed max"},
		{"MediaPool", `{network: {portRange: {min: 80, max: 90}}}`, "spec.network.portRange.min"},
		{"MediaPool", `{network: {portRange: {min: 9000, max: 9999}}}`, "must not include 9090 and 9443, on which every media pod serves metrics and control calls"},
		{"MediaPool", `{network: {portRange: {min: 9090, max: 9100}}}`, "must not include 9090 and 9443"},
		{"MediaPool", `{network: {portRange: {min: 9000, max: 9090}}}`, "must not include 9090 and 9443"},
		{"MediaPool", `{network: {portRange: {min: 9100, max: 9443}}}`, "must not include 9090 and 9443"},
		{"MediaPool", `{network: {portRange: {min: 9443, max: 9443}}}`, "must not include 9090 and 9443"},
		{"MediaPool", `{audienceTick: 61ms}`, `spec.audienceTick: Invalid value: "61ms": must be between 0s and 60ms`},
		{"MediaPool", `{audienceTick: -1ms}`, "must be between 0s and 60ms"},
		{"MediaPool", `{audienceTick: 20}`, "spec.audienceTick"},
		{"MediaPool", `{audienceTick: soon}`, "spec.audienceTick"},
		{"MediaPool", `{network: {advertise: [example.org]}}`, "advertise takes IP addresses"},
		{"MediaPool", `{network: {type: Magic}}`, "spec.network.type"},
		{"MediaPool", `{roomsPerPod: 2}`, "roomsPerPod"},
		{"ChatProvider", `{}`, "exactly one"},
		{"ChatProvider", `{nats: {url: "http://x:1"}}`, "spec.nats.url"},
		{"ChatProvider", `{nats: {url: "nats://user:secret@x:1"}}`, "spec.nats.url"},
		{"ChatProvider", `{nats: {url: "nats://x:1", replicas: 2}}`, "spec.nats.replicas"},
	} {
		t.Run(tc.kind+" "+tc.spec[:min(len(tc.spec), 60)], func(t *testing.T) {
			err := server.Create(t.Context(), object(t, tc.kind, "refused", tc.spec), client.DryRunAll)
			if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
				t.Fatalf("got %v, want a refusal", err)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("refused without %q: %v", tc.want, err)
			}
		})
	}
}

// names lists so many of them, pairs as many keys with values.
func names(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("n%d", i))
	}
	return strings.Join(list, ", ")
}

func pairs(n int) string { return strings.ReplaceAll(names(n), ",", ": x,") + ": x" }

// TestLimits: what is exactly as large as it may be is taken.
func TestLimits(t *testing.T) {
	for _, spec := range []string{`{audienceTick: 0s}`, `{audienceTick: 60ms}`, `{network: {portRange: {min: 8000, max: 9089}}}`,
		`{network: {portRange: {min: 9091, max: 9442}}}`, `{network: {portRange: {min: 9444, max: 65535}}}`} {
		if err := server.Create(t.Context(), object(t, "MediaPool", "limits", spec), client.DryRunAll); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
	}
	for _, spec := range []string{
		`{owner: a, moderators: [` + names(64) + `]}`,
		`{owner: a, displayName: ` + strings.Repeat("声", 42) + `, duplicates: Refuse, audience: Mix, muteOnEntry: true, speakingSeconds: 86400}`,
		`{owner: a, speakingSeconds: 0, announcement: "` + strings.Repeat("声", 340) + `\né!"}`,
		`{owner: a, metadata: {` + pairs(15) + `, ` + strings.Repeat("k", 64) + `: "` + strings.Repeat("v", 254) + `\n\t"}}`,
	} {
		if err := server.Create(t.Context(), object(t, "VoiceRoom", "limits", spec), client.DryRunAll); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

func TestRefusedNames(t *testing.T) {
	for kind, length := range map[string]int{"VoiceRoom": 64, "MediaPool": 41, "ChatProvider": 64} {
		spec := map[string]string{"VoiceRoom": `{owner: a}`, "MediaPool": `{}`, "ChatProvider": `{nats: {url: "nats://x:1"}}`}[kind]
		if err := server.Create(t.Context(), object(t, kind, strings.Repeat("n", length), spec), client.DryRunAll); !apierrors.IsInvalid(err) {
			t.Errorf("%s with a name of %d characters: %v", kind, length, err)
		}
		if err := server.Create(t.Context(), object(t, kind, strings.Repeat("n", length-1), spec), client.DryRunAll); err != nil {
			t.Errorf("%s with a name of %d characters: %v", kind, length-1, err)
		}
	}
}

func TestRefusedOnUpdate(t *testing.T) {
	for _, tc := range []struct{ kind, spec, patch, want string }{
		{"VoiceRoom", `{owner: a}`, `{owner: b}`, "owner is immutable"},
		{"VoiceRoom", `{owner: a}`, `{media: {pool: other}}`, "media.pool is immutable"},
		{"VoiceRoom", `{owner: a, media: {pool: other}}`, `{media: null}`, "media.pool is immutable"},
		{"VoiceRoom", `{owner: a}`, `{chat: {provider: other}}`, "chat.provider is immutable"},
		{"VoiceRoom", `{owner: a}`, `{chat: {groupChatRef: {name: g}}}`, "groupChatRef is immutable"},
		{"VoiceRoom", `{owner: a, chat: {groupChatRef: {name: g}}}`, `{chat: {groupChatRef: null}}`, "groupChatRef is immutable"},
		{"VoiceRoom", `{owner: a, chat: {groupChatRef: {name: g}}}`, `{chat: null}`, "groupChatRef is immutable"},
		{"VoiceRoom", `{owner: a}`, `{maxMembers: 4}`, "maxMics (8 unless set) must not exceed maxMembers"},
		{"GroupChat", `{owner: a}`, `{owner: b}`, "owner is immutable"},
		{"GroupChat", `{owner: a}`, `{provider: other}`, "provider is immutable"},
		{"JoinRequest", `{room: {name: r}, user: a}`, `{user: b}`, "a JoinRequest is immutable"},
		{"ChatProvider", `{nats: {url: "nats://x:1"}}`, `{nats: null}`, "exactly one"},
	} {
		t.Run(tc.kind+" "+tc.patch, func(t *testing.T) {
			o := object(t, tc.kind, "changes", tc.spec)
			if err := server.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = server.Delete(context.Background(), o) })
			patch, err := yaml.YAMLToJSON([]byte(`{spec: ` + tc.patch + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if err = server.Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", patch)); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want a refusal with %q", err, tc.want)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	r := &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "defaults"}, Spec: v1alpha1.VoiceRoomSpec{Owner: "key:a:b"}}
	if err := server.Create(t.Context(), r, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	s := r.Spec
	if s.MaxMembers != 50 || s.MaxMics != 8 || s.Access != v1alpha1.AccessPublic || s.MicPolicy != v1alpha1.MicAuto || s.Duplicates != v1alpha1.DuplicatesReplace ||
		s.Audience != v1alpha1.AudienceForward || s.Chat.Provider != "default" ||
		s.Chat.DeletionPolicy != v1alpha1.DeletionDelete || s.Chat.FailurePolicy != v1alpha1.ChatFail || s.Media.Pool != "default" ||
		s.Lifecycle.UnclaimedTimeout.Duration != 10*time.Minute || s.Lifecycle.EmptyTimeout.Duration != 5*time.Minute || s.Lifecycle.WhenEmpty != v1alpha1.EmptyClose {
		t.Fatalf("defaults: %+v", s)
	}
}

func TestPoolDefaults(t *testing.T) {
	p := &v1alpha1.MediaPool{ObjectMeta: metav1.ObjectMeta{Name: "defaults"}}
	if err := server.Create(t.Context(), p, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	s := p.Spec
	if s.MaxPods != 100 || s.Network.Type != v1alpha1.NetworkHostPort || s.Network.PortRange != (v1alpha1.PortRange{Min: 20000, Max: 20999}) ||
		s.AudienceTick.Duration != v1alpha1.DefaultAudienceTick || s.Update.Deadline.Duration != 24*time.Hour {
		t.Fatalf("defaults: %+v", s)
	}
}

func TestScaleSetsWarm(t *testing.T) {
	pool := &v1alpha1.MediaPool{ObjectMeta: metav1.ObjectMeta{Name: "scaled"}, Spec: v1alpha1.MediaPoolSpec{Warm: 1}}
	if err := server.Create(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Delete(context.Background(), pool) })
	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 7}}
	if err := server.SubResource("scale").Update(t.Context(), pool, client.WithSubResourceBody(scale)); err != nil {
		t.Fatal(err)
	}
	if err := server.Get(t.Context(), client.ObjectKeyFromObject(pool), pool); err != nil || pool.Spec.Warm != 7 {
		t.Fatalf("warm is %d after scaling to 7: %v", pool.Spec.Warm, err)
	}
}

// TestStatusIsASubresource: a user who writes the resource does not write its status.
func TestStatusIsASubresource(t *testing.T) {
	r := &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "honest"}, Spec: v1alpha1.VoiceRoomSpec{Owner: "key:a:b"},
		Status: v1alpha1.VoiceRoomStatus{GroupID: "forged"}}
	if err := server.Create(t.Context(), r, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	if r.Status.GroupID != "" {
		t.Fatal("a status was taken from a create")
	}
}
