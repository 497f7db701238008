package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/stack"
)

const (
	floorNamespace = "bench-floor"
	floorGroup     = "bench.voiceroom.dev" // of copies of the definitions, which no operator watches
)

// floor does what makes a room ready, without an operator: the same seven writes of the same
// size, by one client that waits for nothing but the answer to each.
type floor struct {
	client client.Client

	room, group             *unstructured.Unstructured // as they are written first
	roomStatus, groupStatus any
	ticket                  map[string][]byte
	pod                     *corev1.Pod

	mu   sync.Mutex
	made int
	pods []corev1.Pod // warm ones
}

// newFloor takes its objects from a room that the operator made.
func (b *bench) newFloor(ctx context.Context) (*floor, error) {
	f := &floor{client: b.stack.Client}
	if err := f.install(ctx, b.root); err != nil {
		return nil, err
	}
	vr := b.newRoom()
	if err := b.stack.Client.Create(ctx, vr); err != nil {
		return nil, fmt.Errorf("creating the room that the floor is like: %w", err)
	}
	err := b.stack.Wait(ctx, vr, time.Minute, func() bool { return meta.IsStatusConditionTrue(vr.Status.Conditions, v1alpha1.ConditionReady) })
	if err != nil {
		return nil, err
	}
	var group v1alpha1.GroupChat
	var ticket corev1.Secret
	var pod corev1.Pod
	for name, o := range map[client.ObjectKey]client.Object{
		{Namespace: namespace, Name: vr.Status.GroupChat}:            &group,
		{Namespace: namespace, Name: vr.Status.HostTicketSecret}:     &ticket,
		{Namespace: stack.MediaNamespace, Name: vr.Status.Media.Pod}: &pod,
	} {
		if err := b.stack.Client.Get(ctx, name, o); err != nil {
			return nil, fmt.Errorf("reading what the room is made of: %w", err)
		}
	}
	f.ticket = ticket.Data
	f.pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: floorNamespace, Labels: pod.Labels}, Spec: pod.Spec}
	f.pod.Spec.NodeName = ""
	if f.room, f.roomStatus, err = copyOf(vr, "VoiceRoom"); err != nil {
		return nil, err
	}
	if f.group, f.groupStatus, err = copyOf(&group, "GroupChat"); err != nil {
		return nil, err
	}
	return f, b.removeRooms(ctx)
}

// install defines kinds like the real ones in a group of their own.
func (f *floor) install(ctx context.Context, root string) error {
	if err := f.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: floorNamespace}}); err != nil {
		return fmt.Errorf("creating namespace %s: %w", floorNamespace, err)
	}
	for _, plural := range []string{"voicerooms", "groupchats"} {
		definitions, err := stack.Objects(filepath.Join(root, "config/crd", v1alpha1.GroupVersion.Group+"_"+plural+".yaml"))
		if err != nil {
			return err
		}
		crd := definitions[0]
		crd.SetName(plural + "." + floorGroup)
		if err := unstructured.SetNestedField(crd.Object, floorGroup, "spec", "group"); err != nil {
			return err
		}
		if err := f.client.Create(ctx, crd); err != nil {
			return fmt.Errorf("defining %s: %w", crd.GetName(), err)
		}
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion(floorGroup + "/" + v1alpha1.GroupVersion.Version)
		list.SetKind(map[string]string{"voicerooms": "VoiceRoomList", "groupchats": "GroupChatList"}[plural])
		if err := until(ctx, plural+" are served", func() (bool, error) {
			err := f.client.List(ctx, list)
			if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
				return false, nil
			}
			return err == nil, err
		}); err != nil {
			return err
		}
	}
	return nil
}

// copyOf is an object of the floor's group, and its status.
func copyOf(o client.Object, kind string) (*unstructured.Unstructured, any, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, nil, fmt.Errorf("copying a %s: %w", kind, err)
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": content["spec"]}}
	u.SetAPIVersion(floorGroup + "/" + v1alpha1.GroupVersion.Version)
	u.SetKind(kind)
	u.SetNamespace(floorNamespace)
	u.SetFinalizers(o.GetFinalizers())
	return u, content["status"], nil
}

// chains makes n rooms' writes, so many rooms at once.
func (f *floor) chains(ctx context.Context, n, parallel int) (each []time.Duration, whole time.Duration, err error) {
	for i := range n {
		pod := f.pod.DeepCopy()
		f.made++
		pod.Name = fmt.Sprintf("floor-%05d", f.made)
		if err := f.client.Create(ctx, pod); err != nil {
			return nil, 0, fmt.Errorf("creating pod %d of the floor: %w", i, err)
		}
		f.pods = append(f.pods, *pod)
	}
	return inParallel(n, parallel, func() error { return f.chain(ctx) })
}

// take is a warm pod.
func (f *floor) take() *corev1.Pod {
	f.mu.Lock()
	defer f.mu.Unlock()
	pod := f.pods[0]
	f.pods = f.pods[1:]
	return &pod
}

// chain is the writes of one room, as the operator does them.
func (f *floor) chain(ctx context.Context) error {
	pod := f.take()
	room, group := f.room.DeepCopy(), f.group.DeepCopy()
	room.SetName(pod.Name)
	group.SetName(pod.Name)
	claimed := pod.DeepCopy()
	claimed.Labels[v1alpha1.LabelRoomNamespace], claimed.Labels[v1alpha1.LabelRoomName] = room.GetNamespace(), room.GetName()
	ticket := corev1ac.Secret(pod.Name, floorNamespace).WithData(f.ticket)
	for _, write := range []func() error{
		func() error { return f.client.Create(ctx, room) },
		func() error {
			group.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: room.GetAPIVersion(), Kind: room.GetKind(), Name: room.GetName(), UID: room.GetUID()}})
			return f.client.Create(ctx, group)
		},
		func() error { return f.status(ctx, group, f.groupStatus, 0) },
		func() error { return f.client.Apply(ctx, ticket, client.FieldOwner("bench"), client.ForceOwnership) },
		func() error { return f.status(ctx, room, f.roomStatus, 1) },
		func() error {
			claimed.Labels[v1alpha1.LabelRoomUID] = string(room.GetUID())
			metav1.SetMetaDataAnnotation(&claimed.ObjectMeta, v1alpha1.AnnotationEpoch, "1")
			return f.client.Patch(ctx, claimed, client.MergeFromWithOptions(pod, client.MergeFromWithOptimisticLock{}))
		},
		func() error { return f.status(ctx, room, f.roomStatus, 2) },
	} {
		if err := write(); err != nil {
			return fmt.Errorf("the bare chain: %w", err)
		}
	}
	return nil
}

// status writes a status that differs from what is there, against the version that was read.
func (f *floor) status(ctx context.Context, o *unstructured.Unstructured, status any, step int) error {
	content := runtime.DeepCopyJSONValue(status).(map[string]any)
	if step > 0 {
		content["closeMessage"] = strconv.Itoa(step)
	}
	patch, err := (&unstructured.Unstructured{Object: map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(),
		"metadata": map[string]any{"resourceVersion": o.GetResourceVersion()}, "status": content}}).MarshalJSON()
	if err != nil {
		return err
	}
	return f.client.Status().Patch(ctx, o, client.RawPatch(types.MergePatchType, patch))
}
