// Package groupchat reconciles GroupChat: one instant-messaging group at a chat
// provider for each resource (CN111343079B, claim 1: the voice-call server has
// the IM server create a group that carries a state and two numbers).
//
// The group is created under a key made of the resource's identity, so that a
// retry, a crash between any two writes or a second leader finds the group that
// exists instead of making another. The resource's finalizer is there before the
// group is, so that no group outlives its resource unnoticed; Sweeper removes what
// still does.
package groupchat

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/controllers/pace"
)

// callTimeout bounds what one reconciliation may wait for the chat provider.
const callTimeout = 10 * time.Second

// Providers gives the open provider of a name.
type Providers interface {
	Get(name string) (chat.Provider, error)
}

// Reconciler reconciles GroupChat. All fields are required.
type Reconciler struct {
	Client    client.Client
	Live      client.Reader // reads the API server, not a cache
	Providers Providers
	Events    events.EventRecorder
	Orphans   *Orphans
	// Installation tells this cluster's groups from others' at a shared provider. It
	// never changes (the UID of the namespace kube-system) and has no slash.
	Installation string
	Now          func() time.Time
	// Counts spaces the writes of nothing but a number of members.
	Counts *pace.Pacer
}

// +kubebuilder:rbac:groups=voiceroom.dev,resources=groupchats,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=voiceroom.dev,resources=groupchats/status,verbs=patch
// +kubebuilder:rbac:groups=voiceroom.dev,resources=chatproviders;voicerooms,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile implements reconcile.ObjectReconciler.
func (r *Reconciler) Reconcile(ctx context.Context, gc *v1alpha1.GroupChat) (ctrl.Result, error) {
	stored := gc.DeepCopy()
	result, err := r.conclude(gc, r.step(ctx, gc))
	if wait := r.writeAgainIn(stored, gc); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, err
	}
	// Also after an error: the ID of a group that was made must not be lost.
	return result, errors.Join(err, r.patchStatus(ctx, stored, gc))
}

func (r *Reconciler) step(ctx context.Context, gc *v1alpha1.GroupChat) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if !gc.DeletionTimestamp.IsZero() {
		return r.dissolve(ctx, gc)
	}
	return r.ensure(ctx, gc)
}

// ensure makes the group exist and be what the resource says.
func (r *Reconciler) ensure(ctx context.Context, gc *v1alpha1.GroupChat) error {
	cp, provider, err := r.provider(ctx, gc)
	if err != nil {
		return err
	}
	var group chat.Group
	if gc.Status.GroupID == "" {
		if p := refusal(cp, gc); p != nil {
			return p
		}
		group, err = r.create(ctx, gc, provider)
	} else {
		group, err = r.observe(ctx, gc, provider)
	}
	if err != nil {
		return err
	}
	return r.adjust(ctx, gc, provider, group)
}

// bindToOwner binds a group that a room owns to that room. Any other is bound by
// the room that refers to it.
func bindToOwner(gc *v1alpha1.GroupChat) {
	if owner := metav1.GetControllerOf(gc); owner != nil && owner.Kind == "VoiceRoom" {
		gc.Status.BoundRoom = &v1alpha1.BoundRoom{Name: owner.Name, UID: string(owner.UID)}
	}
}

// create makes the group once. The finalizer comes first: from then on a group
// may exist.
func (r *Reconciler) create(ctx context.Context, gc *v1alpha1.GroupChat, provider chat.Provider) (chat.Group, error) {
	stored := gc.DeepCopy()
	if controllerutil.AddFinalizer(gc, v1alpha1.Finalizer) {
		if err := r.Client.Patch(ctx, gc, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{})); err != nil {
			return chat.Group{}, fmt.Errorf("adding the finalizer: %w", err)
		}
	}
	group, err := provider.CreateGroup(ctx, r.key(gc), chat.GroupSpec{Name: name(gc), Owner: gc.Spec.Owner, Limits: limits(gc)})
	if err != nil {
		return chat.Group{}, chatProblem(gc, err)
	}
	gc.Status.GroupID = group.ID
	return group, nil
}

// observe reads the group as it is now. One that was removed at the provider is
// not made again: its ID was passed on to people.
func (r *Reconciler) observe(ctx context.Context, gc *v1alpha1.GroupChat, provider chat.Provider) (chat.Group, error) {
	group, err := provider.Group(ctx, gc.Status.GroupID)
	switch {
	case errors.Is(err, chat.ErrNotFound):
		return chat.Group{}, &problem{v1alpha1.ReasonGroupNotFound, fmt.Sprintf(
			"ChatProvider %q no longer has the group %s: it was removed there. Create another GroupChat.", gc.Spec.Provider, gc.Status.GroupID)}
	case err != nil:
		return chat.Group{}, chatProblem(gc, err)
	}
	return group, nil
}

// adjust holds the group's state and numbers in step and counts its members.
func (r *Reconciler) adjust(ctx context.Context, gc *v1alpha1.GroupChat, provider chat.Provider, group chat.Group) error {
	bindToOwner(gc)
	if want := limits(gc); group.Limits != want {
		if err := provider.SetLimits(ctx, group.ID, want); err != nil {
			return chatProblem(gc, err)
		}
	}
	activated, err := r.activated(ctx, gc)
	if err != nil {
		return err
	}
	// Status is asked too: what was Valid once stays so, even at a back end that was
	// restored from a backup.
	if group.State != chat.Valid && (activated || gc.Status.State == v1alpha1.GroupValid) {
		if err := provider.SetValid(ctx, group.ID); err != nil {
			return chatProblem(gc, err)
		}
		group.State = chat.Valid
	}
	gc.Status.State, gc.Status.Members = v1alpha1.GroupState(group.State), int32(group.Members)
	return nil
}

// activated says whether the room that the group is bound to was opened by its
// owner, as its media pod reported. A room of the same name but another UID does
// not count.
func (r *Reconciler) activated(ctx context.Context, gc *v1alpha1.GroupChat) (bool, error) {
	room, err := r.room(ctx, gc)
	if room == nil || err != nil {
		return false, err
	}
	return meta.IsStatusConditionTrue(room.Status.Conditions, v1alpha1.ConditionActivated), nil
}

// room returns the bound room, or nil if there is none (any more).
func (r *Reconciler) room(ctx context.Context, gc *v1alpha1.GroupChat) (*v1alpha1.VoiceRoom, error) {
	bound := gc.Status.BoundRoom
	if bound == nil {
		return nil, nil
	}
	room := &v1alpha1.VoiceRoom{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: gc.Namespace, Name: bound.Name}, room)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("getting the bound VoiceRoom: %w", err)
	}
	if err != nil || string(room.UID) != bound.UID {
		return nil, nil
	}
	return room, nil
}

// patchStatus writes the status if it changed.
func (r *Reconciler) patchStatus(ctx context.Context, stored, gc *v1alpha1.GroupChat) error {
	if equality.Semantic.DeepEqual(stored.Status, gc.Status) {
		return nil
	}
	// The finalizer is patched elsewhere; only the status may differ here.
	stored.ObjectMeta = *gc.ObjectMeta.DeepCopy()
	err := r.Client.Status().Patch(ctx, gc, client.MergeFrom(stored))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	r.Counts.Wrote(gc.UID, r.Now())
	return nil
}

// prefix of the keys of every group that this cluster made.
func prefix(installation string) string { return installation + "/" }

// key makes the group's creation idempotent. It names the resource, whose UID
// never comes back.
func (r *Reconciler) key(gc *v1alpha1.GroupChat) string {
	return prefix(r.Installation) + strings.Join([]string{gc.Namespace, gc.Name, string(gc.UID)}, "/")
}

// holder is the resource that a key names.
func holder(key, installation string) (resource client.ObjectKey, uid string, ok bool) {
	parts := strings.Split(strings.TrimPrefix(key, prefix(installation)), "/")
	if !strings.HasPrefix(key, prefix(installation)) || len(parts) != 3 {
		return client.ObjectKey{}, "", false
	}
	return client.ObjectKey{Namespace: parts[0], Name: parts[1]}, parts[2], true
}

func name(gc *v1alpha1.GroupChat) string {
	if gc.Spec.Name != "" {
		return gc.Spec.Name
	}
	return gc.Name
}

func limits(gc *v1alpha1.GroupChat) chat.Limits {
	return chat.Limits{MaxMembers: int(gc.Spec.MaxMembers), MaxMics: int(gc.Spec.MaxMics)}
}

var _ reconcile.ObjectReconciler[*v1alpha1.GroupChat] = (*Reconciler)(nil)
